# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainings that tables share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .experiment_plan import Training

__all__ = [
    "RSTN",
    "STEPWISE",
    "TRUTH_REFERENCE",
    "UNET3D",
    "organ_training",
    "rstn_variant",
    "saliency_training",
]

#: Label values that the bundle trains on.
TARGET = (1, 2)

RSTN = Training("rstn")
STEPWISE = Training("stepwise", ("bundle/configs/stepwise.json",), published=("configs/published_stepwise.json",))
UNET3D = Training("unet3d", ("benchmarks/unet3d.json",), small={"patch": [48, 48, 48], "frame": 8}, effort=0.25)


def rstn_variant(name: str, **options: Any) -> Training:
    """RSTN with other values of some ids."""
    return Training(f"rstn_{name}", options=options)


def saliency_training(kernels: Sequence[int], tuned: bool = True) -> Training:
    """RSTN with other kernels of the saliency transformation [3.5.3.1].

    Args:
        kernels: size of each layer's kernels; (3, 3) is the default.
        tuned: fine-tuned on predicted references, the last stages of training.
    """
    name = "x".join(str(size) for size in kernels)
    options = {} if tuple(kernels) == (3, 3) else {"saliency_def#kernel_sizes": list(kernels)}
    if tuned:
        return Training(f"rstn_saliency_{name}", options=options) if options else RSTN
    return Training(f"rstn_saliency_{name}_untuned", ("configs/ablation_truth_reference.json",), options)


TRUTH_REFERENCE = saliency_training((3, 3), tuned=False)


def organ_training(base: Training, organ: str, values: Sequence[int]) -> Training:
    """The method of ``base`` for another organ, by its name and label values."""
    if tuple(values) == TARGET:
        return base
    name = f"{base.name}_{organ.replace(' ', '_').rstrip('.')}"
    return Training(name, base.overlays, {**base.options, "label_value": list(values)}, base.published)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainings that tables share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .plan import Training

__all__ = [
    "COARSE",
    "COARSE_LONGER",
    "CROPPED",
    "CYST",
    "DEEPLAB_COARSE",
    "DEEPLAB_ORGAN",
    "RSTN",
    "STEPWISE",
    "TRUTH_REFERENCE",
    "UNET3D",
    "VNET",
    "coarse_variant",
    "near_organ_training",
    "organ_training",
    "rstn_variant",
    "saliency_training",
]

#: Label values that the bundle trains on, and that of the cyst among them.
TARGET, CYST = (1, 2), (2,)

#: The organ's region is cropped, not masked: after the overlay of the cyst.
CROPPED = "configs/task/cyst_cropped.json"
_COARSE_ONLY = "configs/baseline/coarse_only.json"
# The chapter's coarse training is that of the step-wise approach.
_PUBLISHED_COARSE = ("configs/baseline/published_stepwise.json", "configs/baseline/published_coarse.json")
#: Coarse networks alone, which the methods start from: they differ in what comes after.
COARSE = Training("coarse", (_COARSE_ONLY,), published=_PUBLISHED_COARSE)
#: The same for longer, in the place of what the methods do then.
COARSE_LONGER = Training("coarse_longer", (_COARSE_ONLY,), start=COARSE)
RSTN = Training("rstn", start=COARSE)
STEPWISE = Training(
    "stepwise",
    ("bundle/configs/stepwise.json",),
    published=_PUBLISHED_COARSE[:1],
    start=COARSE,
    apart=(_PUBLISHED_COARSE[-1], "configs/baseline/published_fine.json"),
)
_DEEPLAB = "configs/network/deeplab.json"
_DEEPLAB_FILES = (_DEEPLAB, "configs/network/backbone_as_coarse.json")
#: The step-wise approach whose coarse networks are DeepLab [3.7].
DEEPLAB_COARSE = replace(
    STEPWISE,
    name="stepwise_deeplab",
    overlays=(*_DEEPLAB_FILES, *STEPWISE.overlays),
    start=Training("coarse_deeplab", (_DEEPLAB, _COARSE_ONLY), published=_PUBLISHED_COARSE),
)
#: The organ of four stages is found by such networks: after those of the cyst.
DEEPLAB_ORGAN = (_DEEPLAB, "configs/network/backbone_as_organ_coarse.json")
UNET3D = Training(
    "unet3d",
    ("configs/baseline/unet3d.json",),
    published=("configs/baseline/unet3d_published.json",),
    own_recipe=True,
    small={"patch": [48, 48, 48], "frame": 8},
    effort=0.25,
)
#: The chapter's 3D comparator [3.5.3.2], by the same recipe.
VNET = replace(UNET3D, name="vnet", overlays=(*UNET3D.overlays, "configs/baseline/vnet.json"), effort=4.0)


def rstn_variant(
    name: str, own_start: bool = False, small: Mapping[str, Any] | None = None, **options: Any
) -> Training:
    """RSTN with other values of some ids.

    Args:
        name: of the variant.
        own_start: the coarse networks that it starts from have these values too.
        small: further ids of the small version.
        options: the ids.
    """
    start = coarse_variant(name, **options) if own_start else COARSE
    return Training(f"rstn_{name}", options=options, small=small or {}, start=start)


def coarse_variant(
    name: str,
    overlays: Sequence[str] = (),
    start: Training | None = None,
    small: Mapping[str, Any] | None = None,
    **options: Any,
) -> Training:
    """Coarse networks alone for another target or with other values of some ids.

    Args:
        name: of the variant.
        overlays: files of the variant.
        start: networks that it goes on from; None for random ones.
        small: further ids of the small version.
        options: the ids.
    """
    files = (*overlays, _COARSE_ONLY)
    return Training(f"coarse_{name}", files, options, _PUBLISHED_COARSE, small=small or {}, start=start)


def saliency_training(kernels: Sequence[int], tuned: bool = True) -> Training:
    """RSTN with other kernels of the saliency transformation [3.5.3.1].

    Args:
        kernels: size of each layer's kernels; (3, 3) is the default.
        tuned: fine-tuned on predicted references, the last stages of training. Those that are not learn as long as
            these, from the truth's box to the end; with the published constants they end before fine-tuning.
    """
    name = "x".join(str(size) for size in kernels)
    options = {} if tuple(kernels) == (3, 3) else {"saliency_def#kernel_sizes": list(kernels)}
    if tuned:
        return Training(f"rstn_saliency_{name}", options=options, start=COARSE) if options else RSTN
    untuned = Training(
        f"rstn_saliency_{name}_untuned",
        ("configs/ablation/truth_reference.json",),
        options,
        published=("configs/ablation/not_tuned.json",),
        start=COARSE,
    )
    # These kernels are fine-tuned in the chapter, too: one training with two checkpoints.
    return replace(untuned, kept_by=saliency_training(kernels)) if tuple(kernels) in ((3,), (3, 3)) else untuned


TRUTH_REFERENCE = saliency_training((3, 3), tuned=False)


def organ_training(base: Training, organ: str, values: Sequence[int]) -> Training:
    """The method of ``base`` for another organ, by its name and label values.

    The cyst is a part of what the bundle trains on, so its coarse networks go on from those of the whole.
    """
    if tuple(values) == TARGET:
        return base
    cyst = (organ, tuple(values)) == ("cyst", CYST)
    name = "cyst" if cyst else "organ_" + organ.replace(" ", "_").rstrip(".")
    options = {**base.options, "label_value": list(values)}
    start = coarse_variant(name, label_value=list(values), start=COARSE if cyst else None)
    return replace(base, name=f"{base.name}_{name}", options=options, start=start)


def near_organ_training(base: Training, distance: float | None = None, crop: bool = False) -> Training:
    """The method of ``base`` for the cyst near the true organ [3.3.3].

    Args:
        base: the method.
        distance: t in mm; None for the configuration's, 10 mm, or the chapter's 15 voxels on the file's own grid.
        crop: the networks see the organ's box with t around it, and nothing in it is hidden [3.4.3].
    """
    overlays = ("configs/task/cyst.json", *([CROPPED] if crop else []))
    name = "near_organ_cropped" if crop else "near_organ"
    name += "" if distance is None else f"_{distance:g}mm"
    options: dict[str, Any] = {} if distance is None else {"organ_distance_mm": distance}
    start = coarse_variant(name, overlays, start=COARSE, **options)
    return replace(base, name=f"{base.name}_{name}", overlays=(*base.overlays, *overlays), options=options, start=start)

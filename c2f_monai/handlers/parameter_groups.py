# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning rates and weight decay by part of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn as nn

from ..utils import Part

__all__ = ["parameter_groups"]


def parameter_groups(
    network: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    lr_factors: Mapping[str, float] | None = None,
    bias_lr_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Optimiser groups: one for the weights and one for the biases (and normalization) of each part.

    Biases and other one-dimensional parameters are not decayed. The original code: ``lr_factors`` 10 for "fine" and
    "saliency", ``bias_lr_factor`` 2.

    Args:
        network: its parameter names hold the part, as in ``views.axial.fine.*``.
        lr: base learning rate.
        weight_decay: of the weights.
        lr_factors: factor for each of "coarse", "saliency", "fine"; 1 where not given.
        bias_lr_factor: further factor on biases.

    Raises:
        ValueError: for an unknown part in ``lr_factors``.

    Examples:
        >>> groups = parameter_groups(nn.Conv2d(3, 8, 3), lr=0.1, weight_decay=0.01, bias_lr_factor=2.0)
        >>> [(len(group["params"]), group["lr"], group["weight_decay"]) for group in groups]
        [(1, 0.1, 0.01), (1, 0.2, 0.0)]
    """
    factors = {part.value: 1.0 for part in Part} | dict(lr_factors or {})
    if len(factors) > len(Part):
        raise ValueError(f"lr_factors knows {[part.value for part in Part]}, got {sorted(lr_factors or {})}.")
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = next((p for p in name.split(".") if p in factors), Part.COARSE.value)
            groups.setdefault((part, parameter.dim() < 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * factors[part] * (bias_lr_factor if bias else 1.0),
            "weight_decay": 0.0 if bias else weight_decay,
        }
        for (part, bias), parameters in groups.items()
    ]

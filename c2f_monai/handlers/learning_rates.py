# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning rates and weight decay by part of the network."""

from __future__ import annotations

import math
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
    "saliency", ``bias_lr_factor`` 2. A pretrained encoder: ``{"encoder": 0.3}``.

    Args:
        network: its parameter names hold the part, as in ``views.axial.fine.*``.
        lr: base learning rate.
        weight_decay: of the weights.
        lr_factors: factor for each of "coarse", "saliency", "fine", and for any module by its name, such as "encoder";
            those of all modules that a parameter is in are multiplied. 1 where not given.
        bias_lr_factor: further factor on biases.

    Raises:
        ValueError: for a name in ``lr_factors`` that no part and no module has.

    Examples:
        >>> groups = parameter_groups(nn.Conv2d(3, 8, 3), lr=0.1, weight_decay=0.01, bias_lr_factor=2.0)
        >>> [(len(group["params"]), group["lr"], group["weight_decay"]) for group in groups]
        [(1, 0.1, 0.01), (1, 0.2, 0.0)]
    """
    factors = {part.value: 1.0 for part in Part} | dict(lr_factors or {})
    named = [(name.split("."), parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    unknown = factors.keys() - {part.value for part in Part} - {module for path, _ in named for module in path}
    if unknown:
        raise ValueError(
            f"lr_factors knows {[part.value for part in Part]} and the network's modules, got {sorted(unknown)}."
        )
    groups: dict[tuple[tuple[str, ...], bool], list[nn.Parameter]] = {}
    for path, parameter in named:
        modules = tuple(module for module in path if module in factors)
        groups.setdefault((modules or (Part.COARSE.value,), parameter.dim() < 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * math.prod(factors[module] for module in modules) * (bias_lr_factor if bias else 1.0),
            "weight_decay": 0.0 if bias else weight_decay,
        }
        for (modules, bias), parameters in groups.items()
    ]

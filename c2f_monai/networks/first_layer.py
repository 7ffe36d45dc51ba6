# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The first layer of a network of color images as that of a network of slabs."""

from __future__ import annotations

import torch

from .efficientnet_lite import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["shared_out", "slab_filters"]


def slab_filters(weight: torch.Tensor, bias: torch.Tensor, in_slices: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Filters of a normalized RGB image as filters of a slab of slices in [0, 1].

    The channels of a slab are neighbors in space, not colors: a filter of red against green would become one of the
    lower against the upper slice, which means nothing. So each slice gets its share of the sum of the three colors'
    filters, and ImageNet's normalization, which slabs do not have, goes into weights and bias. A slab of equal slices
    then gives what the gray image gave, but for the border, where a slab is padded with 0 and a normalized image with
    its mean.

    Args:
        weight: (n, 3, k, k), of red, green and blue.
        bias: (n,).
        in_slices: slices of a slab. Defaults to 3.

    Returns:
        weight (n, in_slices, k, k) and bias (n,).

    Raises:
        ValueError: for ``in_slices`` below 1.
    """
    mean, std = weight.new_tensor(IMAGENET_MEAN), weight.new_tensor(IMAGENET_STD)
    scaled = weight / std[:, None, None]
    return shared_out(scaled, in_slices), bias - (scaled * mean[:, None, None]).sum(dim=(1, 2, 3))


def shared_out(weight: torch.Tensor, in_slices: int) -> torch.Tensor:
    """Filters of which each slice has its share of the sum over the channels of others.

    Args:
        weight: (n, channels, k, k).
        in_slices: slices of a slab.

    Returns:
        (n, in_slices, k, k).

    Raises:
        ValueError: for ``in_slices`` below 1.
    """
    if in_slices < 1:
        raise ValueError(f"in_slices must be at least 1, got {in_slices}.")
    return (weight.sum(dim=1, keepdim=True) / in_slices).repeat(1, in_slices, 1, 1)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Removal of connected components that are small against the largest one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from monai.utils import convert_to_dst_type
from scipy import ndimage

from ..utils import foreground_box

__all__ = ["filter_components"]

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, torch.Tensor)


def filter_components(mask: ArrayOrTensor, fraction: float, voxels: int | None = None) -> ArrayOrTensor:
    """Drop the 6-connected components of a mask that are smaller than ``fraction`` of the largest one.

    The filter of the original testing code, which uses one half. Nothing is filtered when the foreground is at
    least half of the volume, as there: such a mask is a failure that labeling cannot mend.

    Args:
        mask: (H, W, D) boolean array or tensor, on any device; it is not changed.
        fraction: share of the largest component's voxels, in [0, 1], below which a component goes. 0 keeps all.
        voxels: of the whole volume, where ``mask`` is the part of it that holds all foreground. Defaults to its own.

    Returns:
        The filtered mask, of the type and on the device of ``mask``.

    Raises:
        ValueError: When ``fraction`` is outside [0, 1], or ``mask`` has not three axes or is not boolean.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in [0, 1], got {fraction}.")
    if mask.ndim != 3 or mask.dtype not in (torch.bool, np.dtype(bool)):
        raise ValueError(f"mask must be a boolean (H, W, D) volume, got {mask.dtype} of shape {tuple(mask.shape)}.")
    if fraction == 0:
        return mask
    if isinstance(mask, torch.Tensor):
        filtered = _filter_array(mask.cpu().numpy(), fraction, voxels)
        # Going through MONAI keeps the metadata of a MetaTensor; a plain tensor stays plain.
        return convert_to_dst_type(filtered, mask, dtype=torch.bool)[0]
    return _filter_array(mask, fraction, voxels)


def _filter_array(mask: np.ndarray, fraction: float, voxels: int | None) -> np.ndarray:
    found = np.count_nonzero(mask)
    if found == 0 or 2 * found >= (mask.size if voxels is None else voxels):
        return mask
    # Labels are int32: only the foreground's box is worth the memory.
    bounds = foreground_box(torch.from_numpy(np.ascontiguousarray(mask))) or ()
    box = tuple(slice(*side) for side in bounds)
    labels, count = ndimage.label(mask[box])  # scipy's default structure is the 6-connected one in 3D
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    filtered = np.zeros_like(mask)
    filtered[box] = (sizes >= max(1.0, fraction * sizes.max()))[labels]
    return filtered

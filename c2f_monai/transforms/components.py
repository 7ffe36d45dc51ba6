# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Removal of connected components that are small against the largest one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type
from scipy import ndimage

__all__ = ["FilterComponents", "FilterComponentsd", "filter_components"]

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
    _check_fraction(fraction)
    if mask.ndim != 3 or mask.dtype not in (torch.bool, np.dtype(bool)):
        raise ValueError(f"mask must be a boolean (H, W, D) volume, got {mask.dtype} of shape {tuple(mask.shape)}.")
    if fraction == 0:
        return mask
    if isinstance(mask, torch.Tensor):
        filtered = _filter_array(mask.detach().cpu().numpy(), fraction, voxels)
        # Going through MONAI keeps the metadata of a MetaTensor; a plain tensor stays plain.
        return convert_to_dst_type(filtered, mask, dtype=torch.bool)[0]
    return _filter_array(mask, fraction, voxels)


class FilterComponents(Transform):
    """Apply :func:`filter_components` to every channel of a (C, H, W, D) mask; its foreground is what is not zero.

    The data type is kept, so label values survive. It belongs after the threshold and before the inverse of the
    preprocessing, on the grid the network works on.

    Args:
        fraction: share of the largest component's voxels below which a component goes. Defaults to 0.5.

    Raises:
        ValueError: When ``fraction`` is outside [0, 1].
    """

    def __init__(self, fraction: float = 0.5) -> None:
        _check_fraction(fraction)
        self.fraction = fraction

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Filter ``img``, (C, H, W, D); the answer has its shape, type and metadata."""
        if self.fraction == 0:
            return img
        keep = torch.stack([filter_components(torch.as_tensor(channel != 0), self.fraction) for channel in img])
        # Masking `img` itself, and not the other way round, keeps its type and its metadata.
        return img * convert_to_dst_type(keep, img)[0]


class FilterComponentsd(MapTransform):
    """Dictionary-based :class:`FilterComponents`.

    Args:
        keys: keys of the masks.
        fraction: see :class:`FilterComponents`. Defaults to 0.5.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.
    """

    def __init__(self, keys: KeysCollection, fraction: float = 0.5, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.filter = FilterComponents(fraction)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Filter the masks of ``data`` at the keys; other entries pass."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.filter(out[key])
        return out


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in [0, 1], got {fraction}.")


def _filter_array(mask: np.ndarray, fraction: float, voxels: int | None) -> np.ndarray:
    found = np.count_nonzero(mask)
    if found == 0 or 2 * found >= (mask.size if voxels is None else voxels):
        return mask
    box = _foreground_box(mask)  # labels are int32: only the foreground's box is worth the memory
    labels, count = ndimage.label(mask[box])  # scipy's default structure is the 6-connected one in 3D
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    filtered = np.zeros_like(mask)
    filtered[box] = (sizes >= max(1.0, fraction * sizes.max()))[labels]
    return filtered


def _foreground_box(mask: np.ndarray) -> tuple[slice, ...]:
    slices = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(slices)

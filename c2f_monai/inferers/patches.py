# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a volume: what a round works on is small, and the rest of the volume is known to be zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..utils import padded_side

__all__ = [
    "Bounds",
    "Patch",
    "align_bounds",
    "bounds_in_view",
    "foreground_bounds",
    "grow_bounds",
    "patch_dice",
    "whole_bounds",
]

#: ((start, stop), ...) along H, W, D of a RAS volume, half-open voxels.
Bounds = tuple[tuple[int, int], ...]

EMPTY: Bounds = ((0, 0), (0, 0), (0, 0))


def whole_bounds(shape: Sequence[int]) -> Bounds:
    """Bounds of a whole volume of shape (H, W, D)."""
    return tuple((0, int(length)) for length in shape)


def grow_bounds(bounds: Bounds, reach: int, shape: Sequence[int]) -> Bounds:
    """Bounds with ``reach`` more voxels on each side, clipped to a volume of shape (H, W, D)."""
    return tuple(
        (max(start - reach, 0), min(stop + reach, int(length)))
        for (start, stop), length in zip(bounds, shape, strict=True)
    )


def align_bounds(bounds: Bounds, multiple: int, shape: Sequence[int]) -> Bounds:
    """Bounds grown to multiples, clipped to a volume of shape (H, W, D): poolings meet the same voxels as without."""
    return tuple(
        (start // multiple * multiple, min(padded_side(stop, multiple), int(length)))
        for (start, stop), length in zip(bounds, shape, strict=True)
    )


def bounds_in_view(bounds: Bounds, axes: Sequence[int], shape: Sequence[int]) -> Bounds:
    """Bounds along a view's slices, rows and columns.

    Args:
        bounds: along H, W, D.
        axes: signed axes of the view, see :py:mod:`c2f_monai.utils.orientation`.
        shape: (H, W, D) of the volume.
    """
    turned = []
    for axis in axes:
        start, stop = bounds[abs(axis) - 1]
        length = int(shape[abs(axis) - 1])
        turned.append((start, stop) if axis > 0 else (length - stop, length - start))
    return tuple(turned)


def foreground_bounds(mask: torch.Tensor) -> Bounds:
    """The smallest bounds of the foreground of a (H, W, D) bool mask; of no voxel where there is none."""
    bounds = []
    for axis in range(3):
        # The later axis first: the earlier one keeps its number.
        first, second = (other for other in range(3) if other != axis)
        present = torch.nonzero(mask.any(dim=second).any(dim=first)).flatten()
        if not len(present):
            return EMPTY
        bounds.append((int(present[0]), int(present[-1]) + 1))
    return tuple(bounds)


@dataclass(frozen=True)
class Patch:
    """
    Values on a part of a volume, zero elsewhere.

    Attributes:
        values: (K, h, w, d).
        bounds: where they lie in the volume; h, w and d voxels.
    """

    values: torch.Tensor
    bounds: Bounds

    @classmethod
    def trimmed(cls, mask: torch.Tensor, bounds: Bounds) -> Patch:
        """The smallest patch with all the foreground of a mask.

        Args:
            mask: (K, h, w, d) bool.
            bounds: where it lies.
        """
        inner = foreground_bounds(mask[0] if len(mask) == 1 else mask.any(dim=0))
        own = tuple((low + start, low + stop) for (low, _), (start, stop) in zip(bounds, inner, strict=True))
        part = cls(mask[(slice(None), *(slice(*side) for side in inner))].clone(), own)
        return cls(part.values, EMPTY) if part.empty else part

    @property
    def empty(self) -> bool:
        """Whether there is no voxel in it."""
        return not self.values.numel()

    def within(self, bounds: Bounds) -> tuple[slice, ...]:
        """Where this patch lies in a tensor (K, ...) on larger bounds."""
        return (slice(None), *(slice(a - o, b - o) for (a, b), (o, _) in zip(self.bounds, bounds, strict=True)))

    def on(self, bounds: Bounds) -> torch.Tensor:
        """Values on other bounds, zero outside its own, (K, ...); a view where the other bounds lie inside."""
        if all(a <= c and d <= b for (a, b), (c, d) in zip(self.bounds, bounds, strict=True)):
            return self.values[Patch(self.values[:0], bounds).within(self.bounds)]
        shape = [stop - start for start, stop in bounds]
        result = torch.zeros((len(self.values), *shape), dtype=self.values.dtype, device=self.values.device)
        common = tuple((max(a, c), max(min(b, d), a, c)) for (a, b), (c, d) in zip(self.bounds, bounds, strict=True))
        if all(stop > start for start, stop in common):
            part = Patch(self.values[:0], common)
            result[part.within(bounds)] = self.values[part.within(self.bounds)]
        return result


def patch_dice(a: Patch, b: Patch) -> float:
    """d(t) = DSC of two masks of the same volume, 1 where both are empty; of several classes the smallest."""
    common = (a.values & b.on(a.bounds)).sum(dim=(1, 2, 3)).tolist()
    sizes = (a.values.sum(dim=(1, 2, 3)) + b.values.sum(dim=(1, 2, 3))).tolist()
    return min(2.0 * both / size if size else 1.0 for both, size in zip(common, sizes, strict=True))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a volume: what a round works on is small, and the rest of the volume is known to be zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..utils import Bounds, dice_of_counts, foreground_box, padded_side

__all__ = ["EMPTY", "Patch", "align_bounds", "bounds_in_view", "patch_dice", "whole_bounds"]

#: Bounds along H, W, D of a RAS volume that hold no voxel.
EMPTY: Bounds = ((0, 0), (0, 0), (0, 0))


def whole_bounds(shape: Sequence[int]) -> Bounds:
    """Bounds of a whole volume of shape (H, W, D)."""
    return tuple((0, int(length)) for length in shape)


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
        inner = foreground_box(mask[0] if len(mask) == 1 else mask.any(dim=0))
        if inner is None:
            return cls(mask[:, :0, :0, :0].clone(), EMPTY)
        own = tuple((low + start, low + stop) for (low, _), (start, stop) in zip(bounds, inner, strict=True))
        return cls(mask[(slice(None), *(slice(*side) for side in inner))].clone(), own)

    @property
    def voxels(self) -> int:
        """Voxels that are not zero, of all classes."""
        return int(torch.count_nonzero(self.values))  # six times faster than the sum of a mask

    @property
    def empty(self) -> bool:
        """Whether there is no voxel in it."""
        return not self.values.numel()

    def same_as(self, other: Patch) -> bool:
        """Whether it lies where another patch lies, and holds the same: of trimmed masks, whether they are equal."""
        return self.bounds == other.bounds and torch.equal(self.values, other.values)

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
    common = _counts(a.values & b.on(a.bounds))
    sizes = [own + other for own, other in zip(_counts(a.values), _counts(b.values), strict=True)]
    return min(dice_of_counts(both, size) for both, size in zip(common, sizes, strict=True))


def _counts(mask: torch.Tensor) -> list[int]:
    return [int(torch.count_nonzero(one)) for one in mask]

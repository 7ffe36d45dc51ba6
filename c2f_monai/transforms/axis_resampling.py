# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Interpolation one axis after the other: where grids share their axes, all that resampling to a spacing needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from monai.utils import TraceKeys, get_equivalent_dtype

from ..utils import Bounds

__all__ = [
    "FILE_ORDER",
    "AxisResample",
    "axis_coordinates",
    "memory_order",
    "resample_axes",
    "resample_support",
    "support_box",
]

#: Voxels of a piece: what it takes beside volume and result stays small, and in the processor's caches.
PIECE = 2**22
#: Columns of a block of the matrix that interpolates along neighbors in memory.
COLUMNS = 64
#: Axes of (C, H, W, D) as NIfTI has them in memory, from the largest steps to the smallest; its own inverse.
FILE_ORDER = [0, 3, 2, 1]
#: Part of a voxel that is noise of the affines.
_SAME = 1e-4


def axis_coordinates(
    source: Any, target: Any, shape: Sequence[int], size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Where the voxels of a grid lie in another one, axis by axis.

    Args:
        source: (4, 4) affine of the grid that is sampled, to mm.
        target: (4, 4) affine of the new grid.
        shape: (H, W, D) voxels of the first.
        size: (h, w, d) voxels of the new one.

    Returns:
        (h,), (w,) and (d,) coordinates in voxels; those outside are moved to the border. None where the axes of the
        grids differ, so that a voxel's place along one depends on more than one index.

    Examples:
        >>> [c.tolist() for c in axis_coordinates(np.diag([2, 2, 2, 1]), np.diag([1, 2, 4, 1]), (2, 2, 3), (3, 2, 2))]
        [[0.0, 0.5, 1.0], [0.0, 1.0], [0.0, 2.0]]
    """
    between = np.linalg.solve(np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64))
    steps = np.diagonal(between)[:3]
    beside = np.abs(between[:3, :3] - np.diag(steps)) @ np.asarray(size, dtype=np.float64)
    if beside.max() > _SAME:
        return None
    axes = zip(steps, between[:3, 3], shape, size, strict=True)
    height, width, depth = ((step * np.arange(count) + first).clip(0, n - 1) for step, first, n, count in axes)
    return height, width, depth


def resample_axes(volume: torch.Tensor, coordinates: Sequence[np.ndarray], mode: str = "bilinear") -> torch.Tensor:
    """Sample a volume at the points of a grid whose axes are its own.

    Linear interpolation in three axes is that in one after the other. The grid of ``grid_sample`` takes three numbers
    for every voxel, and eight voxels are read for each; here a number for each index is enough, and two are read.

    Args:
        volume: (C, H, W, D) of any type.
        coordinates: (h,), (w,) and (d,) in voxels, inside the volume.
        mode: "bilinear" or "nearest". Defaults to "bilinear".

    Returns:
        (C, h, w, d) float32, in memory the first axis first.

    Examples:
        >>> volume = torch.tensor([0, 10], dtype=torch.int16).reshape(1, 2, 1, 1)
        >>> resample_axes(volume, [np.array([0.0, 0.25, 1.0]), np.zeros(1), np.zeros(1)]).flatten().tolist()
        [0.0, 2.5, 10.0]
    """
    # The last axis first, as files and slices lie in memory: what another order would change in the last digits, a
    # volume that lies otherwise does not change.
    turned, points = volume.permute(FILE_ORDER), coordinates[::-1]
    size = tuple(len(each) for each in points)
    result = torch.empty((volume.shape[0], *size), dtype=torch.float32, device=volume.device)
    plane = math.prod(turned.shape[2:])
    # Of the planes that rows need, the axis that shrinks comes first, so that the others have less to do.
    axes = (2, 1) if size[1] > turned.shape[2] else (1, 2)
    rows = max(1, PIECE // max(plane, math.prod(size[1:])))
    for channel, into in zip(turned, result, strict=True):
        for start in range(0, size[0], rows):
            part = _along(channel, 0, points[0][start : start + rows], mode)
            for axis in axes:
                part = _along(part, axis, points[axis], mode)
            into[start : start + rows] = part
    return result.permute(FILE_ORDER)


def memory_order(volume: torch.Tensor) -> list[int]:
    """Channels, then the axes of (C, H, W, D) from the largest steps in memory to the smallest.

    Examples:
        >>> memory_order(torch.zeros(1, 4, 3, 2)), memory_order(torch.zeros(1, 2, 3, 4).permute(0, 3, 2, 1))
        ([0, 1, 2, 3], [0, 3, 2, 1])
    """
    return [0, *sorted((1, 2, 3), key=volume.stride, reverse=True)]


def resample_support(volume: torch.Tensor, coordinates: Sequence[np.ndarray], mode: str = "bilinear") -> torch.Tensor:
    """As :func:`resample_axes`, for volumes that are 0 outside a box, such as probabilities: only the box is worked on.

    Examples:
        >>> volume = torch.zeros(1, 9, 1, 1).index_fill(1, torch.tensor([4]), 1.0)
        >>> resample_support(volume, [np.arange(0, 9, 0.5), np.zeros(1), np.zeros(1)]).nonzero()[:, 1].tolist()
        [7, 8, 9]
    """
    # In memory as a file has it, the first axis first: who writes a mask of it does not turn it.
    turned = torch.zeros((volume.shape[0], *(len(points) for points in reversed(coordinates))), device=volume.device)
    result = turned.permute(0, 3, 2, 1)
    box = support_box(volume)
    if box is None:
        return result
    source, target, near = [slice(None)], [slice(None)], []
    for (start, stop), length, points in zip(box, volume.shape[1:], coordinates, strict=True):
        first, last = max(start - 1, 0), min(stop, length - 1)
        inside = np.flatnonzero((points >= first) & (points <= last))
        if not len(inside):
            return result
        source.append(slice(first, last + 1))
        target.append(slice(int(inside[0]), int(inside[-1]) + 1))
        near.append(points[inside] - first)
    result[tuple(target)] = resample_axes(volume[tuple(source)], near, mode)
    return result


def support_box(volume: torch.Tensor, least: float | None = None) -> Bounds | None:
    """The box of what is not 0 in (C, H, W, D), along H, W and D; None where all is 0.

    Args:
        volume: of any type that has an order.
        least: of values at and above it instead. Defaults to None.

    Examples:
        >>> support_box(torch.zeros(1, 5, 4, 3).index_fill(2, torch.tensor([1, 2]), 0.4))
        ((0, 5), (1, 3), (0, 3))
        >>> print(support_box(torch.zeros(1, 5, 4, 3), least=0.5))
        None
    """
    box = [(0, int(length)) for length in volume.shape[1:]]
    # The axis of the largest steps in memory first: the others scan what it leaves.
    for axis in sorted(range(3), key=lambda axis: -volume.stride(axis + 1)):
        part = volume[(slice(None), *(slice(*side) for side in box))]
        others = [other for other in range(4) if other != axis + 1]
        high = part.amax(dim=others)
        there = ((high != 0) | (part.amin(dim=others) != 0)) if least is None else high >= least
        hit = there.nonzero().flatten().tolist()
        if not hit:
            return None
        start = box[axis][0]
        box[axis] = (start + hit[0], start + hit[-1] + 1)
    return tuple(box)


def _unchanged(points: np.ndarray, length: int) -> bool:
    return len(points) == length and bool(np.abs(points - np.arange(length)).max() < _SAME)


def _along(part: torch.Tensor, axis: int, points: np.ndarray, mode: str) -> torch.Tensor:
    """One axis of (H, W, D)."""
    length = part.shape[axis]
    nearest = np.rint(points)
    if mode == "nearest" or np.abs(points - nearest).max() < _SAME:
        if _unchanged(nearest, length):
            return part
        return part.index_select(axis, torch.from_numpy(nearest.astype(np.int64)).to(part.device))
    lower = np.floor(points).astype(np.int64)
    upper = np.minimum(lower + 1, length - 1)
    weight = torch.from_numpy((points - lower).astype(np.float32)).to(part.device)
    low, high = (torch.from_numpy(index).to(part.device) for index in (lower, upper))
    if axis == 2:  # neighbors in memory: a product with a matrix of two numbers in each column is faster than picking
        columns = torch.arange(len(points), device=part.device)
        matrix = torch.zeros((length, len(points)), device=part.device)
        matrix[low, columns] = 1.0 - weight
        matrix[high, columns] += weight
        return torch.cat(
            [part[..., a:b].float().contiguous() @ matrix[a:b, c:d] for a, b, c, d in _bands(lower, upper)], dim=2
        )
    weight = weight.reshape([-1 if each == axis else 1 for each in range(3)])
    return part.index_select(axis, low).float().lerp_(part.index_select(axis, high).float(), weight)


def _bands(lower: np.ndarray, upper: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Of a matrix that is 0 but near its diagonal, blocks that hold the rest: their rows and their columns."""
    for start in range(0, len(lower), COLUMNS):
        stop = min(start + COLUMNS, len(lower))
        yield int(lower[start:stop].min()), int(upper[start:stop].max()) + 1, start, stop


class AxisResample(SpatialResample):
    """MONAI's ``SpatialResample`` by :func:`resample_axes` where the axes of both grids are the same.

    Values differ from ``grid_sample``'s by the rounding of its float32 coordinates. Other modes, padding and grids go
    MONAI's way.
    """

    def __call__(  # type: ignore[override]
        self,
        img: torch.Tensor,
        dst_affine: torch.Tensor | None = None,
        spatial_size: Sequence[int] | None = None,
        mode: str | int | None = None,
        padding_mode: str | None = None,
        align_corners: bool | None = None,
        dtype: Any = None,
        lazy: bool | None = None,
    ) -> torch.Tensor:
        """As that of ``SpatialResample``."""
        mode, padding_mode = mode or self.mode, padding_mode or self.padding_mode
        points = None
        if _is_linear(mode, padding_mode) and not (self.lazy if lazy is None else lazy) and spatial_size is not None:
            points = _points(img, dst_affine, spatial_size)
        if points is None:
            return super().__call__(img, dst_affine, spatial_size, mode, padding_mode, align_corners, dtype, lazy)
        assert isinstance(img, MetaTensor) and dst_affine is not None and spatial_size is not None
        info = {
            "dtype": str(get_equivalent_dtype(dtype or self.dtype or img.dtype, torch.Tensor)).removeprefix("torch."),
            "mode": str(mode),
            "padding_mode": str(padding_mode),
            "align_corners": TraceKeys.NONE if align_corners is None else align_corners,
            "src_affine": img.affine.double(),
        }
        traced = self.track_transform_meta(
            img,
            sp_size=tuple(spatial_size),
            affine=torch.linalg.solve(img.affine.double(), torch.as_tensor(dst_affine).to(img.affine.double())),
            extra_info=info,
            orig_size=tuple(img.shape[1:]),
            transform_info=self.get_transform_info(),
        )
        resampled: torch.Tensor = MetaTensor(resample_axes(img.as_tensor(), points, str(mode))).copy_meta_from(traced)
        return resampled

    def points_back(self, img: MetaTensor) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Coordinates of the grid that ``img`` came from, see :func:`axis_coordinates`; None is MONAI's way."""
        applied = img.applied_operations[-1]
        info = applied[TraceKeys.EXTRA_INFO]
        if not _is_linear(info["mode"], info["padding_mode"]):
            return None
        return _points(img, info["src_affine"], tuple(int(n) for n in applied[TraceKeys.ORIG_SIZE]))


def _is_linear(mode: str | int, padding_mode: str) -> bool:
    return str(mode) in ("bilinear", "nearest") and str(padding_mode) == "border"


def _points(img: Any, dst_affine: Any, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    if not isinstance(img, MetaTensor) or img.ndim != 4 or dst_affine is None or img.pending_operations:
        return None
    points = axis_coordinates(img.affine.cpu(), torch.as_tensor(dst_affine).cpu(), img.shape[1:], size)
    same = points is not None and all(map(_unchanged, points, img.shape[1:]))
    return None if same else points  # what MONAI leaves as it is

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The canvas on which a phantom is painted: body coordinates, HU and the soft weights of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .fields import SmoothField

__all__ = ["Canvas", "Pose", "Region"]

Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Pose:
    """How the body lies in the grid: ``body = rotation^T (position - shift) / scale + bend(position)``.

    Attributes:
        rotation: (3, 3) rotation from body to grid.
        shift: (3,) position of the body's origin in mm from the grid's center.
        scale: size of the body.
        bend: one field per axis.
        bend_mm: standard deviation of the bending in mm.
    """

    rotation: np.ndarray
    shift: np.ndarray
    scale: float
    bend: tuple[SmoothField, SmoothField, SmoothField]
    bend_mm: float

    def body_coordinates(self, axes: Sequence[np.ndarray]) -> np.ndarray:
        """Body coordinates in mm, float32 (3, H, W, D), of the grid spanned by three 1D axes in mm."""
        inverse = (self.rotation.T / self.scale).astype(np.float32)
        position = [(axis - s).astype(np.float32) for axis, s in zip(axes, self.shift, strict=True)]
        x, y, z = np.ix_(*position)
        return np.stack(
            [
                inverse[i, 0] * x + inverse[i, 1] * y + inverse[i, 2] * z + self.bend_mm * self.bend[i].on_grid(axes)
                for i in range(3)
            ]
        )

    def grid_position(self, points: np.ndarray) -> np.ndarray:
        """Positions in mm in the grid, (N, 3), of points in body coordinates (the inverse, by fixed-point steps)."""
        position: np.ndarray = self.scale * points @ self.rotation.T + self.shift
        for _ in range(4):
            bend = self.bend_mm * np.stack([field.at(position) for field in self.bend], axis=1)
            position = self.scale * (points - bend) @ self.rotation.T + self.shift
        return position


class Canvas:
    """HU values and soft weights of labels; shapes are painted over each other in the order of the calls.

    Args:
        size: voxels along R, A and S.
        spacing: mm between voxels along R, A and S.
        pose: how the body lies in the grid.
        labels: number of label values without the background.

    Attributes:
        hu: float32 (H, W, D).
        weights: float32 (labels, H, W, D), the share of each voxel that is of a label, 1 first.
        coords: float32 (3, H, W, D), body coordinates in mm.
    """

    def __init__(self, size: Sequence[int], spacing: Sequence[float], pose: Pose, labels: int) -> None:
        self.spacing = np.asarray(spacing, dtype=float)
        self.pose = pose
        self.axes = tuple((np.arange(n) - (n - 1) / 2) * step for n, step in zip(size, spacing, strict=True))
        self.coords = pose.body_coordinates(self.axes)
        self.hu = np.full(tuple(size), -1000.0, dtype=np.float32)
        self.weights = np.zeros((labels, *size), dtype=np.float32)
        self._painted: set[int] = set()  # labels that have voxels: the others need no blending
        self.edge = float(self.spacing.mean()) / pose.scale  # width of a partial-volume edge in body mm
        self.everything: Region = (slice(None), slice(None), slice(None))

    def local_axes(self, region: Region) -> list[np.ndarray]:
        """The three axes in mm within a region."""
        return [axis[part] for axis, part in zip(self.axes, region, strict=True)]

    def region(self, points: np.ndarray, reach: float | np.ndarray) -> Region | None:
        """The box of voxels within `reach` mm (a number or one per point) of points (N, 3) in body coordinates.

        Returns:
            Three slices, or None when the box lies outside the grid.
        """
        center = self.pose.grid_position(np.atleast_2d(points))
        radius = np.broadcast_to(np.asarray(reach, dtype=float) * self.pose.scale, len(center))[:, None]
        low, high = (center - radius).min(axis=0), (center + radius).max(axis=0)
        parts = []
        for axis, step, lo, hi in zip(self.axes, self.spacing, low, high, strict=True):
            start = max(int(np.floor((lo - axis[0]) / step)), 0)
            stop = min(int(np.ceil((hi - axis[0]) / step)) + 1, len(axis))
            if start >= stop:
                return None
            parts.append(slice(start, stop))
        return parts[0], parts[1], parts[2]

    def paint(self, region: Region, distance: np.ndarray, hu: float | np.ndarray, label: int = 0) -> None:
        """Blend a shape over what is there.

        Args:
            region: box of voxels.
            distance: signed distance in mm within the box, negative inside.
            hu: HU of the shape, a number or an array of the box's shape.
            label: label value of the shape; 0 for what has none, and for values above the canvas's labels.
        """
        weight = np.clip(0.5 - distance / np.float32(self.edge), 0, 1)
        self.hu[region] += weight * (hu - self.hu[region])
        for painted in self._painted:
            self.weights[(painted - 1, *region)] *= 1 - weight
        if 0 < label <= len(self.weights):
            self.weights[(label - 1, *region)] += weight
            self._painted.add(label)

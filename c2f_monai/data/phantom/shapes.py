# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Signed distances (mm, negative inside) of the phantom's shapes, computed in local boxes of the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from .canvas import Canvas, Region

__all__ = ["Shape", "ellipsoid", "smooth_curve", "taper", "tube"]

_REACH = 7.0  # mm around a shape in which its distance is known; enough for its fat rim


@dataclass
class Shape:
    """A signed distance in mm, float32, within a box of voxels."""

    region: Region
    distance: np.ndarray


def smooth_curve(controls: np.ndarray, step: float = 2.5) -> np.ndarray:
    """Points about every `step` mm, (N, 3), of a smooth curve through the control points (M, 3)."""
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(controls, axis=0), axis=1))])
    count = max(int(chord[-1] / step) + 1, 2)
    points: np.ndarray = CubicSpline(chord, controls)(np.linspace(0, chord[-1], count))
    return points


def taper(radii: Sequence[float] | np.ndarray, count: int) -> np.ndarray:
    """Radii at `count` places from radii at equal distances along the curve."""
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(radii)), radii)


def tube(canvas: Canvas, points: np.ndarray, radii: np.ndarray, height: float = 1.0) -> Shape | None:
    """A tube: the union of balls along a curve.

    Args:
        canvas: where it will be painted.
        points: (N, 3) in body coordinates, mm.
        radii: (N,) in mm.
        height: stretch along the body's axis (z).

    Returns:
        The shape, or None when it lies outside the grid.
    """
    reach = radii * max(height, 1.0) + _REACH
    region = canvas.region(points, reach)
    if region is None:
        return None
    shape = tuple(part.stop - part.start for part in region)
    distance = np.full(shape, _REACH, dtype=np.float32)
    for point, radius, extent in zip(points.astype(np.float32), radii.astype(np.float32), reach, strict=True):
        ball = canvas.region(point[None], extent)
        if ball is None:
            continue
        x, y, z = canvas.coords[(slice(None), *ball)]
        value = np.sqrt((x - point[0]) ** 2 + (y - point[1]) ** 2 + ((z - point[2]) / np.float32(height)) ** 2) - radius
        start = [part.start - whole.start for part, whole in zip(ball, region, strict=True)]
        inner = tuple(slice(s, s + n) for s, n in zip(start, value.shape, strict=True))
        np.minimum(distance[inner], value, out=distance[inner])
    return Shape(region, distance)


def ellipsoid(
    canvas: Canvas,
    center: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    rotation: np.ndarray | None = None,
) -> Shape | None:
    """An ellipsoid with half-axes `radii` in mm, turned by a (3, 3) rotation; None when outside the grid."""
    region = canvas.region(np.asarray(center, dtype=float)[None], max(radii) + _REACH)
    if region is None:
        return None
    local = canvas.coords[(slice(None), *region)] - np.asarray(center, dtype=np.float32)[:, None, None, None]
    if rotation is not None:
        local = np.tensordot(rotation.T.astype(np.float32), local, axes=1)
    scaled = local / np.asarray(radii, dtype=np.float32)[:, None, None, None]
    length = np.sqrt((scaled**2).sum(axis=0))
    slope = np.sqrt(((scaled / np.asarray(radii, dtype=np.float32)[:, None, None, None]) ** 2).sum(axis=0))
    return Shape(region, (length * (length - 1) / np.maximum(slope, 1e-6)).astype(np.float32))

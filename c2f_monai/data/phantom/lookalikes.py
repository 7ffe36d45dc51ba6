# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoys of the target's own look outside of its place: what tells them apart is where they lie, and nothing else."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .fields import rotation_matrix
from .settings import Build
from .shapes import tube
from .target import Gland, draw_gland, paint_tissue

__all__ = ["paint_lookalikes"]

_APART = 38.0  # mm between the center lines of decoys and target: more than the sum of their radii
_TRIALS = 40


def paint_lookalikes(
    canvas: Canvas, build: Build, cavity: np.ndarray, gland: Gland, rng: np.random.Generator, number: tuple[int, int]
) -> None:
    """Paint pieces of glands, drawn as the target is, turned and elsewhere in the cavity.

    Args:
        canvas: the canvas.
        build: the body.
        cavity: output of `cavity_distance`.
        gland: the target, which they keep away from.
        rng: source of the variation.
        number: lowest and highest number of them.
    """
    if number[1] == 0:
        return
    front = build.half_depth - build.fat - 9
    for _ in range(int(rng.integers(number[0], number[1] + 1))):
        other = draw_gland(build, rng, float(rng.uniform(0.8, 1.05)))
        curve, radii = _piece(other, rng)
        for _ in range(_TRIALS):
            turned = curve @ rotation_matrix((rng.normal(0, 15), rng.normal(0, 15), rng.uniform(0, 360))).T
            placed = turned + rng.uniform((-70, -30, -215), (70, front - 15, 30))
            if _is_free(placed, gland, front):
                shape = tube(canvas, placed, radii, other.height)
                if shape:
                    shape.distance = np.maximum(shape.distance, cavity[shape.region] + 2)
                    paint_tissue(canvas, build, shape, rng, False, 0)
                break


def _piece(gland: Gland, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A part of a gland, 40 to 80 % of its length, about its own center."""
    count = len(gland.curve)
    length = int(rng.uniform(0.4, 0.8) * count)
    first = int(rng.integers(0, count - length + 1))
    part = slice(first, first + length)
    return gland.curve[part] - gland.curve[part].mean(axis=0), gland.radii[part]


def _is_free(curve: np.ndarray, gland: Gland, front: float) -> bool:
    """Whether a curve keeps away from the target, the wall of the cavity, the spine and the kidneys."""
    x, y, z = curve.T
    distance = np.linalg.norm(curve[:, None] - gland.curve[None], axis=2).min()
    wall = np.abs(x).max() < 92 and y.min() > -48 and y.max() < front - 10
    spine = ((np.abs(x) > 30) | (y > -14)).all()
    kidneys = ((np.abs(x) < 34) | (y > 0) | (z < -85)).all()
    return bool(distance > _APART and wall and spine and kidneys)

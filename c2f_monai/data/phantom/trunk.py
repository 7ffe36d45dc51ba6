# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The trunk: table, skin, fat, muscle wall, ribs, spine, and the fat that fills the abdominal cavity."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .fields import SmoothField
from .settings import Build
from .shapes import ellipsoid
from .versions import PhantomVersion

__all__ = ["cavity_distance", "paint_spine", "paint_trunk"]

_BACK = -72.0  # the cavity's back wall, mm behind the body's origin


def _rounded(x: np.ndarray, y: np.ndarray, half_x: float, half_y: float) -> np.ndarray:
    """Distance to a rounded rectangle |x/a|^2.5 + |y/b|^2.5 = 1, good near its outline."""
    rho = ((np.abs(x) / np.float32(half_x)) ** 2.5 + (np.abs(y) / np.float32(half_y)) ** 2.5) ** np.float32(0.4)
    distance: np.ndarray = (rho - 1) * np.float32(min(half_x, half_y))
    return distance


def cavity_distance(canvas: Canvas, build: Build, version: PhantomVersion) -> np.ndarray:
    """Signed distance to the inner face of the abdominal wall, float32 (H, W, D)."""
    x, y, z = canvas.coords
    front = build.half_depth - build.fat - 9
    half_x = build.half_width - build.fat - 11
    if version.pelvis:  # it narrows towards the pelvis, between bones and muscles
        x = x / (1 - np.clip(0.45 * (-125 - z), 0, 62) / np.float32(half_x))
    return _rounded(x, y - (front + _BACK) / 2, half_x, (front - _BACK) / 2)


def paint_trunk(canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator, ascites: bool) -> None:
    """Paint everything from the table to the fat of the cavity.

    Args:
        canvas: empty canvas.
        build: the body.
        cavity: output of `cavity_distance`.
        rng: source of the textures.
        ascites: whether free fluid lies in the cavity.
    """
    everything, hu = canvas.everything, build.hu
    x, y, z = canvas.coords
    table = np.abs(y + np.float32(build.half_depth + 12)) - 5
    canvas.paint(everything, table, -800.0)
    canvas.paint(everything, np.abs(table) - 1, -300.0)
    waist = 1 + 0.03 * np.cos(z / 70 + np.float32(rng.uniform(0, 6)))
    body = _rounded(x / waist, y, build.half_width, build.half_depth)
    fine = SmoothField(rng, (14, 40)).on_grid(canvas.axes)
    canvas.paint(everything, body, hu["fat"] + 8 * fine)
    canvas.paint(everything, np.abs(body) - 1, 15.0)
    muscle = _rounded(x / waist, y, build.half_width - build.fat, build.half_depth - 0.8 * build.fat)
    canvas.paint(everything, muscle + fine, hu["muscle"] + 8 * fine - 40 * (fine > 1.8))
    _paint_ribs(canvas, build, cavity, rng)
    strands = SmoothField(rng, (12, 30)).on_grid(canvas.axes)
    canvas.paint(everything, cavity, hu["fat"] + 8 + 12 * strands + 40 * np.clip(strands - 1, 0, 1.5))
    if ascites:
        pools = SmoothField(rng, (60, 160)).on_grid(canvas.axes)
        canvas.paint(everything, np.maximum(cavity, 12 * (0.3 - pools)), hu["fluid"])


def _paint_ribs(canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator) -> None:
    x, y, z = canvas.coords
    height = z + 0.35 * y + np.float32(rng.uniform(0, 27))
    band = np.abs(np.mod(height, 27) - 13.5) - 5
    arch = 0.45 * np.abs(x) - z - 0.2 * y - 75 * (y < 0)  # free below the costal arch
    rib = np.maximum(np.maximum(np.abs(cavity - 6) - 4, band), arch)
    canvas.paint(canvas.everything, rib, build.hu["bone"] + 60)
    canvas.paint(canvas.everything, rib + 2.5, build.hu["bone"] - 40)


def paint_spine(canvas: Canvas, build: Build, rng: np.random.Generator, version: PhantomVersion) -> None:
    """Paint psoas and back muscles, vertebrae with discs, the canal and the spinous processes."""
    hu, bone = build.hu, build.hu["bone"]
    for side in (-1, 1):
        for z in version.psoas:
            psoas = ellipsoid(canvas, (side * 36.0, -50.0, z), (13 - z / 20, 16 - z / 30, 34.0))
            if psoas:
                canvas.paint(psoas.region, psoas.distance, hu["muscle"])
    low, high = version.spine
    region = canvas.region(np.array([[0.0, -55, low], [0.0, -55, high]]), 40)
    if region is None:
        return
    x, y, z = canvas.coords[(slice(None), *region)]
    radius = np.float32(rng.uniform(20, 24))
    body = np.hypot(x, (y + 44) * np.float32(1.3)) - radius
    canvas.paint(region, np.hypot(x, y + 70) - 19, hu["muscle"])
    level = np.abs(np.mod(z + np.float32(rng.uniform(0, 33)), 33) - 16.5)
    texture = SmoothField(rng, (8, 16)).on_grid(canvas.local_axes(region))
    canvas.paint(region, body, 85.0)
    canvas.paint(region, np.maximum(body, level - 12), bone + 170)
    canvas.paint(region, np.maximum(body + 2.5, level - 9.5), bone + 30 * texture)
    canvas.paint(region, np.hypot(x, y + 69) - 13, bone + 120)
    canvas.paint(region, np.hypot(x / 4, (y + 84) / 14) * 5 - 5 + np.maximum(level - 10, 0), bone + 100)
    canvas.paint(region, np.hypot(x, y + 69) - 8, 25.0)

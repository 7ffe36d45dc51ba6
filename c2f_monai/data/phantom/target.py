# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The target, a pancreas-like gland with cysts, and what lies against it: duodenum, stomach and decoy bowel loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .fields import SmoothField
from .organs import paint_bowel_tube
from .settings import Build
from .shapes import Shape, ellipsoid, smooth_curve, taper, tube
from .versions import Label

__all__ = ["FAMILIES", "Gland", "draw_gland", "paint_gland", "paint_neighbors", "paint_tissue"]

# Heights (mm, above the head) of body, distal body and tail for the shapes of the gland.
FAMILIES: dict[str, tuple[float, float, float]] = {
    "sigmoid": (17, 24, 42),
    "oblique": (25, 42, 60),
    "horseshoe": (24, 22, -2),
    "inverted V": (35, 18, -8),
    "transverse": (11, 9, 10),
}


@dataclass(frozen=True)
class Gland:
    """Center line (N, 3) from head to tail in body mm, radii (N,) in mm, stretch along z, name of the shape family."""

    curve: np.ndarray
    radii: np.ndarray
    height: float
    family: str


def draw_gland(build: Build, rng: np.random.Generator, scale: float) -> Gland:
    """Draw where the target runs and how thick it is: `scale` times 14 to 28 mm at the head, 8 to 16 mm at the tail."""
    family = str(rng.choice(list(FAMILIES)))
    body, distal, tail = FAMILIES[family]
    controls = np.array(
        [(5, -3, -17), (0, 0, 0), (-22, 13, 13), (-50, 16, body), (-82, 2, distal), (-108, -16, tail)], dtype=float
    )
    controls[:, 0] *= rng.uniform(0.85, 1.06)
    controls += rng.normal(0, 4, controls.shape) + build.viscera + (40, 8, -14)
    curve = smooth_curve(controls, 2.0)
    head, neck = rng.uniform(10, 13.8), rng.uniform(6.5, 9)
    trunk, end = rng.uniform(8, 11), rng.uniform(5, 8)
    radii = taper((0.7 * head, head, 0.9 * head, neck, trunk, 0.95 * trunk, 0.5 * (trunk + end), end), len(curve))
    return Gland(curve, radii * scale, float(rng.uniform(1.1, 1.35)), family)


def paint_neighbors(canvas: Canvas, build: Build, gland: Gland, rng: np.random.Generator) -> None:
    """Paint decoy loops along the target, the stomach before it and the duodenum around its head."""
    curve, radii, n = gland.curve, gland.radii, len(gland.curve)
    for start in rng.permutation([0.25, 0.45, 0.62])[: int(rng.integers(2, 4))]:
        low = int((start + rng.uniform(-0.08, 0.08)) * n)
        part = slice(low, min(low + int(rng.uniform(0.3, 0.5) * n), n))
        thick = rng.uniform(7, 11)
        angle = np.deg2rad(rng.uniform(-150, 20))  # from the front over the underside to the back
        away = (radii[part] * 1.15 + thick + rng.uniform(0.5, 3))[:, None] * (0, np.cos(angle), np.sin(angle))
        controls = (curve[part] + away)[::8] + rng.normal(0, 2, (len(curve[part][::8]), 3))
        points = smooth_curve(controls, 2.5)
        content = str(rng.choice(["collapsed", "fluid"], p=[0.65, 0.35]))
        widths = thick * taper(1 + 0.12 * rng.standard_normal(5), len(points))
        paint_bowel_tube(canvas, build, rng, points, widths, content)
    shift, sway = build.viscera, rng.normal(0, 4, (7, 3))
    stomach = np.array(
        [(-62, -4, 84), (-74, 18, 60), (-70, 36, 36), (-46, 50, 16), (-14, 50, 8), (14, 44, 10), (34, 36, 8)]
    )
    points = smooth_curve(stomach + 0.6 * shift + sway, 3.0)
    widths = rng.uniform(0.75, 1.1) * taper((22, 28, 26, 20, 16, 13, 9), len(points))
    paint_bowel_tube(canvas, build, rng, points, widths, str(rng.choice(["gas", "gas", "food", "collapsed"])))
    head, size = curve[int(0.12 * n)], radii[: int(0.2 * n)].max()
    out = size + 10
    loop = head + np.array(
        [(-4, 24, 20), (0.7 * out, 14, 18), (out, 0, 4), (out, -6, -18), (0.6 * out, -10, -34),
         (-16, -12, -38), (-42, -4, -32), (-56, 8, -16), (-50, 26, -24)]
    )  # fmt: skip
    points = smooth_curve(loop + rng.normal(0, 2.5, loop.shape), 2.5)
    widths = rng.uniform(8.5, 11.5) * taper(1 + 0.1 * rng.standard_normal(6), len(points))
    content = str(rng.choice(["collapsed", "fluid", "gas"], p=[0.5, 0.35, 0.15]))
    paint_bowel_tube(canvas, build, rng, points, widths, content, label=Label.DUODENUM)


def paint_gland(canvas: Canvas, build: Build, gland: Gland, rng: np.random.Generator, fatty: bool, big: bool) -> None:
    """Paint the target, lobulated and infiltrated by fat, and the cysts of about two cases in five."""
    shape = tube(canvas, gland.curve, gland.radii, gland.height)
    if shape is None:
        return
    hu = build.hu
    paint_tissue(canvas, build, shape, rng, fatty, Label.PANCREAS)
    duct = tube(canvas, gland.curve[4:-6], np.full(len(gland.curve) - 10, rng.uniform(0.8, 1.6)))
    if duct:
        canvas.paint(duct.region, duct.distance, hu["fluid"] + 10, Label.PANCREAS)
    if rng.random() >= 0.4 and not big:
        return
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.uniform(0.05, 0.95) * len(gland.curve))
        radius = float(np.exp(rng.uniform(np.log(2), np.log(11))))
        if big:
            radius, big = float(rng.uniform(12, 17)), False
        direction = rng.standard_normal(3)
        offset = direction / np.linalg.norm(direction) * (0.6 * gland.radii[place] + max(radius - 6, 0) * 0.6)
        cyst = ellipsoid(canvas, gland.curve[place] + offset, radius * rng.uniform(0.85, 1.15, 3))
        if cyst:
            canvas.paint(cyst.region, cyst.distance, hu["fluid"] + rng.uniform(-4, 10), Label.CYST)


def paint_tissue(canvas: Canvas, build: Build, shape: Shape, rng: np.random.Generator, fatty: bool, label: int) -> None:
    """Paint a shape with the target's look: lobulated, infiltrated by fat, in a rim of fat."""
    hu, axes = build.hu, canvas.local_axes(shape.region)
    lobules = SmoothField(rng, (9, 17), 64).on_grid(axes)
    gap = SmoothField(rng, (20, 50), 32).on_grid(axes)
    distance = shape.distance + 1.3 * lobules
    canvas.paint(shape.region, distance - np.clip(1.0 + 1.0 * gap, 0, 2.5), hu["fat"] + 10)
    clefts = np.clip(lobules - 0.3, 0, 1.4) * (105 if fatty else rng.uniform(55, 85))
    canvas.paint(shape.region, distance, hu["pancreas"] + (-6 if fatty else 8) - clefts, label)

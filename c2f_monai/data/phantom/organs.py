# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Solid organs, vessels, stomach, duodenum and bowel, painted around the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .canvas import Canvas
from .fields import SmoothField, rotation_matrix
from .settings import Build
from .shapes import Shape, ellipsoid, smooth_curve, taper, tube
from .versions import Label, PhantomVersion

__all__ = ["paint_bowel_tube", "paint_kidneys", "paint_loops", "paint_upper_organs", "paint_vessels"]


def _paint_solid(
    canvas: Canvas, shape: Shape | None, hu: float, rng: np.random.Generator, fat: float, rim: float, wobble: float,
    label: int = 0,
) -> None:  # fmt: skip
    """Paint an organ with a wavy surface and a faint texture, within a rim of fat of about `rim` mm."""
    if shape is None:
        return
    axes = canvas.local_axes(shape.region)
    distance = shape.distance + wobble * SmoothField(rng, (30, 70), 24).on_grid(axes)
    canvas.paint(shape.region, distance - rim, fat)
    canvas.paint(shape.region, distance, hu + 4 * SmoothField(rng, (10, 25), 24).on_grid(axes), label)


def paint_upper_organs(
    canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator, gallbladder: bool
) -> None:
    """Paint liver (with its veins), spleen, gallbladder and the lung bases."""
    hu, fat = build.hu, build.hu["fat"]
    move = rng.uniform(-8, 8, 3)
    lobes = [((68, 2, 48), (64, 72, 60)), ((14, 44, 56), (64, 28, 32))]
    for center, radii in lobes:
        lobe = ellipsoid(canvas, np.add(center, move), np.multiply(radii, rng.uniform(0.88, 1.08, 3)))
        if lobe:
            lobe.distance = np.maximum(lobe.distance, cavity[lobe.region] + 2)
            _paint_solid(canvas, lobe, hu["liver"], rng, fat, 1.0, 2.5)
    for _ in range(6):
        ends = np.array([(45, 8, 40), (60, 5, 52), rng.uniform((20, -35, 25), (100, 45, 75))]) + move
        vein = tube(canvas, smooth_curve(ends), taper((5, 4, 2), len(smooth_curve(ends))))
        if vein:
            canvas.paint(vein.region, vein.distance, hu["vein"])
    spleen = ellipsoid(
        canvas, (-92, -26, 52) + rng.uniform(-8, 8, 3), np.multiply((26, 38, 46), rng.uniform(0.8, 1.15, 3)),
        rotation_matrix(rng.uniform((-10, -20, 10), (10, 5, 35))),
    )  # fmt: skip
    if spleen:
        spleen.distance = np.maximum(spleen.distance, cavity[spleen.region] + 2)
        _paint_solid(canvas, spleen, hu["spleen"], rng, fat, 1.5, 2.0)
    if gallbladder:
        sac = ellipsoid(
            canvas, (50, 42, 2) + move, np.multiply((15, 17, 27), rng.uniform(0.7, 1.1, 3)), rotation_matrix((25, 0, 0))
        )
        if sac:
            canvas.paint(sac.region, sac.distance - 1.5, hu["bowel"], Label.GALLBLADDER)
            canvas.paint(sac.region, sac.distance, hu["fluid"], Label.GALLBLADDER)
    x, y, z = canvas.coords
    top = np.float32(rng.uniform(86, 104))
    dome = top - ((np.abs(x) - 58) ** 2 + (y - 8) ** 2) / 90
    lung = np.maximum(np.maximum(cavity + 2, (dome - z) * 0.7), 14 - np.hypot(x, (y + 44) * 0.7))
    canvas.paint(canvas.everything, lung, -850.0)


def paint_kidneys(canvas: Canvas, build: Build, rng: np.random.Generator) -> None:
    """Paint kidneys with their sinus, and adrenal-like strips above them."""
    hu, fat = build.hu, build.hu["fat"]
    for side, z in ((1, -22), (-1, -4)):
        center = np.array((side * 62, -36, z)) + rng.uniform((-6, -5, -14), (6, 4, 14))
        turn = rotation_matrix((rng.uniform(-12, 6), side * rng.uniform(4, 16), side * -25))
        radii = np.multiply((25, 23, 50), rng.uniform(0.88, 1.08, 3))
        kidney = ellipsoid(canvas, center, radii, turn)
        label = Label.RIGHT_KIDNEY if side > 0 else Label.LEFT_KIDNEY
        _paint_solid(canvas, kidney, hu["kidney"], rng, fat, rng.uniform(1.5, 4), 1.5, label)
        sinus = ellipsoid(canvas, center - (side * 11, -4, 0), radii * (0.5, 0.35, 0.5), turn)
        _paint_solid(canvas, sinus, 0.5 * (fat + hu["fluid"]), rng, fat, 0.5, 2.0)
        strip = smooth_curve(center + np.array([(-side * 26, 6, 34), (-side * 20, 2, 46), (-side * 14, -8, 52)]))
        adrenal = tube(canvas, strip, taper((3, 4, 2.5), len(strip)), height=1.6)
        if adrenal:
            canvas.paint(adrenal.region, adrenal.distance, hu["bowel"] - 8, Label.ADRENAL_GLAND)


def paint_vessels(canvas: Canvas, build: Build, rng: np.random.Generator, curve: np.ndarray, radii: np.ndarray) -> None:
    """Paint aorta, vena cava, mesenteric vessels, and the portal and splenic vein that run along the target.

    Args:
        canvas: the canvas.
        build: the body.
        rng: source of the variation.
        curve: (N, 3) center line of the target from head to tail.
        radii: (N,) its radii in mm.
    """
    hu = build.hu
    n = len(curve)
    neck = curve[int(0.3 * n)]
    along = curve[int(0.3 * n) : int(0.97 * n)]
    behind = along - np.stack([0 * along[:, 0], radii[int(0.3 * n) : int(0.97 * n)] + 3.5, -2 + 0 * along[:, 0]], 1)
    root = neck - (0, radii[int(0.3 * n)] + 4, 0)
    sway = rng.uniform(-4, 4, (4, 2))
    paths: list[tuple[Sequence[Sequence[float]], Sequence[float], str]] = [
        ([(-9 + sway[0, 0], -12, 120), (-8, -12, 40), (-7 + sway[0, 1], -12, -30), (-4, -14, -130)],
         (11, 10, 9), "artery"),
        ([(24 + sway[1, 0], -2, 120), (23, -8, 30), (21 + sway[1, 1], -12, -50), (17, -14, -130)],
         (13, 12, 11), "vein"),
        ([(-7, -4, 8), (root[0] - 14, 0, -8), (-8 + sway[2, 0], 12, -45), (4, 24, -90)], (4, 3.5, 3), "artery"),
        ([(14, 26, -95), (6 + sway[3, 0], 12, -50), root, (root[0] + 14, root[1] - 2, root[2] + 22), (46, 8, 42)],
         (4, 5.5, 6.5, 6.5, 6), "vein"),
        ([root, *behind[:: max(n // 7, 1)]], (5.5, 4.5, 4, 3.5), "vein"),
    ]  # fmt: skip
    for index, (controls, widths, tissue) in enumerate(paths):
        points = smooth_curve(np.asarray(controls, dtype=float))
        vessel = tube(canvas, points, taper(widths, len(points)))
        if vessel:
            canvas.paint(vessel.region, vessel.distance - 0.8, build.hu["fat"])
            canvas.paint(vessel.region, vessel.distance, hu[tissue], Label.INFERIOR_VENA_CAVA if index == 1 else 0)


def paint_bowel_tube(
    canvas: Canvas, build: Build, rng: np.random.Generator, points: np.ndarray, radii: np.ndarray, content: str,
    inside: np.ndarray | None = None, label: int = 0,
) -> None:  # fmt: skip
    """Paint a hollow tube: a rim of fat, a wall, and what it holds.

    Args:
        canvas: the canvas.
        build: the body.
        rng: source of the variation.
        points: (N, 3) center line in body mm.
        radii: (N,) outer radii in mm.
        content: "collapsed", "fluid", "gas" (over fluid), "contrast" or "food".
        inside: optional distance (H, W, D) of which the tube keeps the negative part.
        label: label value of wall and content.
    """
    shape = tube(canvas, points, radii)
    if shape is None:
        return
    axes = canvas.local_axes(shape.region)
    folds = SmoothField(rng, (9, 18), 32).on_grid(axes)
    distance = shape.distance + 0.5 * folds
    if inside is not None:
        distance = np.maximum(distance, inside[shape.region] + 2)
    wall = float(rng.uniform(2.0, 3.2))
    mucosa = build.hu["bowel"] + 5 * folds
    canvas.paint(shape.region, distance - rng.uniform(0.2, 1.1), build.hu["fat"])
    canvas.paint(shape.region, distance, mucosa, label)
    lumen = distance + wall
    if content == "collapsed":
        canvas.paint(shape.region, lumen + 0.3 * float(radii.mean()), mucosa + 8, label)
        return
    chyme = 0.4 * build.hu["fluid"] + 0.6 * build.hu["bowel"]
    fluid = {"contrast": 190.0, "food": build.hu["bowel"] - 8}.get(content, chyme)
    ripple = 25 if content == "food" else 8
    canvas.paint(shape.region, lumen, fluid + ripple * folds, label)
    if content == "gas":
        level = float(np.median(points[:, 1])) + rng.uniform(-0.2, 0.6) * float(radii.max())
        canvas.paint(shape.region, np.maximum(lumen + 0.5, level - canvas.coords[1][shape.region]), -900.0, label)


def paint_loops(
    canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator, curve: np.ndarray,
    version: PhantomVersion,
) -> None:  # fmt: skip
    """Paint coils of small bowel, many of them near the target's `curve`, and the frame of the colon."""
    front = build.half_depth - build.fat - 9
    floor, lowest = version.floor
    starts = [*rng.uniform((-85, -18, floor), (80, front - 12, 45), (version.loops, 3))]
    starts += [*(curve[rng.integers(0, len(curve), 34)] + rng.normal(0, 15, (34, 3)))]
    for point in starts:
        heading = rng.standard_normal(3)
        controls = [point]
        for _ in range(int(rng.integers(3, 6))):
            heading = 0.6 * heading / np.linalg.norm(heading) + 0.7 * rng.standard_normal(3) * (1, 0.7, 0.7)
            ahead = np.clip(point + 22 * heading / np.linalg.norm(heading), (-92, -22, lowest), (88, front - 10, 60))
            if np.linalg.norm(ahead - point) > 6:  # else the wall stopped it
                controls.append(ahead)
            point = ahead
        if len(controls) < 2:
            continue
        points = smooth_curve(np.asarray(controls), 3.5)
        radii = rng.uniform(8, 12.5) * (1 + 0.12 * rng.standard_normal(5))
        content = str(rng.choice(["collapsed", "fluid", "gas", "contrast"], p=[0.6, 0.3, 0.07, 0.03]))
        paint_bowel_tube(canvas, build, rng, points, taper(radii, len(points)), content, cavity)
    dip = rng.uniform(-55, -15)
    side = build.half_width - build.fat - 36
    colon: list[list[tuple[float, float, float]]] = [
        [(side, -22, -125), (side + 2, -14, -70), (side - 6, 10, -28)],
        [(side - 8, 20, -26), (40, front - 20, dip), (-30, front - 22, dip - 6), (6 - side, 22, 8)],
        [(-side - 2, 10, 14), (-side - 4, -22, -30), (-side, -18, -125)],
    ]
    for frame in colon:
        points = smooth_curve(np.asarray(frame, dtype=float) + rng.uniform(-5, 5, (len(frame), 3)), 3.5)
        radii = rng.uniform(13, 19) * (1 + 0.15 * np.sin(np.arange(len(points)) / 2))
        content = str(rng.choice(["gas", "food", "food"]))
        paint_bowel_tube(canvas, build, rng, points, radii, content, cavity)

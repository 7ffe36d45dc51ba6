# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a field of view from the lung bases to the pelvis shows beside the abdomen: heart, pelvis and its organs."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .fields import rotation_matrix
from .organs import paint_bowel_tube
from .settings import Build
from .shapes import ellipsoid, smooth_curve, taper, tube

__all__ = ["paint_heart", "paint_pelvis"]


def paint_heart(canvas: Canvas, build: Build, rng: np.random.Generator) -> None:
    """Paint the heart between the lungs, and the thoracic aorta behind it."""
    hu = build.hu
    heart = ellipsoid(
        canvas, (-18, 24, 132) + rng.uniform(-6, 6, 3), np.multiply((50, 40, 34), rng.uniform(0.85, 1.1, 3)),
        rotation_matrix((0, rng.uniform(-15, 15), rng.uniform(15, 40))),
    )  # fmt: skip
    if heart:
        canvas.paint(heart.region, heart.distance - 3, hu["fat"])
        canvas.paint(heart.region, heart.distance, hu["muscle"] + 10)
        canvas.paint(heart.region, heart.distance + 12, hu["vein"])
    points = smooth_curve(np.array([(-13, -16, 190), (-11, -14, 150), (-9, -12, 115)], dtype=float))
    aorta = tube(canvas, points, np.full(len(points), 11.5))
    if aorta:
        canvas.paint(aorta.region, aorta.distance, hu["artery"])


def paint_pelvis(canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator) -> None:
    """Paint iliac bones, femoral heads, sacrum, sigmoid and rectum, bladder and iliac vessels."""
    _paint_bones(canvas, build.hu["bone"], rng)
    _paint_sigmoid(canvas, build, cavity, rng)
    _paint_bladder(canvas, build, rng)
    _paint_vessels(canvas, build)


def _paint_bones(canvas: Canvas, bone: float, rng: np.random.Generator) -> None:
    for side in (-1, 1):
        center = np.array((side * 66, -22, -165)) + rng.uniform(-4, 4, 3)
        wing = ellipsoid(canvas, center, np.multiply((44, 56, 66), rng.uniform(0.92, 1.08, 3)))
        if wing:
            x, y, _ = canvas.coords[(slice(None), *wing.region)]
            inner = 0.6 * (center[1] + 10 - y) + side * (x - center[0])  # the outer and back half is bone
            plate = np.maximum(np.abs(wing.distance) - 4.5, np.float32(-0.8) * inner.astype(np.float32))
            canvas.paint(wing.region, plate, bone + 110)
            canvas.paint(wing.region, plate + 2, bone - 20)
        head = ellipsoid(canvas, np.array((side * 86, -6, -258)) + rng.uniform(-4, 4, 3), (24, 24, 24))
        if head:
            canvas.paint(head.region, np.abs(head.distance - 5) - 3, bone + 100)
            canvas.paint(head.region, head.distance, bone + 60)
    sacrum = ellipsoid(canvas, (0, -62, -195), (44, 15, 58), rotation_matrix((-18, 0, 0)))
    if sacrum:
        canvas.paint(sacrum.region, sacrum.distance, bone + 90)
        canvas.paint(sacrum.region, sacrum.distance + 3, bone - 20)


def _paint_sigmoid(canvas: Canvas, build: Build, cavity: np.ndarray, rng: np.random.Generator) -> None:
    """Sigmoid and rectum."""
    end = build.half_width - build.fat - 38
    sigmoid = np.array(
        [(-end, -18, -120), (-66, -8, -160), (-24, 6, -192), (4, -20, -210), (0, -42, -245), (0, -44, -290)]
    )
    points = smooth_curve(sigmoid + rng.normal(0, 5, sigmoid.shape), 3.5)
    widths = rng.uniform(0.85, 1.15) * taper((16, 14, 13, 14, 18, 15), len(points))
    paint_bowel_tube(canvas, build, rng, points, widths, str(rng.choice(["food", "gas", "collapsed"])), cavity)


def _paint_bladder(canvas: Canvas, build: Build, rng: np.random.Generator) -> None:
    bladder = ellipsoid(
        canvas, (0, 26, -250) + rng.uniform(-5, 5, 3), np.multiply((40, 32, 34), rng.uniform(0.6, 1.15, 3))
    )
    if bladder:
        canvas.paint(bladder.region, bladder.distance - 3, build.hu["muscle"])
        canvas.paint(bladder.region, bladder.distance, build.hu["fluid"])


def _paint_vessels(canvas: Canvas, build: Build) -> None:
    """Iliac arteries and veins."""
    for side in (-1, 1):
        for tissue, radius, start in (("artery", 5.0, (-4, -14, -126)), ("vein", 6.5, (17, -14, -128))):
            behind = 0 if tissue == "artery" else -12
            course = [
                start,
                (side * 26, -18 + behind, -165),
                (side * 50, 0 + behind, -205),
                (side * 66, 28 + behind, -280),
            ]
            points = smooth_curve(np.asarray(course, dtype=float))
            vessel = tube(canvas, points, np.full(len(points), radius))
            if vessel:
                canvas.paint(vessel.region, vessel.distance - 0.8, build.hu["fat"])
                canvas.paint(vessel.region, vessel.distance, build.hu[tissue])

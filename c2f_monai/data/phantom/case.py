# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One phantom case: painting in order, the scanner's blur and noise, and the orientation of the stored file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from .canvas import Canvas
from .fields import random_stream, rotation_matrix
from .organs import paint_kidneys, paint_loops, paint_upper_organs, paint_vessels
from .settings import PHANTOM_VERSION, ScanSettings, draw_build, draw_settings
from .target import draw_gland, paint_gland, paint_neighbors
from .trunk import cavity_distance, paint_spine, paint_trunk

__all__ = ["PhantomCase", "generate_case"]


@dataclass(frozen=True)
class PhantomCase:
    """One case in the orientation of its file.

    Attributes:
        image: int16 (H, W, D), HU.
        label: uint8 (H, W, D), 0 background, 1 target tissue, 2 cyst; the organ is 1 and 2.
        affine: (4, 4) from voxel index to world mm (RAS+).
        seed: the case's seed.
        group: one of `GROUPS`.
        family: shape family of the target.
        settings: how it was scanned.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray
    seed: int
    group: str
    family: str
    settings: ScanSettings


def generate_case(seed: int, group: str = "plain", size: Sequence[int] | None = None) -> PhantomCase:
    """Generate a case; the same arguments give the same voxels.

    Args:
        seed: the anatomy and everything else; >= 0.
        group: "plain", "shifted" for other noise, kernel, phase, spacing and anatomy variants, or "cysts", which are
            plain with a cyst of 12 to 17 mm radius.
        size: voxels along R, A and S; the field of view stays, so that fewer voxels are coarser ones. None: the
            group's own size (160, 160, 96) or (208, 208, 96).

    Raises:
        ValueError: when the seed is negative, the group unknown or a size below 16.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}.")
    if size is not None and (len(size) != 3 or min(size) < 16):
        raise ValueError(f"size must be three numbers of at least 16 voxels, got {tuple(size)}.")
    settings = draw_settings(seed, group)
    shape = tuple(size) if size is not None else settings.size
    spacing = tuple(step * full / n for step, full, n in zip(settings.spacing, settings.size, shape, strict=True))
    canvas, family = _paint(seed, settings, shape, spacing)
    image = _scan(canvas.hu, settings, random_stream(PHANTOM_VERSION, seed, "noise"))
    label = _majority(canvas.weights)
    image, label, affine = _orient(image, label, spacing, settings)
    return PhantomCase(image, label, affine, seed, group, family, settings)


def _paint(seed: int, settings: ScanSettings, size: Sequence[int], spacing: Sequence[float]) -> tuple[Canvas, str]:
    def stream(name: str) -> np.random.Generator:
        return random_stream(PHANTOM_VERSION, seed, name)

    build, variants = draw_build(seed, settings), settings.variants
    canvas = Canvas(size, spacing, build.pose)
    cavity = cavity_distance(canvas, build)
    gland = draw_gland(build, stream("gland"), "atrophic pancreas" in variants)
    paint_trunk(canvas, build, cavity, stream("trunk"), "ascites" in variants)
    paint_loops(canvas, build, cavity, stream("loops"), gland.curve)
    paint_spine(canvas, build, stream("spine"))
    paint_upper_organs(canvas, build, cavity, stream("upper organs"), "no gallbladder" not in variants)
    paint_kidneys(canvas, build, stream("kidneys"))
    # The spelling is part of the seed of version 1.
    paint_neighbors(canvas, build, gland, stream("neighbours"))
    paint_gland(canvas, build, gland, stream("tissue"), "fatty pancreas" in variants, "large cyst" in variants)
    paint_vessels(canvas, build, stream("vessels"), gland.curve, gland.radii)
    return canvas, gland.family


def _scan(hu: np.ndarray, settings: ScanSettings, rng: np.random.Generator) -> np.ndarray:
    """Blur (or sharpen) the painted volume, add correlated noise and round: int16."""
    width = abs(settings.blur)
    soft = gaussian_filter(hu, (width, width, 0.3), truncate=3)
    image = soft if settings.blur > 0 else hu + 0.8 * (hu - soft)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = gaussian_filter(noise, (settings.grain, settings.grain, 0.3), truncate=3)
    image = image + noise * np.float32(settings.noise / noise.std(dtype=np.float64))
    rounded: np.ndarray = np.rint(np.clip(image, -1024, 3071)).astype(np.int16)
    return rounded


def _majority(weights: np.ndarray) -> np.ndarray:
    """The class with the largest share of each voxel: 0, 1 target tissue or 2 cyst, uint8."""
    target, cyst = weights
    organ = target + cyst > 0.5
    return np.where(organ, np.where(cyst > target, 2, 1), 0).astype(np.uint8)


def _orient(
    image: np.ndarray, label: np.ndarray, spacing: Sequence[float], settings: ScanSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Store the RAS volumes in the file's orientation, with the affine that takes them back."""
    affine = np.eye(4)
    affine[:3, :3] = rotation_matrix(settings.oblique) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(image.shape) - 1) / 2)
    codes = nib.orientations.axcodes2ornt(settings.orientation)
    change = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), codes)
    affine = affine @ nib.orientations.inv_ornt_aff(change, image.shape)
    image, label = (np.ascontiguousarray(nib.orientations.apply_orientation(v, change)) for v in (image, label))
    return image, label, affine

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
from .lookalikes import paint_lookalikes
from .organs import paint_kidneys, paint_loops, paint_upper_organs, paint_vessels
from .pelvis import paint_heart, paint_pelvis
from .settings import ScanSettings, draw_build, draw_settings
from .target import draw_gland, paint_gland, paint_neighbors
from .trunk import cavity_distance, paint_spine, paint_trunk
from .versions import PHANTOM_VERSION, Label, PhantomVersion, phantom_version

__all__ = ["PhantomCase", "check_size", "generate_case"]


@dataclass(frozen=True)
class PhantomCase:
    """One case in the orientation of its file.

    Attributes:
        image: int16 (H, W, D), HU.
        label: uint8 (H, W, D), 0 background, 1 target tissue, 2 cyst; the organ is 1 and 2. Version 2 has more, see
            :class:`c2f_monai.data.phantom.versions.Label`.
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


def check_size(size: Sequence[int] | None) -> None:
    """Refuse a number of voxels that no case has.

    Args:
        size: along R, A and S; None for the full one.

    Raises:
        ValueError: when it is no three numbers of at least 16.
    """
    if size is not None and (len(size) != 3 or min(size) < 16):
        raise ValueError(f"size must be three numbers of at least 16 voxels, got {tuple(size)}.")


def generate_case(
    seed: int, group: str = "plain", size: Sequence[int] | None = None, version: str = PHANTOM_VERSION
) -> PhantomCase:
    """Generate a case; the same arguments give the same voxels.

    Args:
        seed: the anatomy and everything else; >= 0.
        group: "plain", "shifted" for other noise, kernel, phase, spacing and anatomy variants, or "cysts", which are
            plain with a cyst of 12 to 17 mm radius.
        size: voxels along R, A and S; the field of view stays, so that fewer voxels are coarser ones. None: the
            group's own size, in version 1 (160, 160, 96) or (208, 208, 96).
        version: "1", the abdomen about the target, or "2", lung bases to pelvis with all organs labeled.

    Raises:
        ValueError: when the seed is negative, the group or version unknown, or a size below 16.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}.")
    check_size(size)
    kind = phantom_version(version)
    settings = draw_settings(kind, seed, group)
    shape = tuple(size) if size is not None else settings.size
    spacing = voxel_size(seed, group, size, version)
    canvas, family = _paint(kind, seed, settings, shape, spacing)
    image = _scan(canvas.hu, settings, random_stream(version, seed, "noise"))
    label = _majority(canvas.weights)
    image, label, affine = _orient(image, label, spacing, settings)
    return PhantomCase(image, label, affine, seed, group, family, settings)


def voxel_size(
    seed: int, group: str = "plain", size: Sequence[int] | None = None, version: str = PHANTOM_VERSION
) -> tuple[float, ...]:
    """Sides of a case's voxels in mm along R, A and S, without drawing it; arguments as of :py:func:`generate_case`."""
    settings = draw_settings(phantom_version(version), seed, group)
    shape = settings.size if size is None else size
    return tuple(step * full / n for step, full, n in zip(settings.spacing, settings.size, shape, strict=True))


def _paint(
    version: PhantomVersion, seed: int, settings: ScanSettings, size: Sequence[int], spacing: Sequence[float]
) -> tuple[Canvas, str]:
    def stream(name: str) -> np.random.Generator:
        return random_stream(version.name, seed, name)

    build, variants = draw_build(version, seed, settings), settings.variants
    canvas = Canvas(size, spacing, build.pose, version.labels)
    cavity = cavity_distance(canvas, build, version)
    gland = draw_gland(build, stream("gland"), 0.85 if "atrophic pancreas" in variants else 1.0)
    paint_trunk(canvas, build, cavity, stream("trunk"), "ascites" in variants)
    paint_loops(canvas, build, cavity, stream("loops"), gland.curve, version)
    paint_spine(canvas, build, stream("spine"), version)
    paint_upper_organs(canvas, build, cavity, stream("upper organs"), "no gallbladder" not in variants)
    paint_kidneys(canvas, build, stream("kidneys"))
    if version.pelvis:
        paint_pelvis(canvas, build, cavity, stream("pelvis"))
        paint_heart(canvas, build, stream("heart"))
    paint_lookalikes(canvas, build, cavity, gland, stream("lookalikes"), version.lookalikes)
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
    """The label with the majority of each voxel, uint8; target tissue and cyst count together, then the larger one."""
    target, cyst = weights[:2]
    label = np.where(target + cyst > 0.5, np.where(cyst > target, Label.CYST, Label.PANCREAS), 0).astype(np.uint8)
    for value, weight in enumerate(weights[2:], start=Label.CYST + 1):
        label[weight > 0.5] = value
    return label


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

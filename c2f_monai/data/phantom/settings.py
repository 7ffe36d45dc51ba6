# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn for a case before anything is painted: scanner settings, HU of the tissues and the body's build."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Pose
from .fields import SmoothField, random_stream, rotation_matrix
from .versions import Grid, PhantomVersion

__all__ = ["GROUPS", "Build", "ScanSettings", "draw_build", "draw_settings"]

GROUPS = ("plain", "shifted", "cysts")

# Mean HU by contrast phase; each case adds its own jitter.
_TISSUES = ("liver", "spleen", "kidney", "vein", "artery", "pancreas", "bowel", "muscle")
_PHASES: dict[str, tuple[float, ...]] = {
    "native": (55, 47, 33, 42, 42, 38, 37, 52),
    "portal": (96, 102, 128, 112, 110, 88, 84, 66),
    "delayed": (82, 85, 104, 90, 90, 76, 74, 62),
    "arterial": (66, 92, 128, 80, 190, 92, 86, 58),
    "low dose native": (50, 42, 28, 36, 36, 30, 31, 46),
}
_PLAIN_PHASES = ("native", "portal", "delayed")
_SHIFTED_PHASES = ("arterial", "low dose native", "portal")
_ORIENTATIONS = ("RAS", "LPS", "LAS", "RPI", "RPS", "PIR", "ASL")
_VARIANTS = ("no gallbladder", "fatty pancreas", "atrophic pancreas", "large cyst", "ascites")


@dataclass(frozen=True)
class ScanSettings:
    """How a case was scanned.

    Attributes:
        size: voxels along R, A and S.
        spacing: mm along R, A and S.
        phase: contrast phase.
        noise: standard deviation of the noise in HU.
        grain: correlation of the noise, sigma in voxels in the plane.
        blur: kernel, sigma in voxels in the plane; negative sharpens.
        orientation: axis codes of the stored file.
        oblique: rotation of the file's grid in the world, degrees about the three axes.
        variants: names of anatomy variants (shifted cases and those with a large cyst).
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    phase: str
    noise: float
    grain: float
    blur: float
    orientation: str
    oblique: tuple[float, float, float]
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """The body of a case: its pose, outline (half-axes in mm), fat (mm), tissues in HU, shift of the viscera (mm)."""

    pose: Pose
    half_width: float
    half_depth: float
    fat: float
    hu: dict[str, float]
    viscera: np.ndarray


def draw_settings(version: PhantomVersion, seed: int, group: str) -> ScanSettings:
    """Draw how a case is scanned.

    Raises:
        ValueError: when `group` is none of `GROUPS`.
    """
    if group not in GROUPS:
        raise ValueError(f"group must be one of {', '.join(GROUPS)}, got {group!r}.")
    rng = random_stream(version.name, seed, f"settings {group}")
    turn = rng.uniform(-15, 15, 3) * (rng.random() < 0.25)
    oblique = (float(turn[0]), float(turn[1]), float(turn[2]))
    orientation = str(rng.choice(_ORIENTATIONS))
    if group != "shifted":  # each case of "cysts" has a large one, and is scanned like the plain ones
        step = float(rng.uniform(*version.plain.step))
        return ScanSettings(
            size=version.plain.size,
            spacing=(step, step, float(rng.uniform(*version.plain.between))),
            phase=str(rng.choice(_PLAIN_PHASES)),
            noise=float(rng.uniform(10, 18)),
            grain=float(rng.uniform(0.55, 0.8)),
            blur=float(rng.uniform(0.4, 0.65)),
            orientation=orientation,
            oblique=oblique,
            variants=("large cyst",) if group == "cysts" else (),
        )
    grid, step = _shifted_grid(version, rng)
    return ScanSettings(
        size=grid.size,
        spacing=(step, step, float(rng.uniform(*grid.between))),
        phase=str(rng.choice(_SHIFTED_PHASES)),
        noise=float(rng.uniform(16, 23)),
        grain=float(rng.choice([0.35, 1.0])),
        blur=float(rng.choice([-0.7, 0.85])),
        variants=tuple(str(name) for name in rng.choice(_VARIANTS, size=int(rng.integers(1, 3)), replace=False)),
        orientation=orientation,
        oblique=oblique,
    )


def _shifted_grid(version: PhantomVersion, rng: np.random.Generator) -> tuple[Grid, float]:
    """One of the two grids, and mm in its plane; both are drawn, as version 1 has drawn them."""
    fine, wide = version.shifted
    step, first = float(rng.uniform(*fine.step)), rng.random() < 0.5
    other = float(rng.uniform(*wide.step))
    return (fine, step) if first else (wide, other)


def draw_build(version: PhantomVersion, seed: int, settings: ScanSettings) -> Build:
    """Draw the body of a case."""
    rng = random_stream(version.name, seed, "build")
    fields = tuple(SmoothField(rng, (90, 260), terms=16) for _ in range(3))
    pose = Pose(
        rotation=rotation_matrix(rng.normal(0, 3, 3)),
        shift=rng.uniform((-16, -20, -20), (16, 20, 20)) + (0.0, 0.0, version.center),
        scale=float(rng.uniform(0.9, 1.06)),
        bend=(fields[0], fields[1], fields[2]),
        bend_mm=4.0,
    )
    jitter = dict(zip(_TISSUES, rng.normal(0, 4, len(_TISSUES)), strict=True))
    hu = {name: mean + jitter[name] for name, mean in zip(_TISSUES, _PHASES[settings.phase], strict=True)}
    hu["bowel"] = hu["pancreas"] + float(rng.normal(-2, 6))  # decoys share the target's values
    hu |= {"fat": float(rng.normal(-102, 5)), "fluid": float(rng.uniform(4, 18)), "bone": float(rng.uniform(140, 230))}
    return Build(
        pose=pose,
        half_width=float(rng.uniform(128, 146)),
        half_depth=float(rng.uniform(94, 108)),
        fat=float(rng.uniform(9, 20)),
        hu=hu,
        viscera=rng.uniform((-17, -8, -15), (17, 10, 15)),
    )

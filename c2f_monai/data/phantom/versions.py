# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What differs between the versions of the phantom: field of view, grid, labels, decoys. The painting is shared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["PHANTOM_VERSION", "VERSIONS", "Grid", "Label", "PhantomVersion", "phantom_version"]

#: The version of the default data set, on which the released weights were trained.
PHANTOM_VERSION = "1"


class Label(IntEnum):
    """Label values; a version has the first ones."""

    PANCREAS = 1
    CYST = 2
    ADRENAL_GLAND = 3
    DUODENUM = 4
    GALLBLADDER = 5
    INFERIOR_VENA_CAVA = 6
    LEFT_KIDNEY = 7
    RIGHT_KIDNEY = 8


@dataclass(frozen=True)
class Grid:
    """Voxels along R, A and S; lowest and highest mm between voxels in the plane, and between slices."""

    size: tuple[int, int, int]
    step: tuple[float, float]
    between: tuple[float, float]


@dataclass(frozen=True)
class PhantomVersion:
    """A version of the phantom.

    Attributes:
        name: of the version; all random streams depend on it.
        plain: grid of the plain cases.
        shifted: the two grids of the shifted cases, of which each case has one.
        labels: the label values of its label maps, 1 to this number; the target is 1 and 2.
        center: mm along the body's axis from the grid's center to the body's origin, which is behind the stomach.
        spine: lowest and highest mm of the body's axis where the spine is painted.
        psoas: heights of the pieces of the psoas muscles, mm.
        loops: number of coils of small bowel anywhere.
        floor: mm, how far down coils of small bowel may start, and how far they may run.
        pelvis: whether pelvis, its organs and the heart are painted.
        lookalikes: lowest and highest number of decoys of the target's own look outside of its place.
    """

    name: str
    plain: Grid
    shifted: tuple[Grid, Grid]
    labels: int = 2
    center: float = 0.0
    spine: tuple[float, float] = (-130.0, 130.0)
    psoas: tuple[float, ...] = (-100.0, -70.0, -40.0, -10.0)
    loops: int = 30
    floor: tuple[float, float] = (-115.0, -125.0)
    pelvis: bool = False
    lookalikes: tuple[int, int] = (0, 0)

    @property
    def label_names(self) -> dict[int, str]:
        """Names by label value, without the background."""
        return {int(label): label.name.lower().replace("_", " ") for label in Label if label <= self.labels}


#: The versions by name. None is ever changed: published numbers depend on their voxels.
VERSIONS: dict[str, PhantomVersion] = {
    "1": PhantomVersion(
        name="1",
        plain=Grid((160, 160, 96), (1.85, 2.15), (1.85, 2.3)),
        shifted=(Grid((208, 208, 96), (1.45, 1.6), (1.9, 2.2)), Grid((160, 160, 96), (1.9, 2.2), (2.3, 2.7))),
    ),
    "2": PhantomVersion(
        name="2",
        plain=Grid((208, 208, 208), (1.55, 1.7), (1.85, 2.0)),
        shifted=(Grid((240, 240, 208), (1.35, 1.45), (1.85, 2.0)), Grid((208, 208, 176), (1.6, 1.7), (2.2, 2.35))),
        labels=len(Label),
        center=72.0,
        spine=(-290.0, 180.0),
        psoas=(-170.0, -135.0, -100.0, -70.0, -40.0, -10.0),
        loops=60,
        floor=(-190.0, -205.0),
        pelvis=True,
        lookalikes=(6, 9),
    ),
}


def phantom_version(name: str) -> PhantomVersion:
    """A version by its name.

    Raises:
        ValueError: when there is no such version.
    """
    if name not in VERSIONS:
        raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {name!r}.")
    return VERSIONS[name]

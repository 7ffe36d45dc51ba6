# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether two volumes have the same voxels in the body."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

__all__ = ["check_one_grid", "corner_distance", "on_one_grid", "voxel_volume"]

#: Of the smallest side of a voxel: what lies further away is nearer to another voxel.
_HALF = 0.5


def corner_distance(first: npt.ArrayLike, second: npt.ArrayLike, shape: Sequence[int]) -> float:
    """How far another affine puts a corner of a volume aside: mm along an axis of the world, the largest of all.

    Args:
        first: (4, 4) affine to mm.
        second: another one.
        shape: (H, W, D) of the volume.

    Examples:
        >>> corner_distance(np.eye(4), np.diag([1.0, 1.0, 1.1, 1.0]), (8, 8, 10))
        1.0
    """
    corners = np.array([[*corner, 1.0] for corner in product(*((0, length) for length in shape))])
    apart = (np.asarray(first, dtype=float) - np.asarray(second, dtype=float)) @ corners.T
    return round(float(np.abs(apart[:3]).max()), 9)


def on_one_grid(first: npt.ArrayLike, second: npt.ArrayLike, shape: Sequence[int]) -> bool:
    """Whether voxels of the same index are the same place: no corner is half a voxel away.

    Less is how programs round headers, and the nearest voxel is the same one.

    Args:
        first: (4, 4) affine to mm.
        second: another one.
        shape: (H, W, D), of both volumes.
    """
    sides = np.linalg.norm(np.asarray(first, dtype=float)[:3, :3], axis=0)
    return corner_distance(first, second, shape) <= _HALF * float(sides.min())


def check_one_grid(names: str, first: npt.ArrayLike, second: npt.ArrayLike, shape: Sequence[int]) -> None:
    """Refuse two volumes that do not lie :func:`on_one_grid`.

    Args:
        names: of both, as the error begins.
        first: (4, 4) affine to mm.
        second: another one.
        shape: (H, W, D), of both volumes.

    Raises:
        ValueError: with the distance of a corner.
    """
    if not on_one_grid(first, second, shape):
        apart = corner_distance(first, second, shape)
        raise ValueError(f"{names} lie on different grids: a corner differs by up to {apart:.3g} mm.")


def voxel_volume(affine: npt.ArrayLike) -> float:
    """Volume of a voxel in mm^3, also where the axes are not at right angles (a tilted gantry).

    Args:
        affine: (4, 4) or (3, 3) to mm.

    Examples:
        >>> voxel_volume([[2.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0]])
        6.0
    """
    return round(abs(float(np.linalg.det(np.asarray(affine, dtype=float)[:3, :3]))), 12)

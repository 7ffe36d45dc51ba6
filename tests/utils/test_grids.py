# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether volumes lie on one grid, and how large their voxels are."""

from __future__ import annotations

import numpy as np
import pytest

from c2f_monai.utils import corner_distance, on_one_grid, voxel_volume

SHAPE = (100, 80, 60)


def moved(**values: float) -> np.ndarray:
    """0.8 x 0.8 x 3 mm, with entries of another value, such as a03."""
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    for place, value in values.items():
        affine[int(place[1]), int(place[2])] = value
    return affine


@pytest.mark.parametrize(
    ("other", "distance"),
    [
        (moved(), 0.0),
        (moved(a03=0.3), 0.3),
        (moved(a03=0.4), 0.4),
        (moved(a03=0.41), 0.41),
        (moved(a00=0.803), 0.3),  # 0.003 mm a voxel
        (moved(a00=0.81), 1.0),
        (moved(a00=0.81, a03=-1.0), 1.0),  # at the other end
        (moved(a00=-0.8, a03=80.0), 80.0),  # stored from the other end, of 100 voxels
        (moved(a12=1.0), 60.0),
    ],
)
def test_the_corners_tell_whether_voxels_are_the_same_place(other: np.ndarray, distance: float) -> None:
    assert corner_distance(moved(), other, SHAPE) == pytest.approx(distance, abs=1e-9)
    assert on_one_grid(moved(), other, SHAPE) == (distance <= 0.4)  # half of the smallest side


def test_the_smallest_side_is_that_of_the_voxel_and_not_along_an_axis_of_the_world() -> None:
    """Slices 0.5 mm apart and moved by as much have a side of 0.71 mm."""
    first, second = moved(a22=0.5, a12=0.5), moved(a22=0.5, a12=0.5, a03=0.3)
    assert on_one_grid(first, second, SHAPE)
    second[0, 3] = 0.36
    assert not on_one_grid(first, second, SHAPE)


def test_a_voxel_of_a_tilted_gantry_is_no_box() -> None:
    """Slices 5 mm apart that are moved by tan(20 degrees) of it: the side is 5.32 mm, the volume that of 5 mm."""
    affine = moved(a22=5.0, a12=5.0 * np.tan(np.radians(20)))
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(5.3209, abs=1e-4)
    assert voxel_volume(affine) == pytest.approx(0.8 * 0.8 * 5.0)

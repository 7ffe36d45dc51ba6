# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from c2f_monai.metrics.target import target_statistics


def test_an_empty_mask_has_a_volume_and_nothing_else() -> None:
    found = target_statistics(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), (1.0, 1.0, 1.0))
    assert found.pop("ml") == 0.0 and set(found.values()) == {None}


def test_gray_values_are_those_of_the_target_alone() -> None:
    mask, image = np.zeros((5, 5, 5), np.uint8), np.full((5, 5, 5), -1000)
    mask[2, 2, 1:3] = 3
    image[2, 2, 1:3] = [40, 60]
    found = target_statistics(mask, image, (1.0, 2.0, 5.0))
    assert (found["ml"], found["mean_hu"], found["std_hu"]) == (0.02, 50.0, 10.0)
    assert found["in_field_fraction"] == 1.0
    # The axes of a tilted gantry are no sides of a box.
    assert target_statistics(mask, image, (1.0, 2.0, 5.0), 9.0)["ml"] == 0.018
    with pytest.raises(ValueError, match="one shape"):
        target_statistics(mask, image[:4], (1.0, 2.0, 5.0))


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize(("axis", "face"), [(0, 30.0), (1, 10.0), (2, 12.0)])
def test_the_field_of_view_cuts_the_face_that_lies_on_its_border(axis: int, face: float, end: int) -> None:
    """A target of 2 x 6 x 5 mm has 104 mm^2 of surface."""
    mask = np.zeros((6, 7, 5), np.uint8)
    start = [2, 2, 2]
    start[axis] = 0 if end == 0 else mask.shape[axis] - (2, 3, 1)[axis]
    mask[tuple(slice(low, low + side) for low, side in zip(start, (2, 3, 1), strict=True))] = 1
    found = target_statistics(mask, mask, (1.0, 2.0, 5.0))
    assert found["box_mm"] == [2.0, 6.0, 5.0]
    assert found["in_field_fraction"] == pytest.approx(1 - face / 104)

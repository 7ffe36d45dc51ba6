# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Views, intensities, overlap, names and precisions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2f_monai.utils import DEFAULT_WINDOW, View, case_name, check_window, dice_coefficient, scale_to_unit


def test_views_run_along_the_axes_of_a_ras_volume():
    assert [(view.value, view.axis) for view in View] == [("sagittal", 0), ("coronal", 1), ("axial", 2)]
    with pytest.raises(ValueError, match="'front' is not a valid View"):
        View("front")


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), st.sampled_from(list(View)))
def test_slices_of_a_view_go_back_into_the_volume(shape, view):
    volume = torch.rand(shape)
    slices = volume.movedim(view.axis, 0)
    others = [a for a in range(3) if a != view.axis]
    assert slices.shape == (shape[view.axis], shape[others[0]], shape[others[1]])
    assert torch.equal(slices.movedim(0, view.axis), volume)


@pytest.mark.parametrize(
    ("hu", "window", "expected"),
    [
        ([-1000.0, -100.0, 70.0, 240.0, 3000.0], DEFAULT_WINDOW, [0.0, 0.0, 0.5, 1.0, 1.0]),
        ([-160.0, 40.0, 240.0], (-160.0, 240.0), [0.0, 0.5, 1.0]),
        ([0.0], DEFAULT_WINDOW, [100 / 340]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16])
def test_window_is_scaled_to_the_unit_range(hu, window, expected, dtype):
    x = torch.tensor(hu).to(dtype)
    before = x.clone()
    scaled = scale_to_unit(x, window)
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, torch.tensor(expected))
    assert torch.equal(x, before)


@pytest.mark.parametrize("window", [(240, -100), (0, 0), (1, 2, 3), (float("nan"), 1)])
def test_bad_windows_are_refused(window):
    with pytest.raises(ValueError, match="window must be two increasing HU values"):
        check_window(window)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5),
        ([1, 1, 1, 0], [0, 0, 1, 0], 0.5),
        ([1, 0, 0, 0], [0, 0, 0, 1], 0.0),
        ([0, 0, 0, 0], [0, 1, 0, 0], 0.0),
        ([1, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
    ],
)
def test_dice_by_hand(a, b, expected):
    assert dice_coefficient(torch.tensor(a).bool(), torch.tensor(b).bool()) == expected


def test_dice_of_two_empty_masks_is_the_callers_choice():
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert dice_coefficient(nothing, nothing, empty=0.0) == 0.0
    assert dice_coefficient(nothing, ~nothing, empty=1.0) == 0.0


def test_dice_of_different_shapes_is_refused():
    with pytest.raises(ValueError, match=r"same shape, got \(2, 3\) and \(3, 2\)"):
        dice_coefficient(torch.ones(2, 3, dtype=torch.bool), torch.ones(3, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/case_01.nii.gz", "case_01"),
        ("case.v2.NII", "case.v2"),
        ("scan.mha", "scan"),
        ("folder/of/series", "series"),
        ("1.2.840.113", "1.2.840.113"),
        ("slice.dcm", "slice"),
        (".nii", ".nii"),
    ],
)
def test_names_of_cases(path, expected):
    assert case_name(path) == expected

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from c2f_monai.utils import View, default_slice_axes, from_slices, slice_axcodes_of_array, slice_axes, to_slices

PAIRS = ("LR", "PA", "IS")
ALL = ["".join(codes) for order in permutations(PAIRS) for codes in product(*order)]
VIEW_OF = {code: view for view, pair in zip(View, PAIRS, strict=True) for code in pair}


@pytest.mark.parametrize(
    ("axcodes", "view", "axes"),
    [
        ("RAS", "sagittal", [1, 2, 3]),
        ("ARS", "coronal", [2, 1, 3]),
        ("SRA", "axial", [3, 1, 2]),
        ("PLS", "coronal", [-2, -1, 3]),
        ("SPL", "axial", [3, -2, -1]),
        ("LIA", "sagittal", [-1, -3, 2]),
    ],
)
def test_axes_by_hand(axcodes, view, axes):
    assert slice_axes(axcodes, view) == axes


@pytest.mark.parametrize("view", View)
def test_default_slices_are_the_volume_itself(view):
    volume = torch.rand(2, 3, 4, 5)
    slices = to_slices(volume, default_slice_axes(view))
    assert torch.equal(slices, volume.movedim(view.axis + 1, 1))
    assert slices.data_ptr() == volume.data_ptr()  # no copy of a clinical volume


@settings(deadline=None)
@given(st.sampled_from(ALL), st.lists(st.integers(1, 5), min_size=3, max_size=3), st.integers(0, 2))
def test_slices_are_those_of_the_reoriented_array(axcodes, shape, lead):
    """Against nibabel: a RAS array that is reoriented to the codes is the stack of slices."""
    array = np.arange(np.prod(shape)).reshape(shape)
    expected = apply_orientation(array, ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axcodes)))
    axes = slice_axes(axcodes, VIEW_OF[axcodes[0]])
    volume = torch.from_numpy(array).expand(*[2] * lead, *shape)
    slices = to_slices(volume, axes)
    assert slices.shape == (*[2] * lead, *expected.shape)
    assert np.array_equal(slices[(0,) * lead].numpy(), expected)
    assert torch.equal(from_slices(slices, axes), volume)


def test_views_and_orientation_of_an_array_by_hand():
    # (row, column, slice) of DICOM pixels
    assert slice_axcodes_of_array("PLS") == {"coronal": "PLS", "sagittal": "LPS", "axial": "SPL"}
    assert list(slice_axcodes_of_array("SAR")) == ["axial", "coronal", "sagittal"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: slice_axes("SPL", "coronal"), "slices of the coronal view cannot run along S, got 'SPL'"),
        (lambda: slice_axes("SPX", "axial"), "letters out of R L A P S I, got 'SPX'"),
        (lambda: slice_axes("SPA", "axial"), "three different axes, such as 'PLS', got 'SPA'"),
        (lambda: slice_axes("SP", "axial"), "three different axes, such as 'PLS', got 'SP'"),
        (lambda: slice_axcodes_of_array("RLS"), "three different axes, such as 'PLS', got 'RLS'"),
    ],
)
def test_bad_codes(call, message):
    with pytest.raises(ValueError, match=message):
        call()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.transforms.components import filter_components


def _blocks(*sizes: int) -> np.ndarray:
    """A (20, 6, 6) volume with one run of each given length, far enough apart not to touch."""
    mask = np.zeros((20, 6, 6), dtype=bool)
    for i, size in enumerate(sizes):
        mask[:size, 2 * i, 1] = True
    return mask


def _sizes(mask: np.ndarray) -> list[int]:
    return [int(mask[:, 2 * i, 1].sum()) for i in range(3)]


@pytest.mark.parametrize(
    ("fraction", "sizes", "expected"),
    [
        (0.5, (10, 4, 0), [10, 0, 0]),
        (0.5, (10, 5, 4), [10, 5, 0]),  # exactly the fraction is not smaller than it
        (0.5, (4, 10, 9), [0, 10, 9]),  # not the first, the largest
        (0.0, (10, 1, 1), [10, 1, 1]),
        (1.0, (10, 9, 10), [10, 0, 10]),  # equals of the largest stay
        (0.5, (0, 0, 0), [0, 0, 0]),
        (0.9, (1, 0, 0), [1, 0, 0]),
        (0.5, (1, 1, 1), [1, 1, 1]),
    ],
)
def test_components_under_the_fraction_of_the_largest_leave(fraction, sizes, expected):
    mask = _blocks(*sizes)
    kept = filter_components(mask, fraction)
    assert _sizes(kept) == expected and not (kept & ~mask).any()


@pytest.mark.parametrize("touching", [(1, 1, 0), (1, 1, 1)])
def test_edges_and_corners_do_not_connect(touching):
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[:3, 0, 0] = True
    end = np.array([2, 0, 0]) + touching
    mask[tuple(end)] = True
    kept = filter_components(mask, 0.5)
    assert kept.sum() == 3 and not kept[tuple(end)]


@pytest.mark.parametrize(("half", "expected"), [(32, 33), (31, 31)])
def test_nothing_is_filtered_when_half_of_the_volume_is_foreground(half, expected):
    mask = np.zeros((66, 1, 1), dtype=bool)
    mask[:half] = True
    mask[65] = True
    assert filter_components(mask, 0.5).sum() == expected


def test_matches_labeling_of_the_whole_volume():
    from scipy import ndimage

    mask = np.random.default_rng(0).random((15, 17, 13)) < 0.2
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    expected = np.isin(labels, 1 + np.flatnonzero(sizes >= 0.3 * sizes.max()))
    np.testing.assert_array_equal(filter_components(mask, 0.3), expected)


def test_type_is_kept_and_the_input_is_not_changed():
    array = _blocks(10, 2)
    before = array.copy()
    tensor = filter_components(torch.from_numpy(array), 0.5)
    assert type(tensor) is torch.Tensor and tensor.dtype == torch.bool
    meta = filter_components(MetaTensor(torch.from_numpy(array), affine=2 * torch.eye(4)), 0.5)
    assert isinstance(meta, MetaTensor) and meta.affine[0, 0] == 2
    filtered = filter_components(array, 0.5)
    assert isinstance(filtered, np.ndarray)
    assert filtered.sum() == tensor.sum() == meta.sum() == 10
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("mask", "fraction", "message"),
    [
        (np.zeros((2, 2, 2), dtype=bool), 1.5, "fraction must lie in .* got 1.5"),
        (np.zeros((2, 2), dtype=bool), 0.5, r"got bool of shape \(2, 2\)"),
        (torch.zeros(2, 2, 2), 0.5, "got torch.float32"),
    ],
)
def test_bad_arguments_are_named(mask, fraction, message):
    with pytest.raises(ValueError, match=message):
        filter_components(mask, fraction)

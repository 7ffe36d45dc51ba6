# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2f_monai.utils import (
    SlabSpec,
    add_crops,
    add_margins,
    add_slabs,
    crop_boxes,
    extract_label_slabs,
    extract_slabs,
    grow_boxes,
    paste_boxes,
    slab_indices,
    sum_windows,
    window_count,
)

quick = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("centers", "n", "count", "expected"),
    [
        ([0, 1, 3], 4, 3, [[0, 0, 1], [0, 1, 2], [2, 3, 3]]),
        ([0], 1, 3, [[0, 0, 0]]),
        ([0, 1], 2, 3, [[0, 0, 1], [0, 1, 1]]),
        ([2, 0], 3, 1, [[2], [0]]),
        ([0, 2], 4, 5, [[0, 0, 0, 1, 2], [0, 1, 2, 3, 3]]),
    ],
)
def test_edge_slices_are_repeated(centers, n, count, expected):
    assert slab_indices(torch.tensor(centers), n, count).tolist() == expected


@pytest.mark.parametrize(
    ("n", "out_slices", "expected"),
    [
        (1, 3, [1]),
        (2, 3, [2, 2]),
        (3, 3, [2, 3, 2]),
        (5, 3, [2, 3, 3, 3, 2]),
        (1, 1, [1]),
        (4, 1, [1, 1, 1, 1]),
        (2, 5, [2, 2]),
        (4, 5, [3, 4, 4, 3]),
        (6, 5, [3, 4, 5, 5, 4, 3]),
    ],
)
def test_fixed_divisors(n, out_slices, expected):
    assert window_count(n, out_slices).tolist() == expected


def test_input_slabs_by_hand():
    slices = torch.tensor([10.0, 20.0, 30.0])[:, None, None]
    assert extract_slabs(slices, torch.tensor([0, 2]), 3)[..., 0, 0].tolist() == [[10, 10, 20], [20, 30, 30]]
    assert extract_slabs(slices, torch.tensor([0, 2]), 1)[..., 0, 0].tolist() == [[10], [30]]
    assert extract_slabs(slices, torch.tensor([1]), 5)[..., 0, 0].tolist() == [[10, 10, 20, 30, 30]]


def test_label_slabs_are_class_major():
    labels = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])[:, :, None, None]
    assert extract_label_slabs(labels, torch.tensor([1, 2]), 3)[..., 0, 0].tolist() == [
        [1, 2, 3, 10, 20, 30],
        [2, 3, 3, 20, 30, 30],
    ]
    assert extract_label_slabs(labels, torch.tensor([2]), 1)[..., 0, 0].tolist() == [[3, 30]]


def test_channels_of_repeated_edges_are_discarded():
    total = torch.zeros(1, 2, 1, 1)
    slabs = torch.tensor([[100.0, 1.0, 2.0], [4.0, 8.0, 1000.0]])[:, :, None, None]
    add_slabs(total, slabs, torch.tensor([0, 1]), 3)
    assert total.flatten().tolist() == [1 + 4, 2 + 8]


@quick
@given(
    classes=st.integers(1, 3),
    n=st.integers(1, 7),
    size=st.integers(1, 4),
    out_slices=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_slabs_added_back_give_the_volume(classes, n, size, out_slices, seed):
    labels = torch.rand(classes, n, size, size, generator=torch.Generator().manual_seed(seed))
    slabs = extract_label_slabs(labels, torch.arange(n), out_slices)
    assert slabs.shape == (n, classes * out_slices, size, size)
    total = add_slabs(torch.zeros_like(labels), slabs, torch.arange(n), out_slices)
    torch.testing.assert_close(total / window_count(n, out_slices)[None, :, None, None], labels)


@quick
@given(
    classes=st.integers(1, 2),
    n=st.integers(1, 6),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    out_slices=st.sampled_from([1, 3, 5]),
    multiple=st.sampled_from([1, 8]),
    seed=st.integers(0, 99),
)
def test_adding_crops_equals_pasting_them_and_adding_slabs(classes, n, size, out_slices, multiple, seed):
    draw = torch.Generator().manual_seed(seed)
    corner = torch.stack([torch.randint(0, side, (1,), generator=draw) for side in size], dim=1)
    inner = add_margins(torch.cat([corner, corner + 1], dim=1), 3, size)
    grown = grow_boxes(inner, size, multiple).expand(n, -1)
    inner = inner.expand(n, -1)
    crops = crop_boxes(torch.rand(n, classes * out_slices, *size, generator=draw), grown)
    centers = torch.arange(n)
    pasted = torch.stack(paste_boxes(crops, grown, inner, size))
    expected = add_slabs(torch.zeros(classes, n, *size), pasted, centers, out_slices)
    torch.testing.assert_close(
        add_crops(torch.zeros(classes, n, *size), crops, centers, grown, inner, out_slices), expected
    )


@quick
@given(n=st.integers(2, 9), batch=st.integers(1, 9), seed=st.integers(0, 99))
def test_sums_do_not_depend_on_batches_by_more_than_rounding(n, batch, seed):
    slabs = torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    together = add_slabs(torch.zeros(1, n, 2, 2), slabs, torch.arange(n), 3)
    parts = torch.zeros(1, n, 2, 2)
    for start in range(0, n, batch):
        add_slabs(parts, slabs[start : start + batch], torch.arange(start, min(start + batch, n)), 3)
    torch.testing.assert_close(parts, together, atol=1e-6, rtol=0)


@quick
@given(n=st.integers(1, 9), out_slices=st.sampled_from([1, 3, 5]), classes=st.integers(1, 2), seed=st.integers(0, 99))
def test_sums_over_windows_equal_added_slabs(n, out_slices, classes, seed):
    slabs = torch.rand(n, classes * out_slices, 2, 3, generator=torch.Generator().manual_seed(seed))
    expected = add_slabs(torch.zeros(classes, n, 2, 3), slabs, torch.arange(n), out_slices)
    beyond = torch.zeros(out_slices // 2, *slabs.shape[1:])
    sums = sum_windows(torch.cat([beyond, slabs, beyond]).unflatten(1, (classes, out_slices)))
    assert torch.equal(sums, expected)


@quick
@given(seed=st.integers(0, 99), out_slices=st.sampled_from([1, 3, 5]), origin=st.tuples(*[st.integers(0, 3)] * 3))
def test_crops_added_to_a_part_of_the_volume(seed, out_slices, origin):
    """Slices before and behind the part are dropped; the boxes lie inside it."""
    draw = torch.Generator().manual_seed(seed)
    crops = torch.rand(8, out_slices, 4, 4, generator=draw)
    corner = torch.randint(3, 6, (8, 2), generator=draw)
    boxes = torch.cat([corner, corner + 4], dim=1)
    whole = add_crops(torch.zeros(1, 8, 10, 10), crops, torch.arange(8), boxes, boxes, out_slices)
    part = torch.zeros(1, 4, 10 - origin[1], 10 - origin[2])
    add_crops(part, crops, torch.arange(8), boxes, boxes, out_slices, origin)
    assert torch.equal(part, whole[:, origin[0] : origin[0] + 4, origin[1] :, origin[2] :])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((2, 1), "in_slices must be a positive odd number, such as 1, 3 or 5, got 2"),
        ((0, 1), "in_slices must be a positive odd number.* got 0"),
        ((3, -1), "out_slices must be a positive odd number.* got -1"),
        ((3.0, 3), "in_slices must be a positive odd number.* got 3.0"),
        ((3, 5), "out_slices must be at most in_slices, got 5 and 3"),
    ],
)
def test_slabs_that_cannot_be(numbers, message):
    with pytest.raises(ValueError, match=message):
        SlabSpec(*numbers)


def test_the_spec_of_a_network():
    class Scripted:
        in_slices, out_slices = 5, 3

    class Own:
        slab = SlabSpec(7, 1)

    assert SlabSpec.of(Scripted()) == SlabSpec(5, 3)
    assert SlabSpec.of(Own()) == SlabSpec(7, 1)
    spec = SlabSpec(7, 3)
    assert (spec.in_reach, spec.out_reach, spec.out_channels(2)) == (3, 1, 6)
    assert SlabSpec() == SlabSpec(3, 3)

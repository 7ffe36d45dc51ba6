# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2f_monai.utils import (
    add_margins,
    bounding_boxes,
    boxes_from_projections,
    crop_boxes,
    foreground_box,
    group_by_shape,
    grow_bounds,
    grow_boxes,
    inside_boxes,
    pad_end,
    pad_to_multiple,
    paste_boxes,
)

quick = settings(max_examples=60, deadline=None)


@st.composite
def slices_and_boxes(draw, count=3):
    """A slice size and non-empty boxes (top, left, bottom, right) inside it."""
    size = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    boxes = []
    for _ in range(count):
        top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
        boxes.append([top, left, draw(st.integers(top + 1, size[0])), draw(st.integers(left + 1, size[1]))])
    return size, torch.tensor(boxes)


def test_boxes_of_hand_made_masks():
    mask = torch.zeros(5, 2, 6, 7, dtype=torch.bool)
    mask[0, 0, 2, 3] = True  # one pixel
    mask[1, 0, 1, 5] = mask[1, 1, 4, 2] = True  # the union over the channels of the slab
    mask[2] = True  # everything
    mask[4, 1, 5, 6] = True  # the last corner; slab 3 is empty
    boxes, found = bounding_boxes(mask)
    assert boxes.tolist() == [[2, 3, 3, 4], [1, 2, 5, 6], [0, 0, 6, 7], [0, 0, 0, 0], [5, 6, 6, 7]]
    assert found.tolist() == [True, True, True, False, True]


def test_boxes_from_projections_equal_boxes_of_the_mask():
    mask = torch.rand(20, 1, 9, 11, generator=torch.Generator().manual_seed(0)) > 0.97
    boxes, found = boxes_from_projections(mask.any(dim=(1, 3)), mask.any(dim=(1, 2)))
    expected, expected_found = bounding_boxes(mask)
    assert torch.equal(boxes, expected) and torch.equal(found, expected_found)
    assert 0 < int(found.sum()) < 20


@quick
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 999), data=st.data())
def test_the_box_of_a_mask_of_any_number_of_axes_in_any_order_of_memory(shape, seed, data):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.9
    mask = mask.permute(data.draw(st.permutations(range(mask.dim()))))
    points = mask.nonzero()
    expected = tuple((int(axis.min()), int(axis.max()) + 1) for axis in points.T) if len(points) else None
    assert foreground_box(mask) == expected
    boxes, found = bounding_boxes(torch.stack([mask, torch.zeros_like(mask)])[:, None])
    assert found.tolist() == [expected is not None, False]
    if expected is not None:
        assert boxes[0].tolist() == [start for start, _ in expected] + [stop for _, stop in expected]


def test_bounds_are_grown_by_one_number_or_one_for_each_axis():
    assert grow_bounds(((1, 3), (2, 6), (3, 4)), 2, (5, 6, 7)) == ((0, 5), (0, 6), (1, 6))
    assert grow_bounds(((1, 3), (2, 6), (3, 4)), (0, 1, 9), (5, 6, 7)) == ((1, 3), (1, 6), (0, 7))
    assert foreground_box(torch.zeros(0, 3, dtype=torch.bool)) is None


@pytest.mark.parametrize(
    ("box", "margins", "size", "expected"),
    [
        ([4, 5, 6, 8], 2, (20, 20), [2, 3, 8, 10]),
        ([4, 5, 6, 8], 0, (20, 20), [4, 5, 6, 8]),
        ([1, 5, 6, 18], 3, (8, 20), [0, 2, 8, 20]),  # clipped at the top, the bottom and the right
        ([4, 5, 6, 8], 100, (9, 10), [0, 0, 9, 10]),
        ([0, 0, 1, 1], 30, (1, 1), [0, 0, 1, 1]),
        ([4, 5, 6, 8], torch.tensor([[1, 2, 3, 4]]), (20, 20), [3, 3, 9, 12]),
        ([4, 5, 6, 8], torch.tensor([[9, 0, 0, 99]]), (20, 20), [0, 5, 6, 20]),
    ],
)
def test_margins(box, margins, size, expected):
    assert add_margins(torch.tensor([box]), margins, size).tolist() == [expected]


@pytest.mark.parametrize(
    ("box", "size", "multiple", "min_size", "expected"),
    [
        ([3, 4, 10, 9], (40, 40), 1, 0, [3, 4, 10, 9]),  # 1 keeps the box
        ([8, 8, 24, 40], (64, 64), 16, 0, [8, 8, 24, 40]),  # already multiples
        ([10, 20, 20, 27], (64, 64), 16, 0, [7, 16, 23, 32]),  # 10 -> 16: 3 before, 3 after; 7 -> 16: 4 and 5
        ([0, 60, 10, 64], (64, 64), 16, 0, [0, 48, 16, 64]),  # shifted inward at both ends
        ([0, 0, 17, 1], (20, 20), 16, 0, [0, 0, 32, 16]),  # 20 has no room for 32: zeros behind the end
        ([5, 5, 6, 6], (7, 40), 8, 0, [0, 2, 8, 10]),  # 8 > 7: starts at 0
        ([5, 5, 6, 6], (40, 40), 8, 20, [0, 0, 24, 24]),  # min_size raised to a multiple
        ([5, 5, 6, 6], (40, 40), 8, (20, 9), [0, 0, 24, 16]),
        ([30, 30, 31, 31], (40, 40), 1, 5, [28, 28, 33, 33]),
        ([0, 0, 1, 1], (1, 1), 16, 0, [0, 0, 16, 16]),
        ([0, 0, 1, 1], (1, 1), 1, 0, [0, 0, 1, 1]),
    ],
)
def test_growth(box, size, multiple, min_size, expected):
    assert grow_boxes(torch.tensor([box]), size, multiple, min_size).tolist() == [expected]


@quick
@given(slices_and_boxes(), st.sampled_from([1, 2, 8, 16]), st.integers(0, 24))
def test_grown_boxes_hold_the_ungrown_ones(case, multiple, min_size):
    size, boxes = case
    grown = grow_boxes(boxes, size, multiple, min_size)
    pairs = zip(boxes.tolist(), grown.tolist(), strict=True)
    for (top, left, bottom, right), (g_top, g_left, g_bottom, g_right) in pairs:
        for low, high, g_low, g_high, length in (
            (top, bottom, g_top, g_bottom, size[0]),
            (left, right, g_left, g_right, size[1]),
        ):
            side = g_high - g_low
            assert side % multiple == 0 and side >= min_size
            assert side < max(high - low, min_size) + multiple  # no larger than needed
            assert 0 <= g_low <= low and high <= g_high
            assert g_high <= length or (g_low == 0 and side > length)


@quick
@given(slices_and_boxes(), st.sampled_from([1, 8, 16]), st.integers(0, 10))
def test_crop_then_paste_keeps_the_inside_and_empties_the_outside(case, multiple, margin):
    size, boxes = case
    inner = add_margins(boxes, margin, size)
    grown = grow_boxes(inner, size, multiple)
    x = torch.rand(len(boxes), 2, *size, generator=torch.Generator().manual_seed(0)) + 0.1
    for _, index in group_by_shape(grown):
        pasted = torch.stack(paste_boxes(crop_boxes(x[index], grown[index]), grown[index], inner[index], size))
        assert torch.equal(pasted, x[index] * inside_boxes(inner[index], size))


@quick
@given(slices_and_boxes(count=6))
def test_groups_share_a_shape_and_hold_every_box_once(case):
    _, boxes = case
    groups = group_by_shape(boxes)
    assert sorted(torch.cat([index for _, index in groups]).tolist()) == list(range(6))
    assert len({shape for shape, _ in groups}) == len(groups)
    for (height, width), index in groups:
        assert (boxes[index, 2] - boxes[index, 0]).eq(height).all()
        assert (boxes[index, 3] - boxes[index, 1]).eq(width).all()


def test_groups_by_hand():
    boxes = torch.tensor([[0, 0, 4, 4], [1, 1, 3, 9], [2, 3, 6, 7]])
    groups = [(shape, index.tolist()) for shape, index in group_by_shape(boxes)]
    assert groups == [((2, 8), [1]), ((4, 4), [0, 2])]
    assert group_by_shape(boxes[:0]) == []


def test_crop_by_hand():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert crop_boxes(x, torch.tensor([[1, 1, 3, 3]])).tolist() == [[[[5.0, 6.0], [9.0, 10.0]]]]
    beyond = crop_boxes(x, torch.tensor([[1, 2, 5, 5]]))  # two rows and one column behind the slice
    assert beyond.tolist() == [[[[6, 7, 0], [10, 11, 0], [0, 0, 0], [0, 0, 0]]]]


def test_paste_by_hand():
    crop = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    (pasted,) = paste_boxes(crop, torch.tensor([[1, 0, 4, 3]]), torch.tensor([[2, 1, 4, 2]]), (4, 4))
    assert pasted.tolist() == [[[0, 0, 0, 0], [0, 0, 0, 0], [0, 5, 0, 0], [0, 8, 0, 0]]]


def test_gradients_reach_only_the_inside_of_a_crop():
    crop = torch.ones(1, 1, 3, 3, requires_grad=True)
    paste_boxes(crop, torch.tensor([[0, 0, 3, 3]]), torch.tensor([[1, 1, 2, 3]]), (5, 5))[0].sum().backward()
    assert crop.grad.tolist() == [[[[0, 0, 0], [0, 1, 1], [0, 0, 0]]]]


@pytest.mark.parametrize(
    ("shape", "multiple", "expected"),
    [((5, 7), 4, (8, 8)), ((8, 16), 8, (8, 16)), ((1, 1), 16, (16, 16)), ((5, 7), 1, (5, 7))],
)
def test_padding_to_a_multiple_is_zero_and_behind(shape, multiple, expected):
    x = torch.rand(2, 3, *shape) + 1
    padded = pad_to_multiple(x, multiple)
    assert padded.shape[-2:] == expected
    assert torch.equal(padded[..., : shape[0], : shape[1]], x)
    assert padded.sum() == pytest.approx(float(x.sum()), rel=1e-5)


def test_an_image_is_padded_or_cut_at_its_end_to_a_size() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 2, 3)
    assert pad_end(x, (2, 3)) is x
    assert pad_end(x, (3, 3)).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert pad_end(x, (2, 4)).tolist() == [[[1, 2, 3, 0], [4, 5, 6, 0]]]
    assert pad_end(x, (1, 4)).tolist() == [[[1, 2, 3, 0]]]
    assert pad_end(x, (2, 2)).tolist() == [[[1, 2], [4, 5]]]

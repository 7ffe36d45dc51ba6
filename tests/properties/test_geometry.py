# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Boxes, crops, slabs and components of masks of any size: against what NumPy says of them, and there and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from c2f_monai.inferers.patches import Patch, align_bounds, whole_bounds
from c2f_monai.inferers.views import slab_boxes
from c2f_monai.transforms import filter_components
from c2f_monai.utils import (
    add_margins,
    add_slabs,
    bounding_boxes,
    crop_boxes,
    extract_label_slabs,
    extract_slabs,
    foreground_box,
    grow_bounds,
    grow_boxes,
    pad_to_multiple,
    paste_boxes,
    slab_indices,
    to_slices,
    window_count,
)
from tests.properties.strategies import examples, margins, masks, noise, shapes, slice_axes


def box_of(mask: torch.Tensor) -> list[tuple[int, int]] | None:
    """(start, stop) along each axis, by NumPy."""
    found = np.argwhere(mask.numpy())
    return [(int(axis.min()), int(axis.max()) + 1) for axis in found.T] if len(found) else None


@examples(60)
@given(
    st.data(),
    shapes(axes=2, voxels=4900),
    margins(),
    st.sampled_from([1, 2, 8, 16, 32]),
    st.sampled_from([0, 1, 7, 32, 192]),
)
def test_a_mask_survives_its_crop(
    data: st.DataObject, shape: tuple[int, ...], margin: int | None, multiple: int, min_size: int
) -> None:
    """Whatever the margin, the multiple and the smallest side are: and nothing lies outside the box and its margin."""
    mask = data.draw(masks((1, *shape)))
    expected = box_of(mask[0])
    boxes, found = bounding_boxes(mask[None])
    assert found.item() == (expected is not None)
    if expected is None:
        assert boxes.tolist() == [[0, 0, 0, 0]]
        return
    (top, bottom), (left, right) = expected
    assert boxes.tolist() == [[top, left, bottom, right]]
    inner = add_margins(boxes, margin, shape)
    frame = max(shape) if margin is None else margin
    assert inner.tolist() == [
        [max(top - frame, 0), max(left - frame, 0), min(bottom + frame, shape[0]), min(right + frame, shape[1])]
    ]
    grown = grow_boxes(inner, shape, multiple, min_size)
    crop = crop_boxes(mask[None], grown)
    assert all(side % multiple == 0 and side >= min_size for side in crop.shape[-2:])
    assert torch.equal(paste_boxes(crop, grown, inner, shape)[0], mask)
    # The crop of an image holds its own pixels, and zeros where the slice ends.
    image = noise((1, 1, *shape), 0) + 1
    inside = crop_boxes(torch.ones_like(image), grown) > 0
    (g_top, g_left, _, _) = grown[0].tolist()
    part = image[0, 0, g_top : g_top + crop.shape[-2], g_left : g_left + crop.shape[-1]]
    cropped = crop_boxes(image, grown)
    assert torch.equal(cropped[inside], part.flatten()) and not cropped[~inside].any()


@examples(40)
@given(st.data(), shapes(), slice_axes(), st.sampled_from([1, 3, 5, 7]))
def test_the_box_of_a_slab_is_that_of_its_slices(
    data: st.DataObject, shape: tuple[int, ...], axes: list[int], in_slices: int
) -> None:
    """Each slab by itself, from the slices that it holds: edge slices are repeated."""
    mask = data.draw(masks(shape))
    patch = Patch.trimmed(mask[None], whole_bounds(shape))
    if patch.empty:
        assert not mask.any()
        return
    slices = to_slices(mask, axes)
    windows = slab_indices(torch.arange(len(slices)), len(slices), in_slices)
    expected = {c: box_of(slices[window].any(dim=0)) for c, window in enumerate(windows)}
    centers, boxes = slab_boxes(patch, axes, shape, in_slices)
    assert dict(zip(centers.tolist(), boxes.tolist(), strict=True)) == {
        c: [box[0][0], box[1][0], box[0][1], box[1][1]] for c, box in expected.items() if box is not None
    }


@examples(40)
@given(st.data(), shapes(), slice_axes(), st.integers(1, 4))
def test_slices_in_short_gaps_get_the_box_around_both_sides(
    data: st.DataObject, shape: tuple[int, ...], axes: list[int], bridge: int
) -> None:
    mask = data.draw(masks(shape))
    patch = Patch.trimmed(mask[None], whole_bounds(shape))
    assume(not patch.empty)
    known = dict(zip(*(found.tolist() for found in slab_boxes(patch, axes, shape, 1)), strict=True))
    expected = dict(known)
    for first, last in itertools.pairwise(sorted(known)):
        a, b = known[first], known[last]
        both = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
        expected |= {center: both for center in range(first + 1, last) if last - first - 1 <= bridge}
    centers, boxes = slab_boxes(patch, axes, shape, 1, bridge)
    assert centers.tolist() == sorted(expected)
    assert dict(zip(centers.tolist(), boxes.tolist(), strict=True)) == expected


@examples(40)
@given(shapes(), st.integers(1, 3), st.sampled_from([1, 3, 5, 7]), st.integers(0, 99))
def test_slabs_there_and_back(shape: tuple[int, ...], classes: int, count: int, seed: int) -> None:
    values, centers = noise((classes, *shape), seed), torch.arange(shape[0])
    slabs = extract_slabs(values[0], centers, count)
    assert slabs.shape == (shape[0], count, *shape[1:]) and torch.equal(slabs[:, count // 2], values[0])
    labels = extract_label_slabs(values, centers, count)
    divisor = window_count(shape[0], count)[None, :, None, None]
    torch.testing.assert_close(add_slabs(torch.zeros_like(values), labels, centers, count) / divisor, values)


@examples(60)
@given(st.data(), shapes(), st.one_of(st.integers(0, 100), st.tuples(*[st.integers(0, 100)] * 3)), st.integers(1, 64))
def test_a_mask_of_a_volume_survives_its_box(
    data: st.DataObject, shape: tuple[int, ...], reach: int | tuple[int, ...], multiple: int
) -> None:
    mask = data.draw(masks(shape))
    whole = whole_bounds(shape)
    expected = box_of(mask)
    assert foreground_box(mask) == (None if expected is None else tuple(expected))
    patch = Patch.trimmed(mask[None], whole)
    assert torch.equal(patch.on(whole)[0], mask) and patch.empty == (expected is None)
    if expected is None:
        return
    for bounds in (grow_bounds(patch.bounds, reach, shape), align_bounds(patch.bounds, multiple, shape)):
        pairs = zip(bounds, patch.bounds, shape, strict=True)
        assert all(0 <= low <= start < stop <= high <= n for (low, high), (start, stop), n in pairs)
        part = Patch(patch.on(bounds), bounds)
        assert torch.equal(part.on(whole)[0], mask) and Patch.trimmed(part.values, bounds).same_as(patch)


@examples(40)
@given(shapes(axes=2, voxels=4900), st.sampled_from([1, 2, 8, 32]), st.integers(0, 9))
def test_padding_there_and_back(shape: tuple[int, ...], multiple: int, seed: int) -> None:
    image = noise((2, *shape), seed)
    padded = pad_to_multiple(image, multiple)
    assert all(0 <= now - before < multiple for now, before in zip(padded.shape[1:], shape, strict=True))
    assert torch.equal(padded[:, : shape[0], : shape[1]], image)
    assert padded.sum().item() == pytest.approx(image.sum().item(), rel=1e-5)


@examples(40)
@given(st.data(), shapes(), st.floats(0, 1), slice_axes())
def test_filtered_components(data: st.DataObject, shape: tuple[int, ...], fraction: float, axes: list[int]) -> None:
    """A part of the mask with its largest component; once is enough, and the volume may lie as it will."""
    mask = data.draw(masks(shape))
    kept = filter_components(mask, fraction)
    assert not (kept & ~mask).any() and kept.any() == mask.any()
    assert torch.equal(filter_components(kept, fraction), kept)
    assert torch.equal(to_slices(kept, axes), filter_components(to_slices(mask, axes).contiguous(), fraction))
    box = foreground_box(mask)
    if box is not None:
        inside = tuple(slice(*side) for side in box)
        assert torch.equal(kept[inside], filter_components(mask[inside], fraction, mask.numel()))

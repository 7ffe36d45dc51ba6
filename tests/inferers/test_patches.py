# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2f_monai.inferers.patches import EMPTY, Patch, align_bounds, bounds_in_view, patch_dice, whole_bounds
from c2f_monai.utils import foreground_box, grow_bounds, to_slices

SHAPE = (5, 6, 7)
quick = settings(max_examples=60, deadline=None)


@st.composite
def bounds_of(draw):
    pairs = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in SHAPE]
    return tuple((low, high) for low, high in pairs)


def mask_of(seed, share=0.02, classes=2):
    return torch.rand(classes, *SHAPE, generator=torch.Generator().manual_seed(seed)) < share


def test_bounds_by_hand():
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    assert foreground_box(mask) is None
    mask[1, 2, 3] = mask[2, 5, 3] = True
    assert foreground_box(mask) == ((1, 3), (2, 6), (3, 4))
    assert grow_bounds(((1, 3), (2, 6), (3, 4)), 2, SHAPE) == ((0, 5), (0, 6), (1, 6))
    # slices from the head down, rows to the back, columns to the right
    assert bounds_in_view(((1, 3), (2, 6), (3, 4)), [-3, -2, 1], SHAPE) == ((3, 4), (0, 4), (1, 3))


def test_bounds_are_grown_to_multiples_inside_the_volume():
    assert align_bounds(((5, 9), (0, 8), (4, 10)), 4, (16, 8, 11)) == ((4, 12), (0, 8), (4, 11))
    assert align_bounds(EMPTY, 32, (9, 9, 9)) == EMPTY


@quick
@given(seed=st.integers(0, 999), bounds=bounds_of())
def test_a_patch_on_other_bounds_is_the_volume_there(seed, bounds):
    mask = mask_of(seed)
    patch = Patch.trimmed(mask, whole_bounds(SHAPE))
    assert torch.equal(patch.on(whole_bounds(SHAPE)), mask)
    inside = (slice(None), *(slice(*side) for side in bounds))
    assert torch.equal(patch.on(bounds), mask[inside])
    # A part of a volume trimmed again lies where it lay.
    part = Patch.trimmed(mask[inside], bounds)
    expected = torch.zeros_like(mask)
    expected[inside] = mask[inside]
    assert torch.equal(part.on(whole_bounds(SHAPE)), expected)
    assert part.empty == (not mask[inside].any())


@quick
@given(seed=st.integers(0, 999), order=st.permutations([1, 2, 3]), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_bounds_in_a_view_are_those_of_its_slices(seed, order, signs):
    axes = [axis * sign for axis, sign in zip(order, signs, strict=True)]
    mask = mask_of(seed, classes=1)[0]
    mask[1, 2, 3] = True
    assert bounds_in_view(foreground_box(mask), axes, SHAPE) == foreground_box(to_slices(mask, axes))


@quick
@given(first=st.integers(0, 999), second=st.integers(0, 999))
def test_overlap_of_patches_is_that_of_the_volumes(first, second):
    a, b = mask_of(first), mask_of(second)
    b[0] |= a[0]
    scores = []
    for one, other in zip(a, b, strict=True):
        size = int(one.sum() + other.sum())
        scores.append(2 * int((one & other).sum()) / size if size else 1.0)
    whole = whole_bounds(SHAPE)
    assert patch_dice(Patch.trimmed(a, whole), Patch.trimmed(b, whole)) == pytest.approx(min(scores))

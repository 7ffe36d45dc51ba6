# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2f_monai.inferers.fusion import ViewFusion, check_fusion, move_to_mask
from c2f_monai.utils import Fusion

A = [[0.9, 0.5, 0.2, 0.0], [0.6, 0.4, 0.5, 1.0], [0.5, 0.5, 0.1, 0.3], [0.0, 0.7, 0.8, 0.2]]
B = [[0.7, 0.5, 0.8, 0.0], [0.3, 0.6, 0.5, 0.0], [0.4, 0.7, 0.2, 0.6], [0.0, 0.1, 0.9, 0.9]]
C = [[0.8, 0.2, 0.2, 0.0], [0.3, 0.8, 0.5, 0.2], [0.6, 0.0, 0.9, 0.9], [0.1, 0.7, 0.7, 0.1]]

MEAN_ABC = [[0.8, 0.4, 0.4, 0.0], [0.4, 0.6, 0.5, 0.4], [0.5, 0.4, 0.4, 0.6], [1 / 30, 0.5, 0.8, 0.4]]
VOTE_ABC = [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1], [0, 1, 1, 0]]
MEAN_AB = [[0.8, 0.5, 0.5, 0.0], [0.45, 0.5, 0.5, 0.5], [0.45, 0.6, 0.15, 0.45], [0.0, 0.4, 0.85, 0.55]]
VOTE_AB = [[1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def as_map(rows):
    """A (1, 4, 4, 1) map of exactly representable values where it matters."""
    return torch.tensor(rows)[None, :, :, None]


def fuse(maps, count, fusion, threshold=0.5):
    """Views one after the other, each in two pieces."""
    fusing = None
    for values in maps:
        fusing = fusing or ViewFusion(values.shape, count, fusion, threshold)
        fusing.add(values[:, 2:], 0, 2)
        fusing.add(values[:, :2])
    return fusing.result()


def test_mean_of_three_views_by_hand():
    probability, mask = fuse(map(as_map, (A, B, C)), 3, "mean")
    torch.testing.assert_close(probability, as_map(MEAN_ABC))
    assert mask.tolist() == (probability >= 0.5).tolist()
    assert mask[0, 0, :, 0].tolist() == [True, False, False, False]


def test_vote_of_three_views_by_hand():
    """More than half: 0.5 is a yes, and a confident single view does not win."""
    probability, mask = fuse(map(as_map, (A, B, C)), 3, "vote")
    assert mask.int().tolist() == as_map(VOTE_ABC).tolist()
    mean = as_map(MEAN_ABC)
    agree = mask == (mean >= 0.5)
    # (0, 1), (2, 1) have two votes of three and a mean of 0.4: shown as 0.5.
    assert torch.nonzero(~agree[0, :, :, 0]).tolist() == [[0, 1], [2, 1]]
    torch.testing.assert_close(probability, mean)
    torch.testing.assert_close(move_to_mask(probability, mask), torch.where(agree, mean, mean.clamp_min(0.5)))
    assert torch.equal(probability >= 0.5, mask), "in place"


def test_ties_of_two_views_are_background():
    probability, mask = fuse(map(as_map, (A, B)), 2, "vote")
    assert mask.int().tolist() == as_map(VOTE_AB).tolist()
    # (0, 2), (1, 1), (1, 3), (3, 3) reach a mean of 0.5 with one vote of two: shown as just below 0.5.
    expected = as_map(MEAN_AB)
    torch.testing.assert_close(probability, expected, atol=1e-6, rtol=0)
    expected[0, 3, 3] = 0.5
    moved = move_to_mask(probability, mask)
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)
    assert moved[0, 0, 2, 0] < 0.5 and moved[0, 3, 3, 0] < 0.5
    assert fuse(map(as_map, (A, B)), 2, "mean")[1][0, 0, 2, 0]


@pytest.mark.parametrize("fusion", ["mean", "vote"])
def test_one_view_is_itself(fusion):
    probability, mask = fuse([as_map(A)], 1, fusion)
    torch.testing.assert_close(probability, as_map(A), atol=1e-7, rtol=0)
    assert torch.equal(mask, as_map(A) >= 0.5)


def test_inputs_are_not_changed():
    first, second = as_map(A), as_map(B)
    fuse([first, second], 2, "mean")
    assert torch.equal(first, as_map(A)) and torch.equal(second, as_map(B))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 3),
    fusion=st.sampled_from(["mean", "vote"]),
    threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]),
)
def test_mask_is_where_the_probability_reaches_the_threshold(seed, count, fusion, threshold):
    maps = torch.rand(count, 1, 4, 4, 3, generator=torch.Generator().manual_seed(seed))
    maps[maps > 0.8] = threshold
    probability, mask = fuse(maps, count, fusion, threshold)
    moved = move_to_mask(probability.clone(), mask, threshold)
    assert torch.equal(mask, moved >= threshold)
    assert fusion == "vote" or torch.equal(moved, probability)
    assert probability.min() >= 0 and probability.max() <= 1


@pytest.mark.parametrize(
    ("given_value", "pair"),
    [
        ("mean", ("mean", "mean")),
        ("vote", ("vote", "vote")),
        (("vote", "mean"), ("vote", "mean")),
        (["mean", "vote"], ("mean", "vote")),
    ],
)
def test_fusion_of_the_two_stages(given_value, pair):
    assert check_fusion(given_value) == pair


@pytest.mark.parametrize("value", ["median", ("mean",), ("mean", "vote", "mean"), ("mean", "max"), ()])
def test_unknown_fusions_are_refused(value):
    with pytest.raises(ValueError, match="fusion must be one of .*mean.*vote.* got"):
        check_fusion(value)


@pytest.mark.parametrize("fusion", ["mean", "vote"])
def test_a_nan_of_one_view_is_an_error_and_no_background(fusion: str) -> None:
    """Infinite logits are probabilities of 0 and 1, and stay."""
    views = ViewFusion((1, 2, 2, 2), 2, fusion)
    views.add(torch.sigmoid(torch.full((1, 2, 2, 2), float("inf"))))
    spoilt = torch.zeros(1, 2, 2, 2)
    spoilt[0, 1, 0, 1] = float("nan")
    views.add(spoilt)
    with pytest.raises(ValueError, match="output is NaN"):
        views.result()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_lie_slice_by_slice_and_votes_move_them_all_the_same(axis: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand((2, 4, 5, 6), generator=generator)
    fusion = ViewFusion(values.shape, 1, Fusion.VOTE, axis=axis)
    for start in range(values.shape[axis + 1]):
        fusion.add(values.narrow(axis + 1, start, 1), axis, start)
    mean, mask = fusion.result()
    assert torch.equal(mean, values) and torch.equal(mask, values >= 0.5)
    assert mean.stride(axis + 1) == values[0].numel() // values.shape[axis + 1]
    moved = move_to_mask(mean, ~mask)
    assert moved is mean and torch.equal(mean >= 0.5, ~mask)

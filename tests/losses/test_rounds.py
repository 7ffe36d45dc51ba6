# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss over rounds: hand numbers."""

from __future__ import annotations

import math

import pytest
import torch

from c2f_monai.losses import RoundsLoss, round_weights
from c2f_monai.utils import SlabSpec


@pytest.mark.parametrize(
    ("rounds", "expected"), [(0, [1.0]), (1, [1 / 3, 2 / 3]), (2, [0.2, 0.4, 0.4]), (5, [1 / 11] + [2 / 11] * 5)]
)
def test_weights_of_the_rounds(rounds: int, expected: list[float]) -> None:
    assert round_weights(rounds) == pytest.approx(expected)
    assert sum(round_weights(rounds)) == pytest.approx(1.0)


def test_weight_of_the_coarse_result_is_an_argument() -> None:
    assert round_weights(2, 2.0) == pytest.approx([0.5, 0.25, 0.25])
    # Coarse result empty (loss 1), round 1 perfect (loss 0): what is left is the coarse result's share.
    pred = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 1)
    loss = RoundsLoss(coarse_weight=3.0)({"axial": pred}, {"axial": torch.ones(1, 3, 1, 1)})
    assert loss.item() == pytest.approx(0.75, abs=1e-5)
    with pytest.raises(ValueError, match="coarse_weight must be positive, got 0"):
        RoundsLoss(coarse_weight=0)


def test_one_sum_over_the_slices_of_a_slab() -> None:
    # Truth 1 pixel in slice 0 only; P is 0.5 there and 0.25 in one pixel of slice 2:
    # 1 - 2 * 0.5 / (1 + 0.75) = 3/7. Three averaged Dices would give another number.
    target = torch.zeros(1, 3, 2, 2)
    target[0, 0, 0, 0] = 1.0
    pred = torch.zeros(1, 1, 3, 2, 2)
    pred[0, 0, 0, 0, 0] = 0.5
    pred[0, 0, 2, 1, 1] = 0.25
    loss = RoundsLoss()
    assert loss({"axial": pred}, {"axial": target}).item() == pytest.approx(3 / 7, abs=1e-5)


def test_rounds_are_weighted_samples_averaged_views_added() -> None:
    target = torch.ones(2, 3, 1, 1)
    # Sample 0: coarse 1 - 2*1.5/(3+1.5) = 1/3, round 1 perfect. Sample 1: coarse 0.0 everywhere -> 1, round 1 -> 1/3.
    pred = torch.tensor([[0.5, 1.0], [0.0, 0.5]]).view(2, 2, 1, 1, 1).expand(2, 2, 3, 1, 1)
    loss = RoundsLoss()
    coarse, fine = (1 / 3 + 1) / 2, (0 + 1 / 3) / 2
    one = coarse / 3 + 2 * fine / 3
    assert loss({"axial": pred}, {"axial": target}).item() == pytest.approx(one, abs=1e-5)
    both = loss({"axial": pred, "coronal": pred}, {"axial": target, "coronal": target})
    assert both.item() == pytest.approx(2 * one, abs=1e-5)
    assert loss.rounds["coronal"].tolist() == pytest.approx([coarse, fine], abs=1e-5)


def test_classes_are_averaged() -> None:
    target = torch.cat([torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)], dim=1)
    pred = torch.cat([torch.ones(1, 1, 3, 1, 1), torch.full((1, 1, 3, 1, 1), 0.5)], dim=2)
    assert RoundsLoss()({"axial": pred}, {"axial": target}).item() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("batch", [False, True])
def test_empty_slabs_give_numbers_and_gradients(batch: bool) -> None:
    for value in (0.0, 0.3):
        pred = torch.full((2, 2, 3, 4, 4), value, requires_grad=True)
        loss = RoundsLoss(batch=batch)({"axial": pred}, {"axial": torch.zeros(2, 3, 4, 4)})
        loss.backward()
        assert torch.isfinite(loss)
        assert pred.grad is not None and torch.isfinite(pred.grad).all()


def test_a_millionth_is_added_to_numerator_and_denominator() -> None:
    pred = torch.full((1, 1, 3, 1, 1), 1e-6)  # of a sum of 3e-6: 1 - 1 / (3 + 1)
    assert RoundsLoss()({"axial": pred}, {"axial": torch.zeros(1, 3, 1, 1)}).item() == pytest.approx(0.75, abs=1e-6)


def test_gradient_is_the_chapters_formula() -> None:
    y = torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    z = torch.tensor([0.7, 0.4, 0.2]).view(1, 1, 3, 1, 1).requires_grad_()
    RoundsLoss()({"axial": z}, {"axial": y}).backward()
    # dL/dz_j = -2 (y_j (sum z + sum y) - sum zy) / (sum z + sum y)^2 with sums 1.3, 2, 0.9
    expected = [-2 * (v * 3.3 - 0.9) / 3.3**2 for v in (1, 0, 1)]
    assert z.grad is not None
    assert z.grad.flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_mismatch_is_refused() -> None:
    pred = torch.zeros(1, 2, 3, 4, 4)
    with pytest.raises(ValueError, match="pred has the views"):
        RoundsLoss()({"axial": pred}, {"coronal": torch.zeros(1, 3, 4, 4)})
    with pytest.raises(ValueError, match="pred must have shape"):
        RoundsLoss()({"axial": pred}, {"axial": torch.zeros(1, 3, 4, 5)})


def test_cross_entropy_is_added_to_each_round() -> None:
    # P = 0.5 on the one target pixel, 0 elsewhere: DSC loss 1 - 2 * 0.5 / 1.5, cross-entropy ln 2 over 12 pixels.
    target = torch.zeros(1, 3, 2, 2)
    target[0, 0, 0, 0] = 1.0
    pred = 0.5 * target[:, None]
    loss = RoundsLoss(cross_entropy=3.0)
    expected = 1 / 3 + 3.0 * math.log(2.0) / 12
    for truth in (target, target.bool()):
        assert loss({"axial": pred}, {"axial": truth}).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("cross_entropy", "alive"), [(0.0, False), (1.0, True)])
def test_cross_entropy_brings_back_a_network_that_finds_nothing(cross_entropy: float, alive: bool) -> None:
    target = torch.zeros(1, 3, 8, 8)
    target[..., 2:4, 2:4] = 1.0
    logits = torch.full((1, 1, 3, 8, 8), -16.0, requires_grad=True)
    RoundsLoss(cross_entropy=cross_entropy)({"axial": logits.sigmoid()}, {"axial": target}).backward()
    assert logits.grad is not None
    missed = -logits.grad[0, 0][target[0] == 1]
    assert bool((missed > 1e-3).all()) == alive


def test_negative_cross_entropy_is_refused() -> None:
    with pytest.raises(ValueError, match="cross_entropy must not be negative, got -0.5"):
        RoundsLoss(cross_entropy=-0.5)


def test_pixels_of_the_target_weigh_more_in_the_cross_entropy() -> None:
    target = torch.zeros(1, 3, 2, 2)
    target[0, 0, 0, 0] = 1.0
    logits = torch.linspace(-2, 2, 12).view(1, 1, 3, 2, 2)
    pred = {"axial": logits.sigmoid()}
    plain, weighted = (RoundsLoss(cross_entropy=2.0, target_weight=w)(pred, {"axial": target}) for w in (1.0, 3.0))
    # PyTorch's loss on logits, whose pos_weight is the same.
    more = [
        torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], target, pos_weight=torch.tensor(w))
        for w in (1.0, 3.0)
    ]
    assert (weighted - plain).item() == pytest.approx(2.0 * (more[1] - more[0]).item(), rel=1e-5)
    with pytest.raises(ValueError, match="target_weight must be positive, got 0"):
        RoundsLoss(target_weight=0)


def test_the_sum_steps_parts_at_their_own_rates() -> None:
    """Step-wise, coarse and fine share no parameter: each has the gradient that it would have alone."""
    target = {"axial": torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2)}
    slab = SlabSpec(1, 1)
    parts = [torch.full((1, 1, 2, 2), value, requires_grad=True) for value in (0.3, 0.6)]
    together = RoundsLoss(slab, reduction="sum", coarse_weight=1.0)
    together({"axial": torch.stack(parts, dim=1)}, target).backward()
    for part in parts:
        alone = part.detach().clone().requires_grad_()
        RoundsLoss(slab)({"axial": alone[:, None]}, target).backward()
        assert torch.allclose(part.grad, alone.grad)
    with pytest.raises(ValueError, match="reduction must be mean or sum, got 'none'"):
        RoundsLoss(reduction="none")


@pytest.mark.parametrize("cross_entropy", [0.0, 2.0])
def test_a_probability_that_is_no_number_is_no_loss(cross_entropy: float) -> None:
    """PyTorch's cross-entropy raises an error there that names nothing, on a GPU one that ends the process."""
    pred = torch.full((1, 2, 3, 4, 4), 0.5)
    pred[0, 1, 0, 0, 0] = math.nan
    found = RoundsLoss(cross_entropy=cross_entropy)
    assert math.isnan(found({"axial": pred}, {"axial": torch.ones(1, 3, 4, 4)}))
    assert found.rounds["axial"].isnan().tolist() == [False, True]


def test_maps_of_another_slab_are_refused() -> None:
    one = torch.ones(2, 1, 4, 4)
    with pytest.raises(ValueError, match="1 channels are no classes times the 3 slices .* the network's slab"):
        RoundsLoss()({"axial": one[:, None]}, {"axial": one})
    assert RoundsLoss(SlabSpec(1, 1))({"axial": one[:, None]}, {"axial": one}).item() == 0.0

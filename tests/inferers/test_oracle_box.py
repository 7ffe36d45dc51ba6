# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.utils import StopReason
from tests.inferers.levels import network

SHAPE = (20, 18, 16)


def bright(*boxes: tuple[slice, slice, slice]) -> torch.Tensor:
    x = torch.zeros(1, 1, *SHAPE)
    for box in boxes:
        x[(0, 0, *box)] = 0.9
    return x


TARGET = (slice(4, 9), slice(5, 9), slice(6, 9))
DECOY = (slice(15, 18), slice(13, 16), slice(12, 15))
IMAGE, TRUTH = bright(TARGET, DECOY), (bright(TARGET) > 0.5).float()


@pytest.mark.parametrize("saliency", [False, True], ids=["step-wise", "RSTN"])
def test_every_round_looks_at_the_truths_boxes_alone(saliency: bool) -> None:
    run = CoarseToFineInferer(margin=2, crop_multiple=8, stopping=StopRule(None, 3), keep_rounds=True)
    found = run(IMAGE, network(0.5, saliency=saliency), label=TRUTH)
    assert torch.equal((found >= 0.5).float(), TRUTH)
    (record,) = run.records
    # The coarse result, which no box limits, holds the decoy's 27 voxels beside the target's 60.
    assert [entry.voxels for entry in record.rounds] == [87, 60, 60, 60]
    without = run(IMAGE, network(0.5, saliency=saliency))
    assert torch.equal((without >= 0.5).float(), (IMAGE > 0.5).float())


def test_a_target_that_the_coarse_stage_missed_is_found() -> None:
    missing = network(0.5, coarse=[0.95])
    run = CoarseToFineInferer(margin=2, crop_multiple=8)
    assert not (run(IMAGE, missing) >= 0.5).any()
    found = run(IMAGE, missing, label=MetaTensor(TRUTH))
    assert torch.equal((found >= 0.5).float(), TRUTH)
    assert run.records[0].stop_reason == StopReason.CONVERGED


def test_without_a_truth_the_coarse_result_stays() -> None:
    run = CoarseToFineInferer(margin=2, crop_multiple=8)
    found = run(IMAGE, network(0.5), label=torch.zeros_like(TRUTH))
    assert torch.equal((found >= 0.5).float(), (IMAGE > 0.5).float())
    assert run.records[0].fine_rounds == 0


def test_the_truth_must_fit() -> None:
    with pytest.raises(ValueError, match=r"label must have the shape \(1, 1, 20, 18, 16\), got \(1, 20, 18, 16\)"):
        CoarseToFineInferer()(IMAGE, network(0.5), label=TRUTH[0])

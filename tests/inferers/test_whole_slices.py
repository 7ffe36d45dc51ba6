# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Margin None: whole slices in the place of boxes."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, SaliencyTransform, build_network, fcn8s_compact
from c2f_monai.utils import add_margins
from tests.inferers.test_coarse_to_fine import Everywhere

# Larger than any slice.
LARGE = 2**16


@pytest.mark.parametrize("saliency", [None, SaliencyTransform], ids=["step-wise", "RSTN"])
def test_rounds_on_whole_slices_are_those_with_a_margin_beyond_every_border(saliency) -> None:
    torch.manual_seed(0)
    part = partial(fcn8s_compact, width=2, fc_channels=4)
    network = build_network(part, part, saliency).eval()
    volume = torch.rand(1, 1, 20, 18, 12)
    whole, large = (
        CoarseToFineInferer(margin=margin, crop_multiple=8, stopping=StopRule(dice=None, max_rounds=2))(volume, network)
        for margin in (None, LARGE)
    )
    assert torch.equal(whole, large) and 0 < whole.min() < whole.max() < 1


def test_a_round_reaches_the_far_end_of_a_long_slice() -> None:
    """One voxel in slice 4 near an end: slabs 3, 4 and 5 run, the fine network says foreground everywhere."""
    network = CoarseToFineNet(partial(Everywhere, False), partial(Everywhere, True), views=["axial"]).eval()
    volume, expected = torch.zeros(1, 1, 40, 14, 9), torch.zeros(40, 14, 9)
    volume[0, 0, 2, 1, 4] = 1.0
    expected[:, :, 2:7] = torch.tensor([1, 2, 3, 2, 1]) / 3
    answer = CoarseToFineInferer(margin=None, crop_multiple=1, stopping=StopRule(None, 1))(volume, network)
    torch.testing.assert_close(answer[0, 0], expected, atol=1e-6, rtol=0)


def test_no_margin_is_the_whole_slice() -> None:
    boxes = torch.tensor([[3, 4, 5, 6], [0, 0, 1, 1]])
    assert add_margins(boxes, None, (9, 12)).tolist() == [[0, 0, 9, 12]] * 2

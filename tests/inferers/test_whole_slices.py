# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Margin None: whole slices in the place of boxes."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import SaliencyTransform, build_network, fcn8s_compact
from c2f_monai.utils import add_margins

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


def test_no_margin_is_the_whole_slice() -> None:
    boxes = torch.tensor([[3, 4, 5, 6], [0, 0, 1, 1]])
    assert add_margins(boxes, None, (9, 12)).tolist() == [[0, 0, 9, 12]] * 2

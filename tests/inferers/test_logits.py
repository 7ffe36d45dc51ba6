# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Probabilities that other bundles' post-processing takes for a network's logits."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer

from c2f_monai.inferers import LogitsInferer

PROBABILITY = torch.tensor([[0.0, 0.3, 0.5, 1.0], [0.0, 0.6, 0.1, 0.9]]).view(1, 2, 2, 2)


def test_without_background_their_sigmoid_is_the_probability() -> None:
    logits = LogitsInferer(SimpleInferer(), background=False)(PROBABILITY, torch.nn.Identity())
    torch.testing.assert_close(logits.sigmoid(), PROBABILITY, atol=2e-6, rtol=0)
    assert torch.isfinite(logits).all()


def test_the_argmax_is_the_likeliest_class_above_one_half() -> None:
    logits = LogitsInferer(SimpleInferer())(PROBABILITY, torch.nn.Identity())
    assert logits.argmax(dim=1).flatten().tolist() == [0, 2, 0, 1]


def test_metadata_stay_and_another_thing_than_an_inferer_is_refused() -> None:
    image = MetaTensor(PROBABILITY, affine=2 * torch.eye(4))
    logits = LogitsInferer(SimpleInferer())(image, torch.nn.Identity())
    assert isinstance(logits, MetaTensor) and logits.shape == (1, 3, 2, 2)
    assert torch.equal(logits.affine, image.affine)
    with pytest.raises(TypeError, match="got Identity"):
        LogitsInferer(torch.nn.Identity())  # type: ignore[arg-type]

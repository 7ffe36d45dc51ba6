# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Rounds that start from an outside answer."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from tests.inferers.reference import Reference, Settings
from tests.inferers.test_coarse_to_fine import compare, make, random_network, volume_of

SHAPE = (21, 25, 19)


class Refuses(torch.nn.Module):
    """A coarse part that must not be run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the coarse network was run")


def without_coarse(network: CoarseToFineNet) -> CoarseToFineNet:
    for view in network.views.values():
        view.coarse = Refuses()
    return network


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({}, {"component_fraction": 0.5}),
        ({"classes": 2}, {}),
        ({"saliency": False}, {"fusion": "vote", "prior": "mask"}),
        ({"slab": (5, 3)}, {}),
    ],
)
def test_the_own_coarse_answer_gives_the_same(arguments, options) -> None:
    network, volume = random_network(**arguments), volume_of(SHAPE, 1)
    options = {"margin": 2, "crop_multiple": 8, **options}
    coarse = make(max_rounds=0, **options)(volume, network)
    inferer = make(max_rounds=3, keep_rounds=True, **options)
    expected, before = inferer(volume, network), inferer.records[0]
    kept = coarse.clone()
    answer = inferer(volume, without_coarse(network), initial=coarse)
    assert torch.equal(answer, expected)
    assert torch.equal(coarse, kept)  # it is not changed
    after = inferer.records[0]
    assert [(e.dsc, e.voxels, e.box) for e in after.rounds] == [(e.dsc, e.voxels, e.box) for e in before.rounds]
    assert all(torch.equal(one, other) for one, other in zip(after.masks, before.masks, strict=True))


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float64])
def test_a_mask_of_another_model_is_both_prior_and_box(kind) -> None:
    network, volume = random_network(), volume_of(SHAPE, 2)
    mask = torch.zeros(1, 1, *SHAPE, dtype=torch.bool)
    mask[0, 0, 8:14, 9:18, 6:13] = True
    inferer = make(max_rounds=1, margin=2, crop_multiple=8)
    answer = inferer(volume, without_coarse(network), initial=MetaTensor(mask.to(kind)))
    reference = Reference(network, Settings(margin=2, crop_multiple=8))
    array = volume[0, 0].double().numpy()
    compare(answer[0], reference.fine(array, mask[0].double().numpy(), mask[0].numpy()))
    assert inferer.records[0].rounds[0].voxels == 6 * 9 * 7
    assert inferer.records[0].rounds[0].dsc is None


def test_coarse_probabilities_of_8_bits_as_in_the_original_testing() -> None:
    """It kept whole numbers from 0 to 255: Z(0) stays, since 0.5 becomes 128 / 255, and g sees a rounded map."""
    network, volume, options = random_network(), volume_of(SHAPE, 4), {"margin": 2, "crop_multiple": 8}
    coarse = make(max_rounds=0, **options)(volume, network)
    rounded = (255 * coarse).round() / 255
    assert torch.equal(rounded >= 0.5, coarse >= 0.5) and not torch.equal(rounded, coarse)
    at_threshold = torch.tensor([0.5, np.nextafter(np.float32(0.5), 0)])
    assert (255 * at_threshold).round().tolist() == [128.0, 127.0]
    answer = make(max_rounds=1, **options)(volume, network, initial=rounded)
    prior, reference = rounded[0].double().numpy(), Reference(network, Settings(**options))
    compare(answer[0], reference.fine(volume[0, 0].double().numpy(), prior, prior >= 0.5))


def test_a_network_without_a_coarse_part() -> None:
    small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3, score_init="xavier")
    torch.manual_seed(0)
    network = CoarseToFineNet(None, small, SaliencyTransform).eval()
    assert not network.has_coarse and network.has_fine
    assert {key.split(".")[2] for key in network.state_dict()} == {"fine", "saliency"}
    volume, initial = volume_of(SHAPE, 3), (volume_of(SHAPE, 3) > 0.6).float()
    inferer = CoarseToFineInferer(margin=2, crop_multiple=8, stopping=StopRule(None, 2))
    expected = inferer(volume, network, initial=initial)
    assert inferer.records[0].fine_rounds >= 1
    scripted = torch.jit.script(network)
    torch.testing.assert_close(inferer(volume, scripted, initial=initial), expected, atol=1e-6, rtol=0)
    for one in (network, scripted):
        with pytest.raises(ValueError, match="the network has no coarse part: give initial"):
            inferer(volume, one)
    with pytest.raises(ValueError, match="part must be one that the network has of .* got 'coarse'"):
        network(volume)
    with pytest.raises(ValueError, match="coarse and fine are both None: give at least one network"):
        CoarseToFineNet(None)


def test_cases_of_a_batch_start_from_their_own() -> None:
    network, volumes = random_network(), torch.cat([volume_of(SHAPE, 1), volume_of(SHAPE, 2)])
    initial = (volumes > 0.7).float()
    inferer = make(max_rounds=2, margin=2, crop_multiple=8)
    together = inferer(volumes, network, initial=initial)
    for i in range(2):
        alone = inferer(volumes[i : i + 1], network, initial=initial[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


def test_nothing_to_start_from() -> None:
    inferer = make(max_rounds=2)
    answer = inferer(volume_of(SHAPE), random_network(), initial=torch.zeros(1, 1, *SHAPE))
    assert answer.max() == 0 and inferer.records[0].flags == ["nothing found"]


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (torch.zeros(1, *SHAPE), r"initial must have the shape \(1, 1, 21, 25, 19\), got \(1, 21, 25, 19\)"),
        (torch.zeros(1, 2, *SHAPE), r"initial must have the shape \(1, 1, 21, 25, 19\), got \(1, 2, 21, 25, 19\)"),
        (torch.full((1, 1, *SHAPE), 2), r"in \[0, 1\], got values from 2 to 2: .*a label map"),
        (torch.linspace(-5, 4, int(np.prod(SHAPE))).reshape(1, 1, *SHAPE), "got values from -5 to 4: apply a sigmoid"),
        (torch.full((1, 1, *SHAPE), float("nan")), "got values from nan to nan"),
    ],
)
def test_what_is_neither_probability_nor_mask_is_refused(initial, message) -> None:
    with pytest.raises(ValueError, match=message):
        CoarseToFineInferer()(volume_of(SHAPE), random_network(), initial=initial)

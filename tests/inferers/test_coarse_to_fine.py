# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.networks.nets import UNet

from c2f_monai.inferers import CoarseToFineInferer
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import dice_coefficient
from tests.inferers.reference import Reference, Settings

VIEWS = ("sagittal", "coronal", "axial")
FCN = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3, dropout=0.0, score_init="xavier")
UNET = partial(UNet, spatial_dims=2, in_channels=3, channels=(4, 8, 8), strides=(2, 2), norm="batch")


class BrightAndRandom(torch.nn.Module):
    """Logits: brightness above a level, moved by a random network that sees its surroundings."""

    def __init__(self, base, outputs: int, depth: int, level: float):
        super().__init__()
        self.base = base(out_channels=outputs)
        self.channels = [(i % depth) if depth == 3 else 1 for i in range(outputs)]
        levels = [level + 0.1 * (i // depth) for i in range(outputs)]
        self.register_buffer("levels", torch.tensor(levels)[None, :, None, None])

    def forward(self, x):
        return 10.0 * (x[:, self.channels] - self.levels) + 2.0 * torch.tanh(self.base(x))


def random_network(base=FCN, classes=1, depth=3, saliency=True, views=VIEWS, seed=0):
    """Random coarse, fine and saliency networks whose foreground is a small part of `volume_of`."""
    torch.manual_seed(seed)
    outputs = classes * depth
    network = CoarseToFineNet(
        lambda: BrightAndRandom(base, outputs, depth, 0.6),
        lambda: BrightAndRandom(base, outputs, depth, 0.55),
        (lambda: SaliencyTransform(outputs, 3)) if saliency else None,
        views,
        classes,
        depth,
    )
    for name, parameter in network.named_parameters():
        if ".saliency.layers.2." in name:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return network.eval()


def volume_of(shape, seed=0):
    """Noise in [0, 0.5] with a bright, ragged ellipsoid off the centre."""
    generator = torch.Generator().manual_seed(seed)
    volume = 0.5 * torch.rand(shape, generator=generator)
    grid = torch.meshgrid(*[(torch.arange(n) - 0.55 * (n - 1)) / max(0.28 * n, 0.6) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in grid) <= 1
    bright = 0.8 if max(shape) <= 2 else 0.4  # in a volume of a few voxels one must be found all the same
    return torch.where(inside, volume + bright, volume).clamp_max(1.0)[None, None]


def compare(answer, threshold_mask, reference):
    """Probabilities to 1e-5; masks identical but where a view or the mean is within 1e-5 of the threshold."""
    probability, mask, maps = reference
    near = np.min([np.abs(one - 0.5) for one in [*maps, probability]], axis=0) < 1e-5
    sure = ~near & (mask == (probability >= 0.5))  # not where the component filter works
    np.testing.assert_allclose(answer.numpy()[sure], probability[sure], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(threshold_mask.numpy()[~near], mask[~near])


CASES = [
    # (network, inferer, shape)
    ({}, {}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 1}, (21, 25, 19)),
    ({}, {"margin": 3, "crop_multiple": 8}, (33, 18, 26)),
    ({}, {"margin": 0, "crop_multiple": 16}, (18, 37, 23)),
    ({}, {"margin": 2, "crop_multiple": 8, "min_size": 20}, (30, 19, 33)),
    ({}, {"margin": 4, "crop_multiple": 1, "min_size": 13}, (30, 19, 9)),
    ({}, {"margin": 2, "crop_multiple": 8, "fusion": "vote"}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "fusion": ("vote", "mean")}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "fusion": ("mean", "vote")}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "fusion": "vote", "views": ("axial", "sagittal")}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "views": ("coronal",)}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "views": ("axial", "coronal")}, (17, 16, 15)),
    ({}, {"margin": 2, "crop_multiple": 8, "prior": "mask"}, (21, 25, 19)),
    ({}, {"margin": 2, "crop_multiple": 8, "component_fraction": 0.5}, (21, 25, 19)),
    ({"seed": 3}, {"margin": 2, "crop_multiple": 1, "component_fraction": 1.0, "fusion": "vote"}, (21, 25, 19)),
    ({"saliency": False}, {"margin": 5, "crop_multiple": 16, "fusion": "vote", "prior": "mask"}, (21, 25, 19)),
    ({"depth": 1}, {"margin": 2, "crop_multiple": 8}, (21, 25, 19)),
    ({"depth": 1, "classes": 2}, {"margin": 2, "crop_multiple": 1}, (12, 17, 9)),
    ({"classes": 2}, {"margin": 2, "crop_multiple": 8, "component_fraction": 0.5}, (21, 25, 19)),
    ({"classes": 2}, {"margin": 1, "crop_multiple": 8, "fusion": "vote"}, (13, 20, 17)),
    ({"base": UNET}, {"margin": 2, "crop_multiple": 8}, (21, 25, 19)),
    ({"base": UNET, "saliency": False}, {"margin": 1, "crop_multiple": 4}, (18, 15, 30)),
    ({}, {"margin": 2, "crop_multiple": 1}, (1, 1, 1)),
    ({}, {"margin": 2, "crop_multiple": 8}, (1, 12, 17)),
    ({}, {"margin": 2, "crop_multiple": 1}, (12, 2, 17)),
    ({"saliency": False}, {"margin": 0, "crop_multiple": 16}, (9, 14, 1)),
    ({"depth": 1}, {"margin": 1, "crop_multiple": 1}, (2, 1, 13)),
    ({"classes": 2}, {"margin": 1, "crop_multiple": 8}, (2, 2, 2)),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_equals_the_plain_reference_round_by_round(number):
    """Each round from the inferer's own P(t-1) and Z(t-1), so that single flips are not amplified."""
    network_arguments, arguments, shape = CASES[number]
    network, volume = random_network(**network_arguments), volume_of(shape, number)
    fusion = arguments.get("fusion", "mean")
    coarse_fusion, fine_fusion = (fusion, fusion) if isinstance(fusion, str) else fusion
    plain = {key: value for key, value in arguments.items() if key != "fusion"}
    reference = Reference(network, Settings(**plain, coarse_fusion=coarse_fusion, fine_fusion=fine_fusion))

    def after(rounds, **changes):
        inferer = CoarseToFineInferer(**{**arguments, "stop": None, "max_rounds": rounds, **changes})
        return inferer(volume, network)[0]

    array = volume[0, 0].double().numpy()
    coarse = after(0)
    compare(coarse, coarse >= 0.5, reference.coarse(array))
    share = float((coarse >= 0.5).float().mean())
    assert 0 < share < 0.4 or (share and min(shape) <= 2), f"the test's network finds {share:.2f}"
    first = after(1)
    compare(first, first >= 0.5, reference.fine(array, coarse.double().numpy(), (coarse >= 0.5).numpy()))
    # g sees the unfiltered P(1), boxes come from the filtered Z(1).
    unfiltered = after(1, component_fraction=0.0)
    second = after(2)
    compare(second, second >= 0.5, reference.fine(array, unfiltered.double().numpy(), (first >= 0.5).numpy()))


def test_equals_the_plain_reference_as_a_loop():
    network, volume = random_network(), volume_of((21, 25, 19), 5)
    arguments = {"margin": 3, "crop_multiple": 8, "component_fraction": 0.5, "stop": 0.97, "max_rounds": 6}
    inferer = CoarseToFineInferer(**arguments, keep_rounds=True)
    answer = inferer(volume, network)
    masks, changes = Reference(network, Settings(**arguments)).loop(volume[0, 0].double().numpy())
    record = inferer.records[0]
    assert len(masks) > 2
    assert [mask.tolist() for mask in record.masks] == [mask.tolist() for mask in masks]
    assert [entry.dsc for entry in record.rounds] == pytest.approx([None, *changes])
    assert (answer[0] >= 0.5).tolist() == masks[-1].tolist()


@pytest.mark.parametrize("window", [(-100.0, 240.0), (-1000.0, 1000.0)])
@pytest.mark.parametrize("saliency", [True, False])
def test_hounsfield_units_with_a_window_equal_scaled_input(window, saliency):
    """Slices smaller than the crop's multiple: what lies beyond them is 0 after scaling, not 0 HU."""
    network, volume = random_network(saliency=saliency), volume_of((13, 21, 11), 2)
    low, high = window
    arguments = {"margin": 3, "stop": None, "max_rounds": 1}
    expected = CoarseToFineInferer(**arguments)(volume, network)
    answer = CoarseToFineInferer(**arguments, window=window)(volume * (high - low) + low, network)
    torch.testing.assert_close(answer, expected, atol=1e-4, rtol=0)

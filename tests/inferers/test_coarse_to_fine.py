# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.networks.nets import UNet

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import SlabSpec, View, default_slice_axes, dice_coefficient
from tests.inferers.reference import Reference, Settings

VIEWS = ("sagittal", "coronal", "axial")
FCN = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3, dropout=0.0, score_init="xavier")
UNET = partial(UNet, spatial_dims=2, channels=(4, 8, 8), strides=(2, 2), norm="batch")


class BrightAndRandom(torch.nn.Module):
    """Logits: brightness above a level, moved by a random network that sees its surroundings."""

    def __init__(self, base, outputs: int, slab: SlabSpec, level: float):
        super().__init__()
        self.base = base(in_channels=slab.in_slices, out_channels=outputs)
        beyond = (slab.in_slices - slab.out_slices) // 2
        self.channels = [beyond + i % slab.out_slices for i in range(outputs)]
        levels = [level + 0.1 * (i // slab.out_slices) for i in range(outputs)]
        self.register_buffer("levels", torch.tensor(levels)[None, :, None, None])

    def forward(self, x):
        return 10.0 * (x[:, self.channels] - self.levels) + 2.0 * torch.tanh(self.base(x))


def random_network(base=FCN, classes=1, slab=(3, 3), saliency=True, views=VIEWS, seed=0):
    """Random coarse, fine and saliency networks whose foreground is a small part of `volume_of`."""
    torch.manual_seed(seed)
    slab = SlabSpec(*slab)
    outputs = classes * slab.out_slices
    network = CoarseToFineNet(
        lambda: BrightAndRandom(base, outputs, slab, 0.6),
        lambda: BrightAndRandom(base, outputs, slab, 0.55),
        (lambda: SaliencyTransform(outputs, slab.in_slices)) if saliency else None,
        views,
        classes,
        slab,
    )
    for name, parameter in network.named_parameters():
        if ".saliency.layers.2." in name:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return network.eval()


def make(stop=0.95, max_rounds=10, **arguments):
    """The inferer; what the loop and the reference are told has the same names."""
    return CoarseToFineInferer(stopping=StopRule(stop, max_rounds), **arguments)


def volume_of(shape, seed=0):
    """Noise in [0, 0.5] with a bright, ragged ellipsoid off the center."""
    generator = torch.Generator().manual_seed(seed)
    volume = 0.5 * torch.rand(shape, generator=generator)
    grid = torch.meshgrid(*[(torch.arange(n) - 0.55 * (n - 1)) / max(0.28 * n, 0.9) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in grid) <= 1
    bright = 0.8 if max(shape) <= 2 else 0.4  # in a volume of a few voxels one must be found all the same
    return torch.where(inside, volume + bright, volume).clamp_max(1.0)[None, None]


def compare(answer, reference, removed=False, tolerance=1e-5):
    """Probabilities and masks, but where a view or the mean is within the tolerance of the threshold."""
    probability, mask, maps = reference
    near = np.min([np.abs(one - 0.5) for one in [*maps, probability]], axis=0) < tolerance
    # What the component filter removes comes back as 0; where vote and mean differ, the answer is on the vote's side.
    shown = np.where(mask, np.maximum(probability, 0.5), np.minimum(probability, 0.5))
    shown = np.where(removed, 0.0, shown)
    np.testing.assert_allclose(answer.numpy()[~near], shown[~near], atol=tolerance, rtol=0)
    np.testing.assert_array_equal((answer >= 0.5).numpy()[~near], mask[~near])


class Fixed(torch.nn.Module):
    """A positive logit where the image has one of some values, its negative elsewhere."""

    def __init__(self, logit: float, *values: float):
        super().__init__()
        self.logit = logit
        self.register_buffer("values", torch.tensor(values))

    def forward(self, x):
        return torch.where((x[..., None] == self.values).any(dim=-1), self.logit, -self.logit)


@pytest.mark.parametrize(
    ("fine", "found", "flags"), [((0.5, 0.75), 0.5, ["touches border"]), ((0.3,), None, ["nothing found"])]
)
def test_the_mean_leaves_out_what_the_last_round_rules_out(fine, found, flags):
    """However sure the coarse network is: here of 0.5 and of a decoy of 1."""
    volume = torch.zeros(1, 1, 24, 24, 4)
    for value, place in ((0.5, 4), (0.75, 8), (1.0, 20)):
        volume[:, :, place : place + 3, place : place + 3] = value
    slab = SlabSpec(1, 1)
    network = CoarseToFineNet(
        lambda: Fixed(20.0, 0.5, 1.0), lambda: Fixed(5.0, *fine), None, ["axial"], slab=slab
    ).eval()
    inferer = make(stop=None, max_rounds=2, margin=4, crop_multiple=1, result="mean")
    probability, mask = inferer.segment(volume, network)
    assert mask.equal(volume == found) if found else not mask.any()
    assert (probability >= 0.5).equal(mask) and inferer.records[0].flags == flags


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
    ({"slab": (1, 1)}, {"margin": 2, "crop_multiple": 8}, (21, 25, 19)),
    ({"slab": (1, 1), "classes": 2}, {"margin": 2, "crop_multiple": 1}, (12, 17, 9)),
    ({"classes": 2}, {"margin": 2, "crop_multiple": 8, "component_fraction": 0.5}, (21, 25, 19)),
    ({"classes": 2}, {"margin": 1, "crop_multiple": 8, "fusion": "vote"}, (13, 20, 17)),
    ({"base": UNET}, {"margin": 2, "crop_multiple": 8}, (21, 25, 19)),
    ({"base": UNET, "saliency": False}, {"margin": 1, "crop_multiple": 4}, (18, 15, 30)),
    ({}, {"margin": 2, "crop_multiple": 1}, (1, 1, 1)),
    ({}, {"margin": 2, "crop_multiple": 8}, (1, 12, 17)),
    ({}, {"margin": 2, "crop_multiple": 1}, (12, 2, 17)),
    ({"saliency": False}, {"margin": 0, "crop_multiple": 16}, (9, 14, 1)),
    ({"slab": (1, 1)}, {"margin": 1, "crop_multiple": 1}, (2, 1, 13)),
    ({"classes": 2}, {"margin": 1, "crop_multiple": 8}, (2, 2, 2)),
    ({"slab": (5, 3)}, {"margin": 2, "crop_multiple": 8}, (21, 25, 19)),
    ({"slab": (5, 3), "classes": 2}, {"margin": 0, "crop_multiple": 1, "fusion": "vote"}, (12, 17, 9)),
    ({"slab": (5, 5)}, {"margin": 1, "crop_multiple": 8, "component_fraction": 0.5}, (21, 25, 19)),
    ({"slab": (7, 1)}, {"margin": 2, "crop_multiple": 1}, (12, 17, 9)),
    ({"slab": (7, 5), "base": UNET, "saliency": False}, {"margin": 2, "crop_multiple": 4}, (4, 13, 2)),
    ({"slab": (3, 1), "classes": 2}, {"margin": 0, "crop_multiple": 8, "prior": "mask"}, (13, 20, 17)),
]


@pytest.mark.parametrize("component_fraction", [0.0, 0.5])
def test_the_mean_of_the_coarse_and_the_last_answer(component_fraction):
    """The rounds are the same; the answer is the mean of two that the method gives."""
    network, volume = random_network(), volume_of((21, 25, 19))
    options = {"margin": 2, "crop_multiple": 8, "stop": None}
    coarse = make(**options, max_rounds=0)(volume, network)
    rounds = make(**options, max_rounds=2, component_fraction=component_fraction)
    last = rounds(volume, network)
    both = make(**options, max_rounds=2, component_fraction=component_fraction, result="mean")
    probability, mask = both.segment(volume, network)
    mean = torch.where(last > 0, (coarse + last) / 2, 0.0)
    kept = mask | (mean < 0.5)
    assert not mask.equal(last >= 0.5) and both.records[0].voxels == mask.sum()
    assert torch.allclose(probability[kept], mean[kept], atol=1e-6)
    assert kept.all() == (component_fraction == 0) and (probability[~kept] == 0).all()
    assert [entry.dsc for entry in both.records[0].rounds] == [entry.dsc for entry in rounds.records[0].rounds]
    assert make(**options, max_rounds=0, result="mean")(volume, network).equal(coarse)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("number", range(len(CASES)))
def test_equals_the_plain_reference_round_by_round(number, dtype, tolerance):
    """Each round from the inferer's own Z(t-1), so that single flips are not amplified."""
    network_arguments, arguments, shape = CASES[number]
    network, volume = random_network(**network_arguments).to(dtype), volume_of(shape, number).to(dtype)
    fusion = arguments.get("fusion", "mean")
    coarse_fusion, fine_fusion = (fusion, fusion) if isinstance(fusion, str) else fusion
    plain = {key: value for key, value in arguments.items() if key != "fusion"}
    reference = Reference(network, Settings(**plain, coarse_fusion=coarse_fusion, fine_fusion=fine_fusion))

    def after(rounds):
        return make(**arguments, stop=None, max_rounds=rounds)(volume, network)[0]

    array = volume[0, 0].double().numpy()
    coarse, plain_coarse = after(0), reference.coarse(array)
    assert coarse.dtype == dtype
    compare(coarse, plain_coarse, tolerance=tolerance)
    share = float((coarse >= 0.5).float().mean())
    assert 0 < share < 0.4 or (share and min(shape) <= 2), f"the test's network finds {share:.2f}"
    first, plain_first = after(1), reference.fine(array, plain_coarse[0], (coarse >= 0.5).numpy())
    compare(first, plain_first, reference.removed, tolerance)
    # g sees the unfiltered P(1), boxes come from the filtered Z(1).
    second, plain_second = after(2), reference.fine(array, plain_first[0], (first >= 0.5).numpy())
    compare(second, plain_second, reference.removed, tolerance)


def test_equals_the_plain_reference_as_a_loop():
    network, volume = random_network(), volume_of((21, 25, 19), 5)
    arguments = {"margin": 3, "crop_multiple": 8, "component_fraction": 0.5, "stop": 0.97, "max_rounds": 6}
    inferer = make(**arguments, keep_rounds=True)
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
    expected = make(**arguments)(volume, network)
    answer = make(**arguments, window=window)(volume * (high - low) + low, network)
    torch.testing.assert_close(answer, expected, atol=1e-4, rtol=0)


class Scripted(torch.nn.Module):
    """An axial network whose answers are given masks: the coarse one, then one for each fine round.

    The volume's voxels hold their slice's number, so that a slab knows where it is; crops must be whole slices.
    """

    view_names, out_channels, slab, has_fine = ["axial"], 1, SlabSpec(), True

    def __init__(self, masks, saliency=False):
        super().__init__()
        self.masks, self.has_saliency = masks, saliency
        self.slabs, self.priors, self.round = [], [], 0
        self.eval()

    def forward(self, x, part, view):
        if part == "saliency":
            self.priors.append(x)
            return torch.ones_like(x)
        if part == "fine":
            self.round += 1
        centers = (x[:, 1, 0, 0] * 100).round().long()
        self.slabs.append(centers.tolist())
        mask = self.masks[self.round]
        index = (centers[:, None] + torch.tensor([-1, 0, 1])).clamp(0, mask.shape[2] - 1)
        return torch.where(mask.movedim(2, 0)[index], 20.0, -20.0)


def numbered(shape=(6, 6, 8)):
    return (torch.arange(shape[2]) / 100).expand(1, 1, *shape).clone()


def block(rows, columns, slices, shape=(6, 6, 8)):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[slice(*rows), slice(*columns), slice(*slices)] = True
    return mask


Z0 = block((1, 5), (1, 5), (2, 6))  # 64 voxels
Z1 = block((1, 5), (1, 4), (2, 6))  # 48: d = 96 / 112
Z2 = block((1, 4), (1, 4), (2, 6))  # 36: d = 72 / 84
NOTHING = block((0, 0), (0, 0), (0, 0))
D1, D2 = 96 / 112, 72 / 84
WHOLE = {"margin": 6, "crop_multiple": 1}


@pytest.mark.parametrize(
    ("masks", "arguments", "voxels", "changes", "reason", "flags"),
    [
        ([Z0, Z1, Z2, Z2], {}, [64, 48, 36, 36], [D1, D2, 1.0], "converged", []),
        ([Z0, Z1, Z2, Z2], {"stop": 0.85}, [64, 48], [D1], "converged", []),
        ([Z0, Z1, Z2, Z2], {"stop": D1}, [64, 48], [D1], "converged", []),  # reaching it is enough
        ([Z0, Z1, Z2, Z2], {"max_rounds": 2}, [64, 48, 36], [D1, D2], "max rounds", ["not converged"]),
        ([Z0, Z0, Z1, Z1], {"max_rounds": 3, "stop": None}, [64, 64, 48, 48], [1, D1, 1], "fixed rounds", []),
        ([Z0, Z0, Z1], {"max_rounds": 2, "stop": 1.01}, [64, 64, 48], [1, D1], "max rounds", ["not converged"]),
        ([NOTHING], {}, [0], [], "empty", ["nothing found"]),
        ([Z0, Z1, NOTHING], {}, [64, 48, 0], [D1, 0.0], "empty", ["nothing found"]),
        ([Z0, NOTHING], {"max_rounds": 1}, [64, 0], [0.0], "empty", ["nothing found"]),
    ],
)
def test_rounds_by_hand(masks, arguments, voxels, changes, reason, flags):
    network = Scripted(masks)
    inferer = make(**WHOLE, **arguments, keep_rounds=True)
    answer = inferer(numbered(), network)
    record = inferer.records[0]
    assert [entry.voxels for entry in record.rounds] == voxels
    assert [entry.index for entry in record.rounds] == list(range(len(voxels)))
    assert record.rounds[0].dsc is None
    assert [entry.dsc for entry in record.rounds[1:]] == pytest.approx(changes)
    assert (record.stop_reason, record.flags, record.fine_rounds) == (reason, flags, len(changes))
    assert torch.equal(answer[0, 0] >= 0.5, masks[len(voxels) - 1])
    assert bool(record.signals) == (voxels[-1] > 0)  # of nothing there is nothing to say
    assert [int(mask.sum()) for mask in record.masks] == voxels
    assert all(entry.seconds >= 0 for entry in record.rounds)
    assert record.seconds == sum(entry.seconds for entry in record.rounds)


def test_coarse_result_alone():
    network = Scripted([Z0])
    inferer = make(max_rounds=0)
    answer = inferer(numbered(), network)
    assert torch.equal(answer[0, 0] >= 0.5, Z0)
    record = inferer.records[0]
    assert (record.stop_reason, record.fine_rounds, record.masks, record.flags) == ("fixed rounds", 0, [], [])


def test_slabs_without_foreground_are_not_run():
    network = Scripted([Z0, block((1, 5), (1, 5), (3, 4)), Z0])
    make(**WHOLE, stop=None, max_rounds=2)(numbered(), network)
    assert network.slabs == [list(range(8)), [1, 2, 3, 4, 5, 6], [2, 3, 4]]


def test_removed_components_come_back_as_zero_and_the_prior_is_unfiltered():
    island = block((5, 6), (5, 6), (2, 6))  # 4 voxels beside 36: under one half, and no shared face
    network = Scripted([Z0, Z2 | island, Z2 | island], saliency=True)
    inferer = make(**WHOLE, component_fraction=0.5, keep_rounds=True)
    answer = inferer(numbered(), network)
    record = inferer.records[0]
    assert [entry.voxels for entry in record.rounds] == [64, 36, 36]  # d(1) = 72 / 100, d(2) = 1
    assert [entry.dsc for entry in record.rounds[1:]] == [0.72, 1.0]
    assert torch.equal(answer[0, 0] >= 0.5, Z2)
    assert answer[0, 0][island].abs().max() == 0
    assert record.rounds[2].box == ((1, 4), (1, 4), (2, 6))
    # slab 3 of round 2 is the third of the slabs 1..6; its middle channel is slice 3 of P(1)
    assert network.priors[1][2, 1, 5, 5] > 0.99
    assert inferer.records[0].flags == []


def test_coarse_result_is_not_filtered():
    island = block((5, 6), (5, 6), (2, 6))
    inferer = make(**WHOLE, component_fraction=0.5, max_rounds=0)
    answer = inferer(numbered(), Scripted([Z2 | island]))
    assert torch.equal(answer[0, 0] >= 0.5, Z2 | island)


@pytest.mark.parametrize(("prior", "value"), [("probability", 2 / 3), ("mask", 1.0)])
def test_prior_is_the_probability_or_the_mask(prior, value):
    """A coarse part that is sure in two of a voxel's three windows."""

    class TwoOfThree(Scripted):
        def forward(self, x, part, view):
            out = super().forward(x, part, view)
            return out if part != "coarse" else torch.where(torch.tensor([1, 1, 0])[:, None, None] > 0, out, -20.0)

    network = TwoOfThree([Z0, Z0], saliency=True)
    inferer = make(**WHOLE, prior=prior, keep_seen=True)
    inferer(numbered(), network)
    # the first slab that is run is number 1; its last channel is slice 2
    assert network.priors[0][0, 2, 2, 2] == pytest.approx(value, abs=1e-6)
    assert network.priors[0][0, 0].max() == pytest.approx(0, abs=1e-6)
    assert inferer.records[0].seen[0, 2, 2, 2] == pytest.approx(value, abs=1e-6)


class Everywhere(torch.nn.Module):
    """A coarse part that finds bright voxels and a fine part that says foreground everywhere."""

    def __init__(self, fine):
        super().__init__()
        self.fine = fine

    def forward(self, x):
        return torch.full_like(x, 40.0) if self.fine else 40.0 * (x - 0.5)


@pytest.mark.parametrize("crop_multiple", [1, 8, 16, 64])
def test_nothing_outside_the_ungrown_boxes(crop_multiple):
    """One voxel in slice 4: slabs 3, 4 and 5 run; the divisor stays 3 where fewer did."""
    network = CoarseToFineNet(partial(Everywhere, False), partial(Everywhere, True), views=("axial",))
    volume = torch.zeros(1, 1, 12, 14, 9)
    volume[0, 0, 5, 1, 4] = 1.0
    inferer = make(margin=2, crop_multiple=crop_multiple, max_rounds=1)
    answer = inferer(volume, network.eval())[0, 0]
    expected = torch.zeros(12, 14, 9)
    expected[3:8, 0:4, 2:7] = torch.tensor([1, 2, 3, 2, 1]) / 3
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)
    assert inferer.records[0].rounds[1].box == ((3, 8), (0, 4), (3, 6))
    assert inferer.records[0].flags == ["not converged", "touches border"]


@pytest.mark.parametrize(
    ("position", "size", "touches"),
    [
        ((3, 3, 3), (7, 7, 7), False),
        ((0, 3, 3), (7, 7, 7), True),
        ((3, 3, 6), (7, 7, 7), True),
        ((0, 2, 2), (1, 5, 5), True),
    ],
)
def test_touching_the_border_of_the_volume(position, size, touches):
    network = CoarseToFineNet(partial(Everywhere, False)).eval()
    volume = torch.zeros(1, 1, *size)
    volume[(0, 0, *position)] = 1.0
    inferer = make()
    inferer(volume, network)
    record = inferer.records[0]
    assert record.rounds[0].voxels == 1
    assert record.rounds[0].box == tuple((p, p + 1) for p in position)
    assert record.touches_border is touches and ("touches border" in record.flags) is touches


def test_edge_slices_are_repeated_and_divided_by_two():
    """The first window's first channel repeats the edge: what it says is discarded."""

    class FirstChannel(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([60.0, -60.0, -60.0])[None, :, None, None].expand_as(x)

    network = CoarseToFineNet(FirstChannel, views=("coronal",)).eval()
    answer = make()(torch.zeros(1, 1, 2, 5, 3), network)
    # Channel 0 of slab c speaks of slice c - 1: slice 0 has 2 windows, the last slice none that says yes.
    torch.testing.assert_close(answer[0, 0, 0, :, 0], torch.tensor([1 / 2, 1 / 3, 1 / 3, 1 / 3, 0]))


@pytest.mark.parametrize(("saliency", "slab"), [(True, (3, 3)), (False, (3, 3)), (True, (5, 5)), (True, (5, 1))])
@pytest.mark.parametrize("pixels", [1, 700, 10**7])
def test_answer_does_not_depend_on_the_batch_size(saliency, slab, pixels):
    network, volume = random_network(saliency=saliency, slab=slab), volume_of((21, 25, 19), 1)
    arguments = {"margin": 2, "crop_multiple": 8, "max_rounds": 1}
    expected = make(**arguments)(volume, network)
    answer = make(**arguments, pixels_per_batch=pixels)(volume, network)
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pixels", [1, 500, 10**7])
def test_batches_keep_to_their_bound(pixels):
    sizes = []

    class Spy(Scripted):
        def forward(self, x, part, view):
            sizes.append(x.shape[0])
            assert x.shape[0] == 1 or x.shape[0] * x.shape[2] * x.shape[3] <= pixels
            return torch.full_like(x, 5.0)

    make(pixels_per_batch=pixels, crop_multiple=1, stop=None, max_rounds=1)(numbered((9, 10, 8)), Spy([]))
    assert sum(sizes) == 16


@pytest.mark.parametrize("limit", [1, 3])
def test_a_device_out_of_memory_gets_smaller_batches(limit, caplog):
    """The network refuses batches above its limit, as a GPU does: the batch is halved, and stays small."""
    sizes = []

    class Tight(Scripted):
        def forward(self, x, part, view):
            sizes.append(len(x))
            if len(x) > limit:
                raise torch.cuda.OutOfMemoryError("out of memory")
            return super().forward(x, part, view)

    inferer = make(max_rounds=0, crop_multiple=1, pixels_per_batch=6 * 36)
    answer = inferer(numbered(), Tight([Z0]))
    assert torch.equal(answer[0, 0] >= 0.5, Z0)
    # Six slabs are refused, then halved; what comes later comes in batches of the size that fits.
    assert sizes == {1: [6, 3, *[1] * 8], 3: [6, 3, 3, 2]}[limit]
    assert len(caplog.records) == {1: 2, 3: 1}[limit]
    assert "no memory for 6 slabs of 6x6 pixels: from now on pixels_per_batch is 108" in caplog.text


def test_one_slab_that_does_not_fit_is_an_error():
    class Full(Scripted):
        def forward(self, x, part, view):
            raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        make(**WHOLE)(numbered(), Full([Z0]))


@pytest.mark.parametrize("kernels", [(1,), (3, 3), (5, 7)])
def test_saliency_near_the_crops_equals_saliency_of_the_whole_slab(kernels):
    network, volume = random_network(), volume_of((33, 40, 26), 4)
    torch.manual_seed(1)
    for view in network.views.values():
        view.saliency = SaliencyTransform(kernel_sizes=kernels)
        for parameter in view.saliency.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
    inferer = make(margin=2, crop_multiple=8, max_rounds=2, stop=None)
    network.saliency_reach = -1  # as of a g that does not say how far it sees
    expected = inferer(volume, network)
    network.saliency_reach = next(iter(network.views.values())).saliency.reach
    assert network.saliency_reach == sum(kernel // 2 for kernel in kernels)
    torch.testing.assert_close(inferer(volume, network), expected, atol=1e-6, rtol=0)
    network.saliency_reach = 0
    assert kernels == (1,) or (inferer(volume, network) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("air", [0.0, 0.5])  # air is what is at the threshold, too
def test_air_around_the_body_is_left_out(air):
    """The coarse networks run on the bright box alone; its edge slices are repeated and divided by two."""
    network = CoarseToFineNet(partial(Everywhere, False), views=("axial",)).eval()
    volume = torch.zeros(1, 1, 9, 10, 11)
    volume[0, 0, 2:6, 3:5, 4:8] = 1.0
    spied = []
    network.views["axial"].coarse.register_forward_hook(lambda _, x, y: spied.append(tuple(x[0].shape)))
    arguments = {"max_rounds": 0, "crop_multiple": 1, "keep_rounds": True}
    inferer = make(**arguments, air_threshold=air)
    answer = inferer(volume, network)
    assert spied == [(4, 3, 4, 2)]
    assert torch.equal(answer >= 0.5, volume > 0.5)
    assert torch.equal(inferer.records[0].masks[0], volume[0] > 0.5)
    assert inferer(torch.zeros_like(volume), network).max() == 0 and inferer.records[0].flags == ["nothing found"]
    torch.testing.assert_close(make(**arguments)(volume, network), answer)


def test_cases_of_a_batch_do_not_meet():
    network = random_network()
    one, other = volume_of((21, 25, 19), 1), volume_of((21, 25, 19), 2)
    inferer = make(margin=2, crop_multiple=8, max_rounds=2, stop=0.999, component_fraction=0.5)
    together = inferer(torch.cat([one, other, torch.zeros_like(one)]), network)
    records = inferer.records
    assert len(records) == 3 and records[2].flags == ["nothing found"]
    for i, alone in enumerate((one, other)):
        torch.testing.assert_close(together[i : i + 1], inferer(alone, network), atol=1e-6, rtol=0)
        assert [e.voxels for e in records[i].rounds] == [e.voxels for e in inferer.records[0].rounds]
        assert [e.dsc for e in records[i].rounds] == [e.dsc for e in inferer.records[0].rounds]


@pytest.mark.parametrize("views", [("axial",), ("coronal", "sagittal"), VIEWS])
def test_networks_of_one_two_and_three_views(views):
    volume = volume_of((21, 25, 19), 1)
    inferer = make(margin=2, crop_multiple=8, max_rounds=1)
    whole, part = random_network(), random_network(views=views)
    part.load_state_dict({key: value for key, value in whole.state_dict().items() if key.split(".")[1] in views})
    chosen = make(views=views, margin=2, crop_multiple=8, max_rounds=1)(volume, whole)
    torch.testing.assert_close(inferer(volume, part), chosen, atol=1e-6, rtol=0)


def plain_network():
    """Random, and scriptable."""
    torch.manual_seed(0)
    network = CoarseToFineNet(partial(FCN, out_channels=3), partial(FCN, out_channels=3), SaliencyTransform).eval()
    volume = volume_of((17, 20, 12), 1)
    for part in ("coarse", "fine"):  # a tenth of the voxels is foreground
        for view in VIEWS:
            network.views[view].get_submodule(part).score_fr.bias.data.fill_(0.02)
    return network, volume


def test_scripted_network_gives_the_same(tmp_path):
    network, volume = plain_network()
    torch.jit.script(network).save(str(tmp_path / "model.ts"))
    scripted = torch.jit.load(str(tmp_path / "model.ts"))
    inferer = make(margin=2, crop_multiple=8, max_rounds=1)
    expected = inferer(volume, network)
    assert inferer.records[0].fine_rounds == 1
    torch.testing.assert_close(inferer(volume, scripted), expected, atol=1e-6, rtol=0)


def test_wrapped_network_gives_the_same(tmp_path):
    network, volume = plain_network()
    inferer = make(margin=2, crop_multiple=8, max_rounds=1)
    expected = inferer(volume, network)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(network)
        torch.testing.assert_close(inferer(volume, wrapped), expected, atol=1e-6, rtol=0)
    finally:
        torch.distributed.destroy_process_group()


def test_metadata_is_kept_and_read():
    network = random_network()
    affine = torch.tensor([[-2.0, 0, 0, 5], [0, 1.5, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]], dtype=torch.float64)
    image = MetaTensor(volume_of((21, 25, 19), 1), affine=affine, meta={"filename_or_obj": "folder/case_7.nii.gz"})
    inferer = make(margin=2, crop_multiple=8, max_rounds=1)
    answer = inferer(image, network)
    assert isinstance(answer, MetaTensor) and answer.dtype == torch.float32
    torch.testing.assert_close(answer.affine, affine)
    torch.testing.assert_close(answer.as_tensor(), inferer(image.as_tensor(), network), atol=0, rtol=0)
    assert not isinstance(inferer(image.as_tensor(), network), MetaTensor)
    assert inferer.records[0].rounds[0].ml is None and inferer.records[0].name == ""
    inferer(image, network)
    assert inferer.records[0].name == "case_7"
    for entry in inferer.records[0].rounds:
        assert entry.ml == pytest.approx(entry.voxels * 9 / 1000)


def test_evaluator_calls_it():
    network = random_network()
    items = []
    for i in range(2):
        image = MetaTensor(volume_of((17, 20, 12), i)[0], meta={"filename_or_obj": f"case_{i}.nii.gz"})
        items.append({"image": image, "label": image > 0.6})
    inferer = make(margin=2, crop_multiple=8, max_rounds=1)
    evaluator = SupervisedEvaluator("cpu", DataLoader(items, batch_size=2), network, inferer=inferer, decollate=False)
    evaluator.run()
    pred = evaluator.state.output["pred"]
    assert pred.shape == (2, 1, 17, 20, 12)
    assert [record.name for record in inferer.records] == ["case_0", "case_1"]
    torch.testing.assert_close(pred[1:].as_tensor(), inferer(volume_of((17, 20, 12), 1), network), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["bfloat16", torch.bfloat16])
def test_sixteen_bits_agree_by_overlap(name):
    network, volume = random_network(), volume_of((21, 25, 19), 1)
    arguments = {"margin": 2, "crop_multiple": 8, "max_rounds": 1}
    expected = make(**arguments)(volume, network)
    answer = make(**arguments, amp_dtype=name)(volume, network)
    assert answer.dtype == torch.float32
    assert (answer - expected).abs().max() > 1e-5  # it did run in 16 bits
    assert dice_coefficient(answer >= 0.5, expected >= 0.5) > 0.95


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int16])
def test_volumes_of_other_types(dtype):
    network, volume = random_network(), (volume_of((13, 14, 12), 1) * 340 - 100).round()
    inferer = make(margin=2, crop_multiple=8, max_rounds=1, window=(-100, 240))
    answer = inferer(volume.to(dtype), network)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, inferer(volume, network), atol=1e-6, rtol=0)


def test_inputs_are_not_changed_and_need_no_layout():
    network, volume = random_network(), volume_of((13, 14, 12), 1)
    inferer = make(margin=2, crop_multiple=8, max_rounds=1, window=(0, 1))
    before = volume.clone()
    expected = inferer(volume, network)
    assert torch.equal(volume, before) and not expected.requires_grad
    strided = volume.permute(0, 1, 4, 3, 2).contiguous().permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(inferer(strided, network), expected, atol=1e-6, rtol=0)


def test_progress_bar_counts_rounds(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    make(**WHOLE, progress=True)(numbered(), Scripted([Z0, Z1, Z1]))
    assert "d=1.000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "window", "said"),
    [
        (-1000.0, 1500.0, None, r"values from -1000 to 1500 .* are they in HU\? Give the inferer a window"),
        (0.0, 255.0, None, "values from 0 to 255 "),
        (0.0, 1.0, (-100, 240), r"values from 0 to 1 .* window \(-100.*, 240.*\) makes one gray: .*Leave window out"),
        (0.0, 1.0, None, None),
        (0.0, 1.0, (0, 1), None),
        (-4.0, 12.0, None, None),  # of own networks: mean 0, deviation 1
        (-1000.0, 1500.0, (-100, 240), None),
        (0.0, 0.0, (-100, 240), None),
    ],
)
def test_inputs_of_another_unit_are_warned_of(low, high, window, said):
    volume = torch.full((1, 1, 16, 16, 4), low)
    volume[..., 8:, :, :] = high
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make(max_rounds=1, window=window)(volume, random_network(views=["axial"]))
    messages = [str(warning.message) for warning in found if "inputs have values" in str(warning.message)]
    assert [bool(re.search(said, message)) for message in messages] == [True] if said else messages == []


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="must be a CoarseToFineNet, or one with its interface, got UNet, which"):
        make()(torch.zeros(1, 1, 16, 16, 16), UNet(3, 1, 1, (4, 8), (2,)).eval())


def test_training_mode_is_warned_of():
    network = random_network().train()
    with pytest.warns(UserWarning, match="training mode"):
        make(max_rounds=0)(volume_of((9, 9, 9)), network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": []}, r"views must be different names, at least one, got \[\]"),
        ({"views": ["axial", "axial"]}, "views must be different names"),
        ({"views": ["front"]}, "'front' is not a valid View"),
        ({"views": "axial"}, r"'a' is not a valid View: give a list of sagittal, coronal, axial, such as \['axial'\]"),
        ({"fusion": "median"}, "fusion must be one of .* got 'median'"),
        ({"prior": "box"}, "'box' is not a valid Prior"),
        ({"margin": -1}, "margin must be at least 0, got -1"),
        ({"margin": 4.5}, "margin must be a whole number, got 4.5"),
        ({"crop_multiple": 0}, "crop_multiple must be at least 1, got 0"),
        ({"min_size": -2}, "min_size must be at least 0, got -2"),
        ({"max_rounds": -1}, "max_rounds must be at least 0, got -1"),
        ({"pixels_per_batch": 0}, "pixels_per_batch must be at least 1, got 0"),
        ({"threshold": 0.0}, "threshold must lie between 0 and 1, got 0.0"),
        ({"threshold": 1.0}, "threshold must lie between 0 and 1, got 1.0"),
        ({"component_fraction": 1.5}, r"component_fraction must lie in \[0, 1\], got 1.5"),
        ({"component_fraction": -0.1}, "component_fraction must lie"),
        ({"window": (240, -100)}, r"window must be two increasing HU values .* got \(240, -100\)"),
        ({"amp_dtype": "float8"}, "amp_dtype must be one of .* got 'float8'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 8, 8), (1, 2, 8, 8, 8), (0, 1, 8, 8, 8), (1, 1, 8, 0, 8)])
def test_bad_inputs(shape):
    with pytest.raises(ValueError, match=r"inputs must have shape \(B, 1, H, W, D\) .* got \("):
        make()(torch.zeros(shape), random_network())


def test_views_that_the_network_lacks():
    with pytest.raises(ValueError, match=r"no networks for the views \['coronal'\], it has \['axial'\]"):
        make(views=["axial", "coronal"])(volume_of((5, 5, 5)), random_network(views=("axial",)))


def test_drawn_margins_vary_within_their_bound_and_repeat():
    """Fine says foreground everywhere, so that the answer shows the boxes: one for each of the slabs 3..6."""
    network = CoarseToFineNet(partial(Everywhere, False), partial(Everywhere, True), views=("axial",)).eval()
    volume = torch.zeros(1, 1, 40, 40, 10)
    volume[0, 0, 20, 20, 4:6] = 1.0
    inferer = make(crop_multiple=1, margin=0, max_margin=6, max_rounds=1)
    answer = inferer(volume, network)
    assert torch.equal(answer, inferer(volume, network))
    rows = (answer[0, 0] > 0).any(dim=1).int()
    extents = {(int(r.argmax()), int(r.sum())) for r in rows.T if r.any()}
    assert len(extents) > 1
    assert all(14 <= start <= 20 and start + length <= 27 for start, length in extents)
    assert inferer.rule.margins(100).unique().tolist() == list(range(7))


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("slab", [(3, 3), (5, 3), (1, 1)])
@pytest.mark.parametrize("view", VIEWS)
def test_weights_of_another_orientation_see_the_volume_turned_round(view, slab, signs):
    """Slices, rows or columns from the other end, in several batches: it is as if the volume was turned."""
    network, volume = random_network(slab=slab, views=(view,)), volume_of((21, 25, 19), 1)
    arguments = {"margin": 2, "crop_multiple": 8, "stop": None, "max_rounds": 1, "pixels_per_batch": 1500}
    axes = default_slice_axes(View(view))
    turned = [abs(axis) + 1 for axis, sign in zip(axes, signs, strict=True) if sign < 0]
    expected = make(**arguments)(volume.flip(turned), network).flip(turned)
    network.views[view].slice_axes = torch.tensor(axes) * torch.tensor(signs)
    torch.testing.assert_close(make(**arguments)(volume, network), expected, atol=1e-6, rtol=0)


def test_axes_of_a_broken_checkpoint():
    network = random_network(views=("axial",))
    network.views["axial"].slice_axes = torch.tensor([1, 2, 3])
    with pytest.raises(ValueError, match=r"slice_axes of the axial view's weights are \[1, 2, 3\]"):
        make()(volume_of((5, 5, 5)), network)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks of other slabs than three in, three out: from the data set through training to inference."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from monai.data import DataLoader

from c2f_monai.data import SlabCollate, SlabDataset
from c2f_monai.handlers import prepare_slab_batch
from c2f_monai.inferers import CoarseToFineInferer, StopRule, UnrolledInferer
from c2f_monai.losses import RoundsLoss
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import SlabSpec, dice_coefficient
from tests.inferers.reference import Reference, Settings
from tests.inferers.test_coarse_to_fine import compare, volume_of

SHAPE = (20, 18, 16)
VIEWS = ("coronal", "axial")


def make_network(slab: SlabSpec) -> CoarseToFineNet:
    torch.manual_seed(0)
    part = lambda: torch.nn.Sequential(  # noqa: E731
        torch.nn.Conv2d(slab.in_slices, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, slab.out_slices, 1)
    )
    saliency = partial(SaliencyTransform, slab.out_slices, slab.in_slices)
    return CoarseToFineNet(part, part, saliency, VIEWS, slab=slab)


@pytest.mark.parametrize("slab", [SlabSpec(5, 3), SlabSpec(1, 1)], ids=str)
def test_training_and_inference(slab: SlabSpec) -> None:
    volume = volume_of(SHAPE)
    truth = volume[0] > 0.6
    read = lambda case: {"image": (100 * volume[0]).round(), "label": truth.to(torch.uint8)}  # noqa: E731
    options: dict[str, Any] = {"window": (0, 100), "min_pixels": 1, "margin": 2, "progress": False}
    dataset = SlabDataset([{"image": "a", "label": "a"}], read, VIEWS, 16, slab=slab, **options)
    item = dataset[0]
    assert len(item["image"]["axial"]) == slab.in_slices and len(item["label"]["axial"]) == slab.out_slices
    network = make_network(slab).train()
    inferer, loss = (
        UnrolledInferer(1, "joint", crop_multiple=8, common_shape=True),
        RoundsLoss(slab, True, cross_entropy=1.0, coarse_weight=2.0),
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    losses = []
    for epoch in range(1, 26):
        dataset.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_size=8, collate_fn=SlabCollate(8)):
            inputs, targets, _, arguments = prepare_slab_batch(batch)
            found = inferer(inputs, network, **arguments)
            assert found["axial"].shape[1:3] == (2, slab.out_slices)
            value = loss(found, targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])

    network = network.eval().double()
    rule: dict[str, Any] = {"margin": 2, "crop_multiple": 8}
    reference = Reference(network, Settings(**rule, views=VIEWS))
    image, array = volume.double(), volume[0, 0].double().numpy()
    coarse = CoarseToFineInferer(**rule, stopping=StopRule(max_rounds=0))(image, network)
    plain = reference.coarse(array)
    compare(coarse[0], plain, tolerance=1e-10)
    first = CoarseToFineInferer(**rule, stopping=StopRule(max_rounds=1))(image, network)
    compare(first[0], reference.fine(array, plain[0], (coarse[0] >= 0.5).numpy()), tolerance=1e-10)
    assert dice_coefficient(first[0] >= 0.5, truth) > 0.5  # it has learned something


def test_slabs_of_another_network_are_refused() -> None:
    network = make_network(SlabSpec(5, 3))
    slabs, targets = {"axial": torch.zeros(1, 3, 16, 16)}, {"axial": torch.zeros(1, 3, 16, 16)}
    with pytest.raises(ValueError, match=r"axial slabs must have 5 channels and targets 3, .* got 3 and 3"):
        UnrolledInferer()(slabs, network, targets, {})


def test_a_part_with_channels_of_another_spec_is_refused() -> None:
    part = partial(FCN8s, 5, 3, width=2, fc_channels=4, fc_kernel_size=3)
    network = CoarseToFineNet(part, views=["axial"], slab=SlabSpec(5, 5))
    with pytest.raises(ValueError, match="the coarse network must give 5 channels, got 3"):
        network(torch.zeros(1, 5, 16, 16), "coarse", "axial")
    with pytest.raises(TypeError, match=r"slab must be a SlabSpec, such as .* got 3"):
        CoarseToFineNet(part, slab=3)  # type: ignore[arg-type]

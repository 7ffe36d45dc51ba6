# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training with fused maps, and weights of the views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn as nn
from monai.transforms import Compose, RandAffined

from benchmarks.fused.maps import MapCollate, MapDataset, MapInferer, OwnMapInferer, maps_of, prepare_map_batch
from benchmarks.fused.weights import dice_table, left_out, simplex
from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet

VIEWS = ["sagittal", "coronal", "axial"]


class Times(nn.Module):
    """logit = factor * (x - 0.5)."""

    def __init__(self, factor: float = 10.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * (x - 0.5)


class Same(nn.Module):
    """g is the map that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def case(name: str = "a") -> dict[str, str]:
    return {"image": name, "label": name}


def read(_: dict[str, str]) -> dict[str, torch.Tensor]:
    label = torch.zeros(1, 12, 10, 8)
    label[:, 4:8, 3:6, 2:5] = 1
    return {"image": 1000 * label, "label": label}


def make(augmentation: Compose | None = None) -> MapDataset:
    dataset = MapDataset(
        [case()], read, VIEWS, 4, 2, (0.0, 1000.0), min_pixels=1, margin=2, augmentation=augmentation, progress=False
    )
    label = read(case())["label"]
    dataset.maps = {"a": torch.cat([label, 0.25 * label]).half()}  # of two rounds
    return dataset


@pytest.mark.parametrize("turned", [False, True])
def test_maps_are_cut_and_turned_as_the_label_is(turned: bool) -> None:
    keys = ["image", "label", "maps"]
    turn = RandAffined(keys, prob=1.0, mode="nearest", padding_mode="zeros", rotate_range=0.5, translate_range=[2, 2])
    dataset = make(Compose([turn]) if turned else None)
    batch = MapCollate(16)([dataset[index] for index in range(4)])
    images, labels, _, options = prepare_map_batch(batch)
    for view in VIEWS:
        first, second = options["draws"][view]["maps"].chunk(2, dim=1)
        assert labels[view].any() and first.shape == images[view].shape
        assert torch.equal(first, labels[view]) and torch.equal(second, 0.25 * labels[view])


def test_g_and_the_boxes_see_the_maps_that_are_given() -> None:
    network = CoarseToFineNet(Times, Times, Same, views=["axial"]).eval()
    image, target = torch.full((1, 3, 16, 16), 0.9), torch.zeros(1, 3, 16, 16)
    maps = torch.zeros(2, 1, 3, 16, 16)
    maps[0, :, :, 2:6, 2:6], maps[1, :, :, 8:12, 8:12] = 0.75, 1.0
    draws = {
        "axial": {
            "size": torch.tensor([[16, 16]]),
            "margins": torch.zeros(1, 2, 4, dtype=torch.long),
            "fallback": torch.tensor([[0, 0, 2, 2]]),
            "maps": torch.cat([*maps], dim=1),
        }
    }
    options = {"rounds": 2, "stage": "joint", "crop_multiple": 1}
    found = MapInferer(**options)({"axial": image}, network, {"axial": target}, draws)["axial"][0]
    assert torch.equal(found[0], maps[0, 0])
    for t, (place, weight) in enumerate([(slice(2, 6), 0.75), (slice(8, 12), 1.0)], 1):
        expected = torch.zeros(3, 16, 16)
        expected[:, place, place] = torch.sigmoid(torch.tensor(10 * (weight * 0.9 - 0.5)))
        assert torch.allclose(found[t], expected)

    # The maps of the network itself give its own training pass.
    own = OwnMapInferer(**options)({"axial": image}, network, {"axial": target}, draws)
    draws["axial"]["maps"] = torch.cat([own["axial"][:, 0], own["axial"][:, 1]], dim=1)
    again = MapInferer(**options)({"axial": image}, network, {"axial": target}, draws)
    assert torch.allclose(again["axial"], own["axial"])


def test_maps_of_a_case_are_those_before_each_round() -> None:
    torch.manual_seed(0)
    network = CoarseToFineNet(Times, Times, Same, views=VIEWS).eval()
    inferer = CoarseToFineInferer(window=(0.0, 1000.0), margin=2, crop_multiple=1, stopping=StopRule(0.99, 7))
    volume = torch.randint(0, 1000, (12, 10, 8))
    maps = maps_of(volume, network, inferer, 3)
    for t, fused in enumerate(maps):
        inferer.stopping = StopRule(None, t)
        expected = inferer.segment(volume[None, None].float(), network)[0][0, 0]
        assert torch.allclose(fused.float(), expected, atol=1e-3)


def test_weights_of_a_case_are_chosen_by_the_others() -> None:
    choices = simplex(3, 10)
    assert len(choices) == 66 and all(sum(each) == pytest.approx(1.0) for each in choices)
    label = torch.zeros(6, 6, 6, dtype=torch.bool)
    label[2:4, 2:4, 2:4] = True
    noise = torch.zeros(6, 6, 6)
    noise[0] = 1.0
    table = dice_table(torch.stack([0.9 * label, noise, 0.4 * label]), label, [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
    assert table.tolist() == [100.0, 0.0]
    chosen, dsc = left_out(np.array([[70.0, 80.0], [60.0, 90.0], [85.0, 50.0]]))
    assert chosen == [0, 0, 1] and dsc.tolist() == [70.0, 60.0, 50.0]

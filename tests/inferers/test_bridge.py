# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Gaps of single slices, which a network of one slice would never look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from c2f_monai.data.preprocessing import image_preprocessing
from c2f_monai.data.writers import write_nifti
from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.inferers.records import is_stack
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.utils import SlabSpec
from tests.inferers.reference import Reference, Settings
from tests.inferers.test_coarse_to_fine import Fixed, compare, random_network, volume_of

#: Slices of an organ; the coarse network finds those that are 1 and not those that are 2.
ORGAN = [0, 1, 1, 2, 1, 2, 2, 1, 0, 0, 2, 0]


def network_of(slab: SlabSpec = SlabSpec(1, 1)) -> torch.nn.Module:  # noqa: B008
    return CoarseToFineNet(lambda: Fixed(20.0, 1.0), lambda: Fixed(20.0, 1.0, 2.0), None, ["axial"], slab=slab).eval()


def organ() -> torch.Tensor:
    """(1, 1, 12, 12, n) with a square that moves by a voxel in each slice."""
    volume = torch.zeros(1, 1, 20, 20, len(ORGAN))
    for number, value in enumerate(ORGAN):
        volume[0, 0, 3:6, number : number + 3, number] = value
    return volume


def slices_of(volume: torch.Tensor, bridge: int, rounds: int = 1, **call: Any) -> list[int]:
    """Slices of the organ's square that are found whole."""
    inferer = CoarseToFineInferer(bridge=bridge, margin=1, crop_multiple=1, stopping=StopRule(None, rounds))
    mask = inferer(volume, network_of(), **call)[0, 0] >= 0.5
    truth = volume[0, 0] > 0
    assert not (mask & ~truth).any()
    return [number for number in range(len(ORGAN)) if mask[..., number].any()]


@pytest.mark.parametrize(
    ("bridge", "found"), [(0, [1, 2, 4, 7]), (1, [1, 2, 3, 4, 7]), (2, [1, 2, 3, 4, 5, 6, 7]), (9, list(range(1, 8)))]
)
def test_gaps_are_seen_and_ends_are_not(bridge: int, found: list[int]) -> None:
    """Slice 10, beyond the last one, is no gap."""
    assert slices_of(organ(), bridge) == found
    assert slices_of(organ(), bridge, rounds=0) == [1, 2, 4, 7]
    assert slices_of(organ(), bridge, rounds=2) == found


def test_gaps_of_the_truth_are_none_of_the_answer() -> None:
    """Oracle boxes are those of the truth."""
    volume = organ()
    assert slices_of(volume, 9, label=(volume == 1).float()) == [1, 2, 4, 7]


def test_slabs_of_several_slices_see_gaps_as_they_are() -> None:
    class Middle(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[:, 1:2])

    volume, slab = organ(), SlabSpec(3, 1)
    volume[..., 4] *= 2  # a gap of 3..6, of which slabs 4 and 5 see no foreground
    network = CoarseToFineNet(lambda: Middle(20.0, 1.0), lambda: Middle(20.0, 1.0, 2.0), None, ["axial"], slab=slab)
    answers = [
        CoarseToFineInferer(bridge=bridge, margin=1, crop_multiple=1, stopping=StopRule(None, 1))(
            volume, network.eval()
        )
        for bridge in (0, 9)
    ]
    assert torch.equal(*answers)


@pytest.mark.parametrize("bridge", [1, 3])
@pytest.mark.parametrize("views", [("axial",), ("coronal", "sagittal")])
def test_a_round_equals_the_plain_reference(bridge: int, views: tuple[str, ...]) -> None:
    network, volume = random_network(slab=(1, 1), views=views), volume_of((17, 21, 15), 3)
    arguments: dict[str, Any] = {"margin": 2, "crop_multiple": 8, "bridge": bridge, "views": views}
    start = (volume > 0.75).float()
    start[:, :, 6], start[:, :, :, 9], start[..., 5], start[..., 7:9] = 0, 0, 0, 0
    reference = Reference(network, Settings(**arguments))
    inferer = CoarseToFineInferer(**arguments, stopping=StopRule(None, 1))
    answer = inferer(volume, network, initial=start)[0]
    array, prior = volume[0, 0].double().numpy(), start[0].double().numpy()
    compare(answer, reference.fine(array, prior, prior > 0), reference.removed)
    without = CoarseToFineInferer(**{**arguments, "bridge": 0}, stopping=StopRule(None, 1))
    assert not torch.equal(answer, without(volume, network, initial=start)[0])


def test_stacks_of_single_slices_have_no_gaps(tmp_path: Path) -> None:
    """What the data set says of a case reaches the inferer with the image, also one of several."""
    write_nifti(tmp_path / "ct.nii.gz", organ()[0, 0].numpy().astype(np.int16), np.eye(4))
    read = image_preprocessing()
    volume, stack = (
        read({"image": tmp_path / "ct.nii.gz", **further})["image"][None].float() for further in ({}, {"slices": True})
    )
    assert isinstance(stack, MetaTensor)
    assert slices_of(volume, 1) == [1, 2, 3, 4, 7]
    assert slices_of(stack, 1) == [1, 2, 4, 7]
    both = list_data_collate([{"image": volume[0]}, {"image": stack[0]}])["image"]
    assert [is_stack(both, index) for index in range(2)] == [False, True]


def test_a_negative_number_of_slices_is_refused() -> None:
    with pytest.raises(ValueError, match="bridge must be at least 0, got -1"):
        CoarseToFineInferer(bridge=-1)

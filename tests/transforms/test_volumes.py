# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.transforms import (
    CheckSameGridd,
    CheckVolumed,
    CompactDtyped,
    SelectLabeld,
    ToLabelMapd,
    select_label,
    to_label_map,
)


def named(data: torch.Tensor, name: str = "ct.nii.gz", affine: torch.Tensor | None = None) -> MetaTensor:
    return MetaTensor(data, affine=torch.eye(4) if affine is None else affine, meta={"filename_or_obj": name})


def with_value(value: float) -> torch.Tensor:
    volume = torch.zeros(1, 3, 4, 5)
    volume[0, 1, 2, 3] = volume[0, 2, 0, 0] = value
    return volume


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (torch.zeros(1, 4, 5), r"one 3D volume is needed, its shape without the channel is \(4, 5\)"),
        (torch.zeros(1, 4, 5, 6, 2), "one 3D volume is needed"),
        (torch.zeros(3, 4, 5, 6), "one channel is needed, it has 3"),
        (torch.zeros(1, 4, 0, 6), "no axis may be empty"),
        (with_value(float("nan")), "2 voxels are NaN or infinite"),
        (with_value(float("inf")), "2 voxels are NaN or infinite"),
        (with_value(float("-inf")), "2 voxels are NaN or infinite"),
    ],
)
def test_a_bad_volume_is_refused_with_the_name_of_its_file(volume: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=r"ct\.nii\.gz: .*" + message):
        CheckVolumed("image")({"image": named(volume)})


def test_a_good_volume_passes_unchanged() -> None:
    volume = named(with_value(-1024))
    assert CheckVolumed("image")({"image": volume})["image"] is volume
    assert volume.meta["notes"] == ""


def sheared(degrees: float) -> torch.Tensor:
    affine = torch.eye(4)
    affine[1, 2] = math.tan(math.radians(degrees))
    return affine


@pytest.mark.parametrize(
    ("volume", "affine", "message"),
    [
        (with_value(-1024), torch.diag(torch.tensor([3000.0, 3000, 3000, 1])), "has voxels of 3000 x 3000 x"),
        (with_value(-1024), torch.diag(torch.tensor([1.0, 1, 0.003, 1])), "has voxels of 1 x 1 x 0.003 mm, but"),
        (with_value(-1e30), torch.eye(4), r"holds values from -1e\+30 to 0, which are no HU"),
        (with_value(4095), torch.eye(4), "holds values from 0 to 4095, none below 0: it is no CT"),
    ],
)
def test_what_cannot_be_a_ct_is_refused(volume: torch.Tensor, affine: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=r"^ct\.nii\.gz " + message):
        CheckVolumed("image")({"image": named(volume, affine=affine)})


@pytest.mark.parametrize(
    ("volume", "affine", "notes"),
    [
        (with_value(-150), torch.eye(4), "no voxel below -200: is this in HU?"),
        (with_value(255), torch.eye(4), "no voxel below -200: is this in HU?"),
        (with_value(-1024), sheared(15), "axes sheared by 15.0 degrees"),
        (with_value(-1024), sheared(0.3), ""),
        (with_value(-150), sheared(15), "no voxel below -200: is this in HU?; axes sheared by 15.0 degrees"),
    ],
)
def test_what_is_odd_in_a_ct_is_noted(volume: torch.Tensor, affine: torch.Tensor, notes: str) -> None:
    image = named(volume, affine=affine)
    assert CheckVolumed("image")({"image": image})["image"] is image
    assert image.meta["notes"] == notes


def test_what_a_reader_has_found_is_kept() -> None:
    image = named(with_value(-150))
    image.meta["notes"] = "2 doubled slices dropped"
    assert CheckVolumed("image")({"image": image})["image"].meta["notes"].startswith("2 doubled slices dropped; no")
    image.meta["problem"] = "it has no orientation."
    with pytest.raises(ValueError, match=r"ct\.nii\.gz cannot be used: it has no orientation\."):
        CheckVolumed("image")({"image": image})


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (named(torch.zeros(1, 3, 4, 6), "lab.nii"), r"lab\.nii has the shape \(3, 4, 6\), ct\.nii\.gz \(3, 4, 5\)"),
        (named(torch.zeros(1, 3, 4, 5), "lab.nii", 2 * torch.eye(4)), r"grids: a corner differs by up to 5 mm"),
    ],
)
def test_a_label_on_another_grid_is_refused(label: MetaTensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckSameGridd("label")({"image": named(torch.zeros(1, 3, 4, 5)), "label": label})


@pytest.mark.parametrize("apart", [0.0, 0.4])
def test_a_label_on_the_same_grid_passes(apart: float) -> None:
    """Half a voxel away every voxel is still the nearest one: headers are rounded."""
    affine = torch.eye(4)
    affine[1, 3] = apart
    data = {"image": named(torch.zeros(1, 3, 4, 5)), "label": named(torch.zeros(1, 3, 4, 5), "lab.nii", affine)}
    assert CheckSameGridd("label")(data)["label"] is data["label"]


@pytest.mark.parametrize(
    ("values", "expected"), [(1, [0, 1, 0, 0]), (2, [0, 0, 1, 0]), ([1, 2], [0, 1, 1, 0]), ([9], [0, 0, 0, 0])]
)
def test_label_values_are_joined(values, expected: list[int]) -> None:
    label = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert select_label(label, values).tolist() == expected
    chosen = SelectLabeld("label", values)({"label": named(label.reshape(1, 1, 1, 4))})["label"]
    assert chosen.flatten().tolist() == expected
    assert chosen.meta["filename_or_obj"] == "ct.nii.gz"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1], [2]], [[0, 1, 0, 0], [0, 0, 1, 0]]),
        ([[1, 2], [2]], [[0, 1, 1, 0], [0, 0, 1, 0]]),  # classes may share values: an organ and its neoplasm
        ([[3]], [[0, 0, 0, 1]]),
    ],
)
def test_a_list_for_each_class_makes_a_channel_for_each(values, expected: list[list[int]]) -> None:
    label = named(torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 1, 1, 4))
    chosen = SelectLabeld("label", values)({"label": label})["label"]
    assert chosen.shape == (len(expected), 1, 1, 4) and chosen.flatten(1).tolist() == expected
    assert chosen.meta["filename_or_obj"] == "ct.nii.gz"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], 2], r"must be numbers, or one list for each class, got \[\[1\], 2\]"),
        ([[1], []], "label values must be whole numbers from 1 to 255"),
        ([[1], [0]], "label values must be whole numbers from 1 to 255"),
    ],
)
def test_bad_lists_of_classes_are_refused(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectLabeld("label", values)


def test_classes_need_one_label_map() -> None:
    with pytest.raises(ValueError, match=r"ct\.nii\.gz: classes need a label map of one channel, it has 2"):
        select_label(named(torch.zeros(2, 1, 1, 1)), [[1], [2]])


def test_what_lies_in_a_container_is_painted_over_it() -> None:
    # Organ and cyst; the organ is surer of every voxel, the cyst lies in it all the same, and a little beside it.
    probability = torch.tensor([[0.9, 0.9, 0.2, 0.9], [0.6, 0.3, 0.5, 0.5]]).reshape(2, 1, 1, 4)
    assert to_label_map(probability, [1, 2], containers=1).flatten().tolist() == [2, 1, 2, 2]
    labels = ToLabelMapd("pred", values=[1, 2], containers=1)({"pred": named(probability)})["pred"]
    assert labels.dtype == torch.uint8 and labels.flatten().tolist() == [2, 1, 2, 2]
    assert labels.meta["filename_or_obj"] == "ct.nii.gz"


def test_containers_settle_conflicts_among_themselves_and_so_do_the_others() -> None:
    probability = torch.tensor([[0.9, 0.6], [0.5, 0.8], [0.7, 0.1], [0.8, 0.2]]).reshape(4, 1, 1, 2)
    assert to_label_map(probability, [1, 2, 3, 4], containers=2).flatten().tolist() == [4, 2]


@pytest.mark.parametrize("containers", [-1, 2])
def test_a_class_must_be_left_beside_the_containers(containers: int) -> None:
    with pytest.raises(ValueError, match=f"containers must be fewer than the 2 classes, got {containers}"):
        ToLabelMapd("pred", values=[1, 2], containers=containers)
    with pytest.raises(ValueError, match=f"containers must be fewer than the 2 classes, got {containers}"):
        to_label_map(torch.zeros(2, 1, 1, 1), [1, 2], containers=containers)


def test_one_class_claims_from_the_threshold_on() -> None:
    probability = torch.tensor([0.0, 0.49, 0.5, 1.0]).reshape(1, 1, 1, 4)
    labels = ToLabelMapd("pred", values=7)({"pred": named(probability)})["pred"]
    assert labels.dtype == torch.uint8
    assert labels.flatten().tolist() == [0, 0, 7, 7]
    assert labels.meta["filename_or_obj"] == "ct.nii.gz"


def test_a_voxel_that_two_classes_claim_goes_to_the_more_probable() -> None:
    probability = torch.tensor([[0.6, 0.9, 0.2, 0.4], [0.7, 0.5, 0.5, 0.3]]).reshape(2, 1, 1, 4)
    assert to_label_map(probability, [3, 5]).flatten().tolist() == [5, 3, 5, 0]


@pytest.mark.parametrize("values", [0, 256, [], [1, -2], 1.5])
def test_values_that_do_not_fit_eight_bits_are_refused(values) -> None:
    with pytest.raises(ValueError, match="label values must be whole numbers from 1 to 255"):
        ToLabelMapd("pred", values=values)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_thresholds_outside_the_range_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"threshold must lie in \(0, 1\], got {threshold}"):
        ToLabelMapd("pred", threshold=threshold)


def test_as_many_values_as_classes_are_needed() -> None:
    with pytest.raises(ValueError, match=r"2 classes need as many label values, got \[1\]"):
        to_label_map(torch.zeros(2, 1, 1, 1), 1)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float64, torch.float32),
        (torch.float32, torch.float32),
        (torch.int16, torch.int16),
        (torch.uint8, torch.int16),  # what lies below 0 HU has a place
        (torch.uint16, torch.float32),
    ],
)
def test_volumes_keep_a_narrow_type(dtype, expected) -> None:
    image = MetaTensor(torch.arange(8.0).reshape(1, 2, 2, 2).to(dtype), affine=2 * torch.eye(4))
    narrow = CompactDtyped("image")({"image": image})["image"]
    assert narrow.dtype == expected and torch.equal(narrow.affine, image.affine)
    assert narrow.flatten().tolist() == list(range(8))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.transforms import CheckSameGridd, CheckVolumed, CompactDtyped


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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is done to a case, in which order."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from c2f_monai.data import image_preprocessing, labeled_preprocessing
from c2f_monai.transforms import ConditionOnOrgand
from tests.bundle.volumes import make_volume, write_dicom_series
from tests.data.broken_series import LPS, SHAPE, other_values

CHECKS = ["ReadImaged", "CheckVolumed", "ClipHUd", "CheckSameGridd", "CheckLabeledd"]
GRID = ["Orientationd", "TurnUprightd", "ResampleToSpacingd"]
near = partial(ConditionOnOrgand, organ_value=[1, 2], distance_voxels=2)


@pytest.fixture
def case(tmp_path: Path) -> dict[str, str]:
    """LPS volumes of 2 mm: 10 in an organ of label 1 with a cyst of label 2, 5 elsewhere."""
    label = np.zeros((12, 10, 8), np.uint8)
    label[2:6, 2:6, 2:6], label[3:5, 3:5, 3:5] = 1, 2
    image = np.where(label > 0, 10, 5).astype(np.int16)
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.diag([-2.0, -2.0, 2.0, 1.0])), tmp_path / f"{name}.nii.gz")
    return {name: str(tmp_path / f"{name}.nii.gz") for name in ("image", "label")}


def names(transform) -> list[str]:
    return [type(one).__name__ for one in transform.transforms]


def test_the_order_of_training_validation_and_inference() -> None:
    pixdim = [2.0, 2.0, 2.0]
    loading = ["LoadVolumed", "EnsureChannelFirstd", "CompactDtyped", "CheckVolumed", "ClipHUd"]
    assert names(image_preprocessing(pixdim)) == [*loading, *GRID]
    assert names(image_preprocessing(pixdim, antialias=True)) == [*loading, *GRID[:2], "SmoothForSpacingd", GRID[2]]
    assert names(labeled_preprocessing(1, pixdim, antialias=True))[-2:] == ["SmoothForSpacingd", GRID[2]]
    assert names(image_preprocessing(antialias=True)) == names(image_preprocessing())
    assert names(image_preprocessing()) == [*loading, *GRID[:2]]
    assert names(labeled_preprocessing(1, pixdim)) == [*CHECKS, "SelectLabeld", *GRID]
    assert names(labeled_preprocessing(1, pixdim, keep_label=True)) == [*CHECKS, "SelectLabeld", "CopyItemsd", *GRID]
    last = ["ConditionOnOrgand", "SelectLabeld"]
    assert names(labeled_preprocessing(2, pixdim, conditioning=near)) == [*CHECKS, *GRID, *last]
    both = labeled_preprocessing(2, pixdim, keep_label=True, conditioning=near)
    assert names(both) == [*CHECKS, "CopyItemsd", *GRID, *last]


def test_the_label_stays_on_the_files_grid_where_it_is_scored(case: dict[str, str]) -> None:
    found = labeled_preprocessing(1, [4.0, 4.0, 4.0], keep_label=True)(case)
    assert found["label"].shape == (1, 12, 10, 8) and found["image"].shape == found["label_grid"].shape
    assert int(found["label"].sum()) == 4**3 - 2**3
    trained = labeled_preprocessing(1, [4.0, 4.0, 4.0])(case)
    assert torch.equal(torch.as_tensor(trained["label"]), torch.as_tensor(found["label_grid"]))


def test_the_image_beyond_the_organ_is_hidden_before_the_target_is_selected(case: dict[str, str]) -> None:
    found = labeled_preprocessing(2, conditioning=partial(near, outside=-100))(case)
    assert int(found["label"].sum()) == 2**3
    image = torch.as_tensor(found["image"])
    assert sorted(image.unique().tolist()) == [-100, 5, 10] and int((image == 10).sum()) == 4**3


def test_inference_turns_to_ras_and_back(case: dict[str, str]) -> None:
    transform = image_preprocessing([2.0, 2.0, 2.0])
    found = transform({"image": case["image"]})
    stored = nib.load(case["image"])
    assert np.array_equal(np.asarray(found["image"])[0], np.asarray(stored.dataobj)[::-1, ::-1])
    assert np.array_equal(np.asarray(transform.inverse(found)["image"])[0], np.asarray(stored.dataobj))


def test_metal_and_padding_do_not_reach_the_tissue_beside_them(tmp_path: Path) -> None:
    volume = np.full((16, 16, 8), 40, np.int16)
    volume[8, 8, 4], volume[2, 2, 4] = 3071, -1024
    grids = []
    for metal, padding in ((3071, -1024), (30000, -32768)):
        volume[8, 8, 4], volume[2, 2, 4] = metal, padding
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "ct.nii.gz")
        grids.append(image_preprocessing([1.6, 1.6, 1.6], antialias=True)({"image": str(tmp_path / "ct.nii.gz")}))
    assert torch.equal(torch.as_tensor(grids[0]["image"]), torch.as_tensor(grids[1]["image"]))
    assert float(grids[0]["image"].max()) > 100


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"label": 255},
            {},
            r"label.nii.gz holds 255 in 1 voxels, which is neither background \(0\) nor a known label",
        ),
        ({"label": 255}, {"label_value": 255}, None),
        ({"label": -1}, {}, "label.nii.gz holds -1 in 1 voxels"),
        ({"label": 0.5}, {}, "label.nii.gz holds 0.5 in 1 voxels"),
        ({"label": np.nan}, {}, "label.nii.gz holds nan in 1 voxels"),
        ({"label": 3}, {}, None),
        ({"label": 3}, {"known_labels": [0, 1, 2]}, r"holds 3 in 1 voxels, .* known label \(1, 2\): mend the label"),
        ({"label": 3}, {"known_labels": [0, 1], "label_value": [[2], [3]]}, None),
        ({"image": None}, {}, "image.nii.gz: every voxel is 10: the file holds no image"),
        ({"label": "image"}, {}, "label.nii.gz holds 960 different values from 0 to 959: is it an image?"),
    ],
)
def test_labels_and_images_that_train_on_something_else_are_refused(
    case: dict[str, str], change: dict, options: dict, message: str | None
) -> None:
    for name, value in change.items():
        stored = nib.load(case[name])
        array = np.asarray(stored.dataobj).astype(np.float32)
        if value == "image":
            array = np.arange(array.size, dtype=np.float32).reshape(array.shape)
        elif value is None:
            array[:] = 10
        else:
            array[0, 0, 0] = value
        nib.save(nib.Nifti1Image(array, stored.affine), case[name])
    preprocessing = labeled_preprocessing(**({"label_value": 1} | options))
    if message is None:
        assert preprocessing(case)["label"].shape[1:] == (12, 10, 8)
    else:
        with pytest.raises(RuntimeError) as raised:  # MONAI names the transform
            preprocessing(case)
        assert re.search(message, str(raised.value.__cause__))


@pytest.mark.parametrize("name", ["image", "label"])
def test_half_a_file_is_refused_with_its_name(case: dict[str, str], name: str) -> None:
    path = Path(case[name])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RuntimeError) as raised:
        labeled_preprocessing(1)(case)
    assert f"{path} cannot be read as a volume: " in str(raised.value.__cause__)


def test_what_the_strict_reader_refuses_no_other_reads(tmp_path: Path) -> None:
    """MONAI goes on to ITK's reader, which would put the slices together."""
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    other_values(folder)
    with pytest.raises(RuntimeError) as raised:
        image_preprocessing()({"image": str(folder)})
    assert "different slices at the same position" in str(raised.value.__cause__)

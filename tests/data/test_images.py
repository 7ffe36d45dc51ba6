# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in memory become what a reader would give; every kind through a model is in tests/bundle/test_segmenter.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.data import LoadVolumed, image_preprocessing, list_inputs, read_image, volume_of
from c2f_monai.transforms import CheckVolumed
from tests.bundle.volumes import itk_image, make_volume, write_dicom_series, write_nifti

AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])


def test_an_image_is_the_same_volume_in_a_file_and_in_memory(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    expected = read_image(path, dtype=None)
    for image in (nib.load(path), itk_image(make_volume(), AFFINE), expected, expected[0]):
        volume = volume_of(image)
        assert volume.dtype == torch.int16 and torch.equal(volume.as_tensor(), expected.as_tensor())
        assert torch.allclose(volume.affine, expected.affine.double(), atol=1e-5)


def test_preprocessing_takes_both(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    preprocessing = image_preprocessing(pixdim=[3.0, 3.0, 3.0])
    read, given = (preprocessing({"image": image})["image"] for image in (str(path), volume_of(make_volume(), AFFINE)))
    assert torch.equal(read.as_tensor(), given.as_tensor()) and torch.equal(read.affine, given.affine)


def test_a_volume_of_nifti_lies_in_memory_as_in_its_file(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    volume = LoadVolumed("image", dtype=None)({"image": str(path)})["image"]
    height, width, _ = volume.shape
    assert volume.stride() == (1, height, height * width)
    assert np.array_equal(volume.numpy(), make_volume()) and torch.equal(volume, read_image(path, dtype=None)[0])
    assert "reversed_axes" not in volume.meta


def test_an_array_that_may_not_be_written_to_is_copied() -> None:
    values = make_volume((4, 4, 4))
    values.flags.writeable = False
    assert np.array_equal(volume_of(values, AFFINE)[0].numpy(), values)


def test_an_image_that_nibabel_has_turned_is_copied() -> None:
    """It holds a view of the array with negative strides."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(make_volume((6, 5, 4)), AFFINE))
    assert min(np.asanyarray(turned.dataobj).strides) < 0
    volume = volume_of(turned)
    assert np.array_equal(volume[0].numpy(), make_volume((6, 5, 4))[::-1, ::-1])
    assert volume.affine[:3, :3].diagonal().tolist() == [2.0, 2.0, 2.5]


def test_a_metatensor_keeps_the_name_of_its_file() -> None:
    image = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.eye(4), meta={"filename_or_obj": "a/b.nii"})
    assert volume_of(image).meta["filename_or_obj"] == "a/b.nii"


def without_codes(folder: Path) -> Path:
    """A file without qform and sform, for which nibabel makes an affine up."""
    image = nib.Nifti1Image(make_volume((6, 5, 4)), AFFINE)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, folder / "ct.nii.gz")
    return folder / "ct.nii.gz"


@pytest.mark.parametrize("given", [str, nib.load, read_image], ids=["path", "nibabel", "read"])
def test_an_image_without_a_known_orientation_is_refused(tmp_path: Path, given: Callable[[Path], Any]) -> None:
    path = without_codes(tmp_path)
    image = given(path)
    message = r"ct.nii.gz cannot be used: it has neither sform nor qform, so that its orientation is not known: set one"
    with pytest.raises(ValueError, match=message):
        CheckVolumed("image")({"image": read_image(path) if given is str else volume_of(image)})


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_an_image_whose_forms_differ_has_the_note_of_its_file(tmp_path: Path, kind: Any) -> None:
    image = kind(make_volume((6, 5, 4)), AFFINE)
    assert volume_of(image).meta["notes"] == volume_of(image).meta["problem"] == ""
    image.set_qform(AFFINE + np.pad(np.full((3, 1), 20.0), ((0, 1), (3, 0))), code=1)
    nib.save(image, tmp_path / "ct.nii")
    for given in (image, nib.load(tmp_path / "ct.nii"), read_image(tmp_path / "ct.nii")):
        assert volume_of(given).meta["notes"] == "qform and sform differ by 20 mm, sform used"


@pytest.mark.parametrize("shape", [(6, 5, 4), (1, 5, 4), (6, 5, 1)])
@pytest.mark.parametrize("ends", [(1,), (1, 1)])
def test_further_axes_of_length_1_do_not_count(tmp_path: Path, shape: tuple[int, ...], ends: tuple[int, ...]) -> None:
    values = make_volume(shape)
    image = nib.Nifti1Image(values.reshape(shape + ends), AFFINE)
    nib.save(image, tmp_path / "ct.nii")
    for given in (image, nib.load(tmp_path / "ct.nii")):
        volume = volume_of(given)
        assert np.array_equal(volume.numpy(), values[None]) and volume.affine.tolist() == AFFINE.tolist()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 4, 1), (1, 6, 5, 4)),
        ((6, 5, 4, 1, 1), (1, 6, 5, 4)),
        ((1, 6, 5, 4, 1), (1, 6, 5, 4)),
        ((1, 6, 5, 1), (1, 6, 5, 1)),  # a channel and one slice
        ((6, 5, 1), (1, 6, 5, 1)),
        ((6, 5, 4, 2), (6, 5, 4, 2)),  # left to the check of channels
    ],
)
def test_shapes_of_arrays(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    values = make_volume(shape[:3]) if len(shape) == 3 else np.arange(np.prod(shape)).reshape(shape)
    for image in (values, torch.as_tensor(values)):
        volume = volume_of(image, AFFINE)
        assert volume.shape == expected
        assert np.array_equal(volume.numpy().ravel(), values.ravel())


@pytest.mark.parametrize("shape", [(6, 5, 4, 2), (1, 6, 5, 2)])
def test_a_series_of_volumes_is_refused_by_their_number(shape: tuple[int, ...]) -> None:
    """Its first axis, also of length 1, is no channel."""
    image = nib.Nifti1Image(np.zeros(shape, np.int16), AFFINE)
    with pytest.raises(ValueError, match="one channel is needed, it has 2"):
        CheckVolumed("image")({"image": volume_of(image)})


def test_folders_are_searched_in_depth(tmp_path: Path) -> None:
    series = write_dicom_series(tmp_path / "in" / "patient" / "study" / "series", make_volume((6, 5, 3)), AFFINE)
    image = write_nifti(tmp_path / "in" / "patient" / "old.nii.gz", make_volume((6, 5, 3)))
    (tmp_path / "in" / "__MACOSX").mkdir()
    found = [(case["image"], case["case"]) for case in list_inputs(tmp_path / "in")]
    assert found == [(str(image), "patient/old"), (str(series), "patient/study/series")]

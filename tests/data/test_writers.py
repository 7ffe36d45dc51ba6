# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from c2f_monai.data import AtomicNiftiWriter, CaseLayout, name_after_case
from c2f_monai.data.writers import MaskOrigin, check_nifti_name, made_here, write_nifti

OBLIQUE = np.array([[1.8, -0.4, 0.0, 10.0], [0.4, 1.8, 0.0, -5.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


def saver(folder: Path) -> SaveImage:
    return SaveImage(
        output_dtype=np.uint8,
        print_log=False,
        writer=AtomicNiftiWriter,
        folder_layout=CaseLayout(folder),
        output_name_formatter=name_after_case,
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/x/case.nii.gz", "case_seg.nii.gz"),
        ("/x/patient.01.mha", "patient.01_seg.nii.gz"),
        ("/x/series.v2", "series.v2_seg.nii.gz"),
        ("/x/plain", "plain_seg.nii.gz"),
    ],
)
def test_masks_are_named_after_their_cases(tmp_path: Path, source: str, expected: str) -> None:
    mask = MetaTensor(torch.ones(1, 2, 2, 2), meta={"filename_or_obj": source, "affine": torch.eye(4)})
    saver(tmp_path)(mask)
    assert [path.name for path in tmp_path.iterdir()] == [expected]
    assert made_here(tmp_path / expected)


@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3, 1), (1, 1, 1)])
def test_shape_affine_type_and_values_come_back(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape) % 3
    mask = MetaTensor(torch.as_tensor(values)[None], affine=torch.as_tensor(OBLIQUE), meta={"filename_or_obj": "a.nii"})
    saver(tmp_path)(mask)
    image = nib.load(tmp_path / "a_seg.nii.gz")
    assert image.shape == shape
    assert image.get_data_dtype() == np.uint8
    assert np.allclose(image.affine, OBLIQUE, atol=1e-6)
    assert np.allclose(image.get_qform(), OBLIQUE, atol=1e-4)
    assert np.array_equal(np.asarray(image.dataobj), values)


def sheared(degrees: float) -> np.ndarray:
    """Slices 5 mm apart that a gantry tilted by so many degrees would give."""
    affine = np.eye(4)
    affine[1:3, 2] = 5 * math.sin(math.radians(degrees)), 5 * math.cos(math.radians(degrees))
    return affine


@pytest.mark.parametrize(("degrees", "code"), [(0.0, 1), (0.01, 1), (20.0, 0)])
def test_a_sheared_volume_has_no_qform_that_lies_elsewhere(tmp_path: Path, degrees: float, code: int) -> None:
    write_nifti(tmp_path / "m.nii.gz", np.ones((4, 4, 100), np.uint8), sheared(degrees))
    image = nib.load(tmp_path / "m.nii.gz")
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (code, 1)
    y = 5 * 99 * math.sin(math.radians(degrees))
    assert (image.affine @ [0, 0, 99, 1])[1] == pytest.approx(y, abs=1e-3)  # 169.3 mm at 20 degrees
    if code:
        assert (image.get_qform() @ [0, 0, 99, 1])[1] == pytest.approx(y, abs=1.0)
    assert image.header.get_zooms() == pytest.approx((1.0, 1.0, 5.0))


def test_itk_puts_no_sheared_mask_elsewhere(tmp_path: Path) -> None:
    write_nifti(tmp_path / "m.nii.gz", np.ones((4, 4, 100), np.uint8), sheared(20.0))
    with pytest.raises(RuntimeError, match="orthonormal"):
        itk.imread(str(tmp_path / "m.nii.gz"))


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (1, 3, 3), (1, 3, 3, 3, 1)])
def test_several_channels_and_other_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=rf"one channel of three axes can be written, got the shape {re.escape(str(shape))}"
    ):
        AtomicNiftiWriter().set_data_array(np.zeros(shape))


def test_a_case_without_a_file_is_named_by_its_number(tmp_path: Path) -> None:
    save = saver(tmp_path)
    for _ in range(2):
        save(MetaTensor(torch.ones(1, 2, 2, 2)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0_seg.nii.gz", "1_seg.nii.gz"]


def test_names_of_files_end_as_nifti_in_small_or_capital_letters() -> None:
    for name in ("a.nii", "A.NII", "a.nii.gz", "A.Nii.GZ"):
        check_nifti_name(name)
    for name in ("a.gz", "a.mha", "nii"):
        with pytest.raises(ValueError, match=r"must end in .nii.gz or .nii"):
            check_nifti_name(name)


def test_a_description_has_the_64_letters_of_dicom() -> None:
    assert len(MaskOrigin(signature="a" * 64).description) == 64
    assert MaskOrigin().description == MaskOrigin().description.strip()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a_seg.nii.gz"
    path.write_bytes(b"old")

    def fail(image: nib.Nifti1Image, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    writer = AtomicNiftiWriter(output_dtype=np.uint8)
    writer.set_data_array(np.zeros((1, 2, 2, 2)))
    writer.set_metadata({"affine": np.eye(4)})
    with pytest.raises(OSError, match="disk full"):
        writer.write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a_seg.nii.gz"]
    assert path.read_bytes() == b"old"

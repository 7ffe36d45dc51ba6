# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes without the target join stacks of slices: on their pixels, in their orientation, trained on in every fold."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from c2f_monai.apps.cli import main
from c2f_monai.data import load_datalist
from c2f_monai.data.negatives import read_negatives

ROWS, COLUMNS = 10, 12


def write_volume(path: Path, axcodes: str = "RAS") -> None:
    """(8, 6, 5) of 1.6 mm pixels and 3 mm slices, stored in an orientation: a front right block in air, by slice."""
    hu = np.full((8, 6, 5), -1000, np.int16)
    hu[4:, 2:] = 100 * np.arange(5)  # to the right (the last in R) and to the front (the last in A)
    image = nib.Nifti1Image(hu, np.diag([1.6, 1.6, 3.0, 1.0]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(axcodes))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


def prepare(folder: Path, table: str, first: str = "0") -> int:
    """Stacks of four patients, the first of a name, on a canvas of 10 rows and 12 columns; negatives of a table."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
        for patient in range(4):
            gray = np.ones((ROWS, COLUMNS), np.uint8)
            gray[0, 0] = 0
            Image.fromarray(gray).save(folder / kind / f"{patient}.png")
    index = "file,patient,z_index0\n" + "".join(f"{patient}.png,{patient or first},7\n" for patient in range(4))
    (folder / "index.csv").write_text(index, encoding="utf-8")
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / "negatives.csv").write_text(table, encoding="utf-8")
    options = [f"--images={folder / 'images'}", f"--masks={folder / 'masks'}", f"--index={folder / 'index.csv'}"]
    options += [f"--negatives={folder / 'lists' / 'negatives.csv'}", f"--output={folder / 'out'}"]
    return main(["prepare", "slices", *options])


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SAR"])
def test_negatives_lie_as_the_stacks_do(tmp_path: Path, axcodes: str) -> None:
    write_volume(tmp_path / "cts" / "chest.nii.gz", axcodes)
    assert prepare(tmp_path, "file,first,last,remark\n../cts/chest.nii.gz,1,3,lungs\n") == 0
    image, label = (nib.load(tmp_path / "out" / kind / "negative_chest_1_3.nii.gz") for kind in ("images", "labels"))
    stack = nib.load(tmp_path / "out" / "images" / "0.nii.gz")
    assert image.shape == label.shape == (COLUMNS, ROWS, 2)
    assert np.array_equal(image.affine, stack.affine) and nib.aff2axcodes(image.affine) == ("L", "P", "S")
    voxels = np.asarray(image.dataobj)
    assert voxels.dtype == np.int16 and not np.asarray(label.dataobj).any()
    # Pixels of 1.6 mm become two of 0.8 mm: (16, 12), of which the middle (12, 10) is kept. As a picture, the patient's
    # right is left and his front is above: the block begins at the edges.
    assert voxels[0, 0].tolist() == [100, 200]
    assert np.all(voxels[:5, :6, 0] == 100) and np.all(voxels[7:, :, 0] == -1000) and np.all(voxels[:, 8:, 0] == -1000)


def test_a_smaller_volume_is_filled_up_with_air(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    dome = nib.Nifti1Image(np.zeros((4, 4, 3), np.int16), np.diag([0.8, 0.8, 3.0, 1.0]))
    nib.save(dome, tmp_path / "lists" / "dome.nii.gz")
    assert prepare(tmp_path, "file,first,last\ndome.nii.gz,,\n") == 0
    voxels = np.asarray(nib.load(tmp_path / "out" / "images" / "negative_dome.nii.gz").dataobj)
    assert np.all(voxels[4:8, 3:7] == 0) and np.count_nonzero(voxels == -1000) == voxels.size - 4 * 4 * 3


def test_negatives_are_trained_on_in_every_fold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_volume(tmp_path / "cts" / "chest.nii.gz")
    assert prepare(tmp_path, "file,first,last\n../cts/chest.nii.gz,,2\n../cts/chest.nii.gz,3,\n") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "4 patients (folds: 1, 1, 1, 1), 4 slices",
        "2 volumes without the target, trained on in every fold",
    ]
    content = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert content["numTraining"] == len(content["training"]) == 6
    names = {"negative_chest_0_2.nii.gz", "negative_chest_3_5.nii.gz"}
    for fold in range(4):
        training, validation, test = (
            {Path(case["image"]).name for case in load_datalist(tmp_path / "out", split, fold=fold)}
            for split in ("training", "validation", "test")
        )
        assert names < training and not names & (validation | test)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,first\nct.nii.gz,0\n", "must have rows with the columns file, first, last; without: last"),
        ("", "without: file, first, last"),
        ("file,first,last\n", "negatives.csv has no rows below its header"),
        ("file,first,last\nct.nii.gz,,\nct.nii.gz,2\n", "row 3 has no cell for last: a blank one needs its comma, too"),
        ("file,first,last\nct.nii.gz,,\n ,0,2\n", "row 3: file must not be blank"),
        ('file,first,last,remark\nct.nii.gz,,,"lungs\n', "negatives.csv is no table (CSV) that can be read"),
        ("file,first,last\nno.nii.gz,,\n", "lists no.nii.gz, but there is no"),
        ("file,first,last\nct.nii.gz,2,2\n", "must be a range within its 5 slices, such as 0 and 5, got '2' and '2'"),
        ("file,first,last\nct.nii.gz,0,6\n", "got '0' and '6'"),
        ("file,first,last\nct.nii.gz,-1,\n", "got '-1' and ''"),
        ("file,first,last\nct.nii.gz,,\nct.nii.gz,,\n", "two rows would be the case negative_ct"),
        ("file,first,last\nct.nii.gz,,\n../cts/CT.nii.gz,,\n", "two rows would be the case negative_CT, of "),
    ],
)
def test_bad_tables_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, message: str
) -> None:
    write_volume(tmp_path / "lists" / "ct.nii.gz", "SAR")
    write_volume(tmp_path / "cts" / "CT.nii.gz")
    assert prepare(tmp_path, table) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_range_counts_slices_from_the_feet(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct.nii.gz", "SAR")
    (tmp_path / "table.csv").write_text("file,first,last\nct.nii.gz,3,\n", encoding="utf-8")
    (negative,) = read_negatives(tmp_path / "table.csv")
    assert (negative.name, negative.first, negative.last) == ("negative_ct_3_5", 3, 5)


def test_a_table_saved_by_excel_is_read(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct.nii.gz")
    (tmp_path / "table.csv").write_text("file,first,last\nct.nii.gz,1,2\n", encoding="utf-8-sig")
    (negative,) = read_negatives(tmp_path / "table.csv")
    assert negative.name == "negative_ct_1_2"


@pytest.mark.parametrize("patient", ["negative_ct_1_3", "NEGATIVE_CT_1_3"])
def test_a_patient_named_like_a_negative_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], patient: str
) -> None:
    """One file would be of both, with an empty label."""
    write_volume(tmp_path / "lists" / "ct.nii.gz")
    assert prepare(tmp_path, "file,first,last\nct.nii.gz,1,3\n", first=patient) == 1
    told = capsys.readouterr().err
    assert f"the patient {patient} and the negative {tmp_path / 'lists' / 'ct.nii.gz'} would be the same case" in told
    assert not (tmp_path / "out").exists()
    assert prepare(tmp_path, "file,first,last\nct.nii.gz,1,3\n", first="negative_ct") == 0


def save_hu(path: Path, hu: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(hu, np.diag([1.6, 1.6, 3.0, 1.0]) if affine is None else affine), path)


CHEST = np.linspace(-1000, 400, 8 * 6 * 5, dtype=np.float32).reshape(8, 6, 5)


@pytest.mark.parametrize(
    ("hu", "message"),
    [
        (np.where(CHEST > 390, np.nan, CHEST).astype(np.float32), "voxels are NaN or infinite"),
        (np.where(CHEST > 390, np.inf, CHEST).astype(np.float32), "voxels are NaN or infinite"),
        (1e6 * CHEST, "holds values from -1e+09 to 4e+08, which are no HU"),
        ((CHEST + 1024).astype(np.int16), "none below 0: it is no CT in HU"),
    ],
)
def test_voxels_that_are_no_hu_cost_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hu: np.ndarray, message: str
) -> None:
    table = "file,first,last\nchest.nii.gz,0,1\nother.nii.gz,,\n"
    for file in ("chest.nii.gz", "other.nii.gz"):
        save_hu(tmp_path / "lists" / file, CHEST)
    assert prepare(tmp_path, table) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    save_hu(tmp_path / "lists" / "other.nii.gz", hu)
    capsys.readouterr()
    assert prepare(tmp_path, table) == 1
    told = capsys.readouterr().err
    assert message in told and f"error: {tmp_path / 'lists' / 'other.nii.gz'}" in told
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_what_a_user_should_know_of_a_negative_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_hu(tmp_path / "lists" / "window.nii.gz", np.clip(CHEST, -100, 240))
    assert prepare(tmp_path, "file,first,last\nwindow.nii.gz,0,2\nwindow.nii.gz,3,\n") == 0
    assert caplog.messages == [f"{tmp_path / 'lists' / 'window.nii.gz'}: no voxel below -200: is this in HU?"]


def test_a_volume_of_unknown_orientation_is_refused(tmp_path: Path) -> None:
    """Where are its feet?"""
    image = nib.Nifti1Image(CHEST, None)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0
    nib.save(image, tmp_path / "ct.nii.gz")
    (tmp_path / "table.csv").write_text("file,first,last\nct.nii.gz,0,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"ct\.nii\.gz cannot be used: it has neither sform nor qform"):
        read_negatives(tmp_path / "table.csv")


@pytest.mark.parametrize("axis", [0, 2])
def test_a_volume_whose_slices_are_not_axial_is_refused(tmp_path: Path, axis: int) -> None:
    (tmp_path / "table.csv").write_text("file,first,last\nct.nii.gz,0,2\n", encoding="utf-8")
    for degrees in (20, 46):
        turn = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
        save_hu(tmp_path / "ct.nii.gz", CHEST, nib.affines.from_matvec(turn @ np.diag([1.6, 1.6, 1.6])))
        if degrees == 20:
            assert len(read_negatives(tmp_path / "table.csv")) == 1
    with pytest.raises(
        ValueError, match=r"ct\.nii\.gz has axes turned by 4[46] degrees, so that none of its slices is"
    ):
        read_negatives(tmp_path / "table.csv")

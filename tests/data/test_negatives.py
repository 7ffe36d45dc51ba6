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


def prepare(folder: Path, table: str) -> int:
    """Stacks of four patients on a canvas of 10 rows and 12 columns, and the negatives of a table."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
        for patient in range(4):
            Image.fromarray(np.ones((ROWS, COLUMNS), np.uint8)).save(folder / kind / f"{patient}.png")
    index = "file,patient,z_index0\n" + "".join(f"{patient}.png,{patient},7\n" for patient in range(4))
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
        ("file,first,last\n", "without: file, first, last"),
        ("file,first,last\nno.nii.gz,,\n", "lists no.nii.gz, but there is no"),
        ("file,first,last\nct.nii.gz,2,2\n", "must be a range within its 5 slices, such as 0 and 5, got '2' and '2'"),
        ("file,first,last\nct.nii.gz,0,6\n", "got '0' and '6'"),
        ("file,first,last\nct.nii.gz,-1,\n", "got '-1' and ''"),
        ("file,first,last\nct.nii.gz,,\nct.nii.gz,,\n", "two rows would be the case negative_ct"),
    ],
)
def test_bad_tables_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, message: str
) -> None:
    write_volume(tmp_path / "lists" / "ct.nii.gz", "SAR")
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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import csv
import json

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.apps.cli import score
from c2f_monai.metrics.tables import read_cases


def _save(path, voxels: int, start: int = 0, shape=(10, 6, 6)):
    array = np.zeros(shape, dtype=np.uint8)
    array[start : start + voxels, 2, 2] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def _run(*arguments) -> None:
    parser = argparse.ArgumentParser()
    score.add_parser(parser.add_subparsers())
    args = parser.parse_args(["score", *map(str, arguments)])
    args.run(args)


def _rows(path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folders(tmp_path):
    """Predictions (one of them in a folder of its own) and labels of three cases."""
    pred, label = tmp_path / "pred", tmp_path / "label"
    for case, pred_voxels, start, label_voxels in (("a", 4, 0, 4), ("b", 4, 2, 4), ("c", 0, 0, 0)):
        _save(pred / case / f"{case}.nii.gz" if case == "a" else pred / f"{case}.nii.gz", pred_voxels, start)
        _save(label / f"{case}.nii.gz", label_voxels)
    return pred, label


def test_folder_against_folder(folders, tmp_path, capsys):
    pred, label = folders
    _run("--pred", pred, "--label", label, "--output", tmp_path / "out" / "scores.csv")
    rows = _rows(tmp_path / "out" / "scores.csv")
    assert list(rows) == ["a", "b", "c"]
    assert [rows[case]["dsc"] for case in rows] == ["1.000000", "0.500000", ""]
    assert rows["c"]["flags"] == "both empty" and rows["c"]["hd95"] == ""
    assert rows["b"]["voxels"] == rows["b"]["label_voxels"] == "4"
    out = capsys.readouterr().out
    assert "all: DSC [%] 75.00±25.00 (max 100.00, min 50.00, 2 cases)" in out
    assert "all: 1 cases with empty prediction and empty truth, not in the DSC" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.csv"]


def test_a_case_that_is_called_like_a_formula_is_none_in_a_spreadsheet(tmp_path):
    for folder in ("pred", "label"):
        _save(tmp_path / folder / "=1+1.nii.gz", 4)
    _run("--pred", tmp_path / "pred", "--label", tmp_path / "label", "--output", tmp_path / "scores.csv")
    assert list(_rows(tmp_path / "scores.csv")) == ["'=1+1"]
    assert list(read_cases(tmp_path / "scores.csv")) == ["=1+1"]


def test_dataset_json_gives_the_split_and_the_groups(tmp_path, capsys):
    items = []
    for case, group, start in (("t1", "plain", 0), ("t2", "shifted", 2)):
        _save(tmp_path / "data" / "images" / f"{case}.nii.gz", 0)
        _save(tmp_path / "data" / "labels" / f"{case}_label.nii.gz", 4)
        _save(tmp_path / "pred" / f"{case}_seg.nii.gz", 4, start)
        items.append({"image": f"images/{case}.nii.gz", "label": f"labels/{case}_label.nii.gz", "group": group})
    (tmp_path / "data" / "dataset.json").write_text(
        json.dumps({"training": [], "validation": [], "test": items}), encoding="utf-8"
    )
    arguments = ["--pred", tmp_path / "pred", "--label", tmp_path / "data" / "dataset.json", "--suffix", "_seg"]
    _run(*arguments, "--output", tmp_path / "scores.csv")
    rows = _rows(tmp_path / "scores.csv")
    assert {case: (row["group"], row["dsc"]) for case, row in rows.items()} == {
        "t1": ("plain", "1.000000"),
        "t2": ("shifted", "0.500000"),
    }
    out = capsys.readouterr().out
    assert "plain: DSC [%] 100.00±0.00" in out and "shifted: DSC [%] 50.00±0.00" in out


def test_labels_without_prediction_need_consent(folders, tmp_path):
    pred, label = folders
    (pred / "b.nii.gz").unlink()
    arguments = ["--pred", pred, "--label", label, "--output", tmp_path / "scores.csv"]
    with pytest.raises(ValueError, match="no prediction in .* for b; --partial"):
        _run(*arguments)
    assert not (tmp_path / "scores.csv").exists()
    _run(*arguments, "--partial")
    assert list(_rows(tmp_path / "scores.csv")) == ["a", "c"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda pred, label: _save(pred / "d.nii.gz", 1), "no label for d in"),
        (lambda pred, label: _save(pred / "a.nii", 1), "and .* are both named after the case a"),
        (lambda pred, label: _save(pred / "b.nii.gz", 1, shape=(10, 6, 5)), r"differ in shape, \(10, 6, 5\) and"),
    ],
)
def test_folders_that_do_not_fit_are_refused_and_nothing_is_written(folders, tmp_path, spoil, message):
    spoil(*folders)
    with pytest.raises(ValueError, match=message):
        _run("--pred", folders[0], "--label", folders[1], "--output", tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ("absent", "label", "there is no folder .*absent"),
        ("empty", "label", "there are no volumes .* in .*empty"),
        ("pred", "list.txt", "neither a folder nor a dataset.json"),
    ],
)
def test_missing_or_empty_folders_are_named(folders, tmp_path, pred, label, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        _run("--pred", tmp_path / pred, "--label", tmp_path / label, "--output", tmp_path / "scores.csv")


def test_images_of_a_data_set_that_are_called_alike_are_refused(tmp_path):
    """Else both masks would be scored against the last label."""
    for folder in ("a", "b"):
        _save(tmp_path / "data" / folder / "ct.nii.gz", 0)
        _save(tmp_path / "data" / folder / "seg.nii.gz", 4)
    items = [{"image": f"{folder}/ct.nii.gz", "label": f"{folder}/seg.nii.gz"} for folder in ("a", "b")]
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"test": items}), encoding="utf-8")
    _save(tmp_path / "pred" / "ct.nii.gz", 4)
    words = ("--pred", tmp_path / "pred", "--label", tmp_path / "data" / "dataset.json")
    with pytest.raises(ValueError, match=r"a/ct.nii.gz and .*b/ct.nii.gz are both named after the case ct: rename one"):
        _run(*words, "--output", tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_a_fold_is_scored(tmp_path):
    items = []
    for fold, case in enumerate(("a", "b")):
        label = _save(tmp_path / "data" / f"{case}_label.nii.gz", 4)
        image = _save(tmp_path / "data" / f"{case}.nii.gz", 0)
        items.append({"image": image.name, "label": label.name, "fold": fold})
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"training": items}), encoding="utf-8")
    _save(tmp_path / "pred" / "b.nii.gz", 4)
    options = ("--pred", tmp_path / "pred", "--label", tmp_path / "data" / "dataset.json", "--fold", 1)
    _run(*options, "--output", tmp_path / "scores.csv")
    assert list(_rows(tmp_path / "scores.csv")) == ["b"]


@pytest.mark.parametrize("value", [0, -1])
def test_the_background_is_no_label_value(folders, tmp_path, value):
    pred, label = folders
    with pytest.raises(ValueError, match=f"--label-value must be at least 1, .*, got {value}"):
        _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv", "--label-value", value)
    assert not (tmp_path / "scores.csv").exists()


def test_labels_that_hold_the_target_nowhere_but_something_else_are_told(folders, tmp_path, capsys):
    pred, label = folders
    _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv", "--label-value", 255)
    assert "no label holds the target 255, but 1: if that is the target, set --label-value\n" in capsys.readouterr().out
    _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv", "--label-value", 1, 255)
    printed = capsys.readouterr().out
    assert "no label" not in printed
    assert "target:" not in printed  # it is all that the labels hold


def test_masks_that_hold_the_target_nowhere_but_something_else_are_told(folders, tmp_path, capsys):
    """Of 0 and 255, as pictures have it: all cases have a DSC of 0 by it."""
    pred, label = folders
    for path in pred.rglob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.uint8) * 255, image.affine), path)
    _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv")
    told = "no mask holds the target 1, but 255: masks and labels must give it the same value\n"
    assert told in capsys.readouterr().out


def test_files_without_the_suffix_are_no_masks(folders, tmp_path):
    pred, label = folders
    for case in ("a/a", "b", "c"):
        (pred / f"{case}.nii.gz").rename(pred / f"{case}_seg.nii.gz")
    _save(pred / "b.nii.gz", 4)  # another mask of it
    _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv", "--suffix", "_seg")
    assert [row["dsc"] for row in _rows(tmp_path / "scores.csv").values()] == ["1.000000", "0.500000", ""]
    with pytest.raises(ValueError, match="there are no volumes .* whose names end in _mask in"):
        _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv", "--suffix", "_mask")


def test_another_list_is_not_taken_for_dataset_json(tmp_path):
    for name in ("dataset", "expert"):
        (tmp_path / f"{name}.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="expert.json is neither a folder nor a dataset.json"):
        _run("--pred", tmp_path, "--label", tmp_path / "expert.json", "--output", tmp_path / "scores.csv")


@pytest.mark.parametrize("output", ["label/a.nii.gz", "notes.csv", "label"])
def test_scores_take_the_place_of_nothing_but_scores(folders, tmp_path, output):
    pred, label = folders
    (tmp_path / "notes.csv").write_text("patient,note\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=f"--output .*{output} (exists and is no table of scores|is a folder)"):
        _run("--pred", pred, "--label", label, "--output", tmp_path / output)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    for _ in range(2):
        _run("--pred", pred, "--label", label, "--output", tmp_path / "scores.csv")

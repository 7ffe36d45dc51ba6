# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks of the Decathlon get folds; their files stay where they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.data.datalist import load_datalist
from c2f_monai.data.decathlon import find_task, list_decathlon
from c2f_monai.data.description import describe_dataset, write_description
from tests.bundle.volumes import write_nifti

LABELS = {"0": "background", "1": "pancreas", "2": "cancer"}


def write_task(root: Path, cases: int = 5, **change: Any) -> Path:
    """Task07_Pancreas as it is unpacked, with the hidden files that its archive holds."""
    folder = root / "Task07_Pancreas"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    training, test = [], []
    for number in range(cases, 0, -1):  # the order in the file is not that of the names
        name = f"pancreas_{number:03d}.nii.gz"
        write_nifti(folder / "imagesTr" / name, np.zeros((4, 5, 6), np.int16))
        write_nifti(folder / "labelsTr" / name, np.ones((4, 5, 6), np.uint8))
        (folder / "imagesTr" / f"._{name}").write_bytes(b"x")
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    write_nifti(folder / "imagesTs" / "pancreas_010.nii.gz", np.zeros((4, 5, 6), np.int16))
    test.append("./imagesTs/pancreas_010.nii.gz")
    content = {"name": "Pancreas", "modality": {"0": "CT"}, "labels": LABELS, "tensorImageSize": "3D"}
    (folder / "dataset.json").write_text(
        json.dumps(content | {"training": training, "test": test} | change), encoding="utf-8"
    )
    return folder


def test_a_task_gets_folds_and_keeps_its_labels_and_test_images(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    content = list_decathlon(folder)
    names = [Path(case["image"]).name for case in content["training"]]
    assert names == [f"pancreas_{number:03d}.nii.gz" for number in range(1, 6)]
    assert [case["fold"] for case in content["training"]] == [0, 1, 2, 3, 3]
    assert (content["labels"], content["modality"]) == (LABELS, {"0": "CT"})
    assert content["test"] == [{"image": str(folder / "imagesTs" / "pancreas_010.nii.gz")}]


def test_files_are_listed_where_they_are(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "data")
    for output, start in ((tmp_path / "data", "Task07_Pancreas/"), (tmp_path / "other", f"{folder}/")):
        path = write_description(output, list_decathlon(folder))
        entry = json.loads(path.read_text(encoding="utf-8"))["training"][0]
        assert entry == {
            "image": f"{start}imagesTr/pancreas_001.nii.gz",
            "label": f"{start}labelsTr/pancreas_001.nii.gz",
            "fold": 0,
        }
        assert len(load_datalist(output, "training")) == 4
        assert [p.name for p in output.iterdir() if p.name != "Task07_Pancreas"] == ["dataset.json"]


@pytest.mark.parametrize("task", [7, "7", "07", "Task07_Pancreas", "pancreas", "task07_pancreas"])
def test_a_task_is_found_by_number_or_name(tmp_path: Path, task: str | int) -> None:
    folder = write_task(tmp_path)
    assert find_task(tmp_path, task) == folder == find_task(folder)


def test_a_missing_task_is_told(tmp_path: Path) -> None:
    write_task(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no task 3; it holds Task07_Pancreas"):
        find_task(tmp_path, 3)
    with pytest.raises(FileNotFoundError, match="has no dataset.json: give a task's folder, or --task"):
        find_task(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "is not of the Decathlon's layout"),
        ({"labels": None}, "is not of the Decathlon's layout"),
        ({"training": []}, "there is no labeled case"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    folder = write_task(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        list_decathlon(folder)


def test_missing_files_are_counted_and_images_of_several_channels_refused(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    write_nifti(folder / "imagesTr" / "pancreas_005.nii.gz", np.zeros((4, 5, 6, 4), np.int16))
    with pytest.raises(ValueError, match="pancreas_005.nii.gz is a 4D image of 4x5x6x4"):
        list_decathlon(folder)
    (folder / "labelsTr" / "pancreas_002.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 11 files that .* lists do not exist: .*pancreas_002"):
        list_decathlon(folder)


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("training", {"image": ["./imagesTr/pancreas_001.nii.gz"] * 2}, "one file as the 'image' of each case under"),
        ("training", {"image": None}, "one file as the 'image' of each case under 'training', got"),
        ("training", {"label": None}, "one file as the 'label' of each case under 'training', got"),
        ("training", {"label": ...}, "one file as the 'label' of each case under 'training', got"),
        ("test", {"image": ..., "label": "a.nii.gz"}, "one file as the 'image' of each case under 'test', got"),
        ("test", {"image": "imagesTr/pancreas_002.nii.gz"}, "lists the image .*pancreas_002.nii.gz twice"),
        ("training", {"image": "imagesTr/../imagesTr/pancreas_002.nii.gz"}, "lists the image .*_002.nii.gz twice"),
    ],
)
def test_cases_that_are_none_of_one_image_and_label_are_refused(
    tmp_path: Path, split: str, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_task(tmp_path)
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    entry = {"image": content["test"][0]} if split == "test" else content["training"][-1]
    content[split][-1] = {key: value for key, value in (entry | change).items() if value is not ...}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["prepare", "msd", f"--input={folder}", f"--output={tmp_path / 'out'}"]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_few_cases_have_no_folds() -> None:
    content = describe_dataset("few", {1: "organ"}, [{"image": "a", "label": "b"}] * 3)
    assert all("fold" not in case for case in content["training"])


def test_the_description_of_another_data_set_is_not_overwritten(tmp_path: Path) -> None:
    cases = [{"image": "a", "label": "b"}]
    path = write_description(tmp_path, describe_dataset("one", {1: "x"}, cases))
    before = path.read_text(encoding="utf-8")
    with pytest.raises(FileExistsError, match="describes the data set 'one' already"):
        write_description(tmp_path, describe_dataset("two", {1: "x"}, cases))
    write_description(tmp_path, describe_dataset("one", {1: "x"}, cases))
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("output", ["data/Task07_Pancreas", "link/Task07_Pancreas", "data/../data/Task07_Pancreas"])
def test_the_dataset_json_of_a_task_stays_by_whatever_path(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    before = (task / "dataset.json").read_bytes()
    assert main(["prepare", "msd", f"--input={task}", f"--output={tmp_path / output}"]) == 1
    assert "--output must be another folder than the task's own" in capsys.readouterr().err
    assert (task / "dataset.json").read_bytes() == before

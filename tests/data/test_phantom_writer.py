# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom as a data set on disk, made whole or not at all."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.data.datalist import load_datalist, resolve_dataset
from c2f_monai.data.phantom import COHORTS, SPLITS, generate_case, select_entries, write_phantom
from c2f_monai.data.phantom import writer as writer_module
from tests.processes import ROOT, run_python

SIZE = (32, 32, 24)


def test_splits_have_disjoint_seeds_and_half_of_the_test_cases_are_shifted() -> None:
    entries = select_entries()
    assert len({entry.seed for entry in entries}) == len(entries) == sum(SPLITS.values()) == 112
    groups = [entry.group for entry in entries if entry.split == "test"]
    assert (groups.count("plain"), groups.count("shifted")) == (20, 20)
    assert {entry.group for entry in entries if entry.split != "test"} == {"plain"}


def test_cohorts_share_no_anatomy() -> None:
    entries = {name: select_entries(cohort=name) for name in COHORTS}
    assert {entry.group for entry in entries["cysts"]} == {"cysts"}
    assert [sum(e.split == split for e in entries["cysts"]) for split in SPLITS] == list(SPLITS.values())
    assert len({entry.seed for cohort in entries.values() for entry in cohort}) == 2 * 112 + 70
    with pytest.raises(ValueError, match="cohort must be one of pancreas, cysts, organs, got 'cyst'"):
        select_entries(cohort="cyst")


def test_a_selection_holds_the_first_cases_of_the_whole() -> None:
    whole = [entry for entry in select_entries() if entry.split == "test"]
    assert select_entries({"test": 4}) == whole[:4]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"tests": 4}, "splits must be among training, validation, test, got 'tests'"),
        ({"test": 41}, "the test split has 0 to 40 cases, got 41"),
        ({"test": -1}, "the test split has 0 to 40 cases, got -1"),
        ({"test": 0}, "splits selects no case at all"),
    ],
)
def test_bad_selections_are_refused(splits: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_entries(splits)


def test_files_hold_the_generated_voxels_and_dataset_json_lists_them(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "made" / "p", {"training": 1, "test": 2}, SIZE, processes=1, progress=False)
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert (content["name"], content["version"]) == ("phantom-v1", "1")
    assert [len(content.get(split, [])) for split in SPLITS] == [1, 0, 2]
    assert (content["numTraining"], content["numTest"]) == (1, 2)
    assert content["test"][1] == {
        "image": "imagesTs/phantom_test_001.nii.gz",
        "label": "labelsTs/phantom_test_001.nii.gz",
        "group": "shifted",
        "seed": 3001,
    }
    for item in load_datalist(folder, "test"):
        case = generate_case(item["seed"], item["group"], SIZE)
        for key, expected in (("image", case.image), ("label", case.label)):
            stored = nib.load(item[key])
            assert stored.get_data_dtype() == expected.dtype
            assert np.array_equal(np.asarray(stored.dataobj), expected)
            assert np.allclose(stored.affine, case.affine, atol=1e-4)
            assert np.allclose(stored.get_qform(), case.affine, atol=1e-3)
    assert [path.name for path in folder.parent.iterdir()] == ["p"]


def test_a_cohort_is_written_under_its_name(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "p", {"test": 1}, SIZE, processes=1, progress=False, cohort="cysts")
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["name"] == "phantom-v1-cysts"
    assert (content["test"][0]["group"], content["test"][0]["seed"]) == ("cysts", 6000)
    stored = nib.load(load_datalist(folder, "test")[0]["label"])
    assert np.array_equal(np.asarray(stored.dataobj), generate_case(6000, "cysts", SIZE).label)


def test_a_script_without_a_main_guard_runs_once_and_its_workers_write_the_same_voxels(tmp_path: Path) -> None:
    call = f"write_phantom('p', {{'validation': 2}}, {SIZE}, processes=2, progress=False)"
    script = tmp_path / "script.py"
    script.write_text(f"from c2f_monai.data import write_phantom\nprint('once')\n{call}\n", encoding="utf-8")
    done = run_python([str(script)], tmp_path, os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    assert len(load_datalist(tmp_path / "p", "validation")) == 2
    one = write_phantom(tmp_path / "one", {"validation": 2}, SIZE, processes=1, progress=False)
    for name in ("phantom_validation_000.nii.gz", "phantom_validation_001.nii.gz"):
        stored = [np.asarray(nib.load(folder / "imagesTr" / name).dataobj) for folder in (one, tmp_path / "p")]
        assert np.array_equal(*stored)


def test_a_script_from_standard_input_runs_once(tmp_path: Path) -> None:
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "labelsTs").mkdir()
    lines = (
        "from c2f_monai.data.phantom.writer import _write_apart, select_entries\n"
        "print('once')\n"
        f"print(*_write_apart({str(tmp_path)!r}, select_entries({{'test': 2}}), {SIZE}, 1))\n"
    )
    done = subprocess.run(
        [sys.executable, "-"],
        input=lines,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "once\nNone None\n"
    assert len(list(tmp_path.rglob("*.nii.gz"))) == 4


def test_what_cannot_be_written_is_answered_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "labelsTs").mkdir()
    entries = [asdict(entry) for entry in select_entries({"test": 2})]
    writer_module._write_share(str(tmp_path), entries, SIZE, answers := io.StringIO())
    assert re.fullmatch(r".*No such file or directory: .*imagesTs.*\n", answers.getvalue())


@pytest.mark.parametrize(
    ("worker", "reason"),
    [("print('No space left')", "No space left"), ("", "one of the processes that make its cases has ended")],
)
def test_what_other_processes_cannot_write_is_an_error_here(
    worker: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_WORKER", worker)
    with pytest.raises(OSError, match=f"the phantom cannot be written: {reason}"):
        list(writer_module._write_apart(tmp_path, select_entries({"test": 2}), SIZE, 2))


@pytest.mark.skipif(os.name != "posix", reason="needs process numbers")
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f".{platform.node()}-4194304.p"  # no process has this number
    (left / "imagesTs").mkdir(parents=True)
    write_phantom(tmp_path / "p", {"test": 1}, SIZE, processes=1, progress=False)
    assert os.listdir(tmp_path) == ["p"]
    (left / "imagesTs").mkdir(parents=True)
    assert resolve_dataset(tmp_path / "p", tmp_path / "p") == str(tmp_path / "p")
    assert os.listdir(tmp_path) == ["p"]


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(FileExistsError, match="p exists already"):
        write_phantom(tmp_path / "p", {"test": 1}, SIZE, processes=1, progress=False)
    assert list((tmp_path / "p").iterdir()) == []


def test_bad_number_of_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        write_phantom(tmp_path / "p", processes=0)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(writer_module, "generate_case", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        write_phantom(tmp_path / "p", {"test": 1}, SIZE, processes=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_several_writers_at_once_end_with_one_whole_data_set(tmp_path: Path) -> None:
    together, failures = threading.Barrier(3), []

    def write() -> None:
        together.wait()
        try:
            write_phantom(tmp_path / "p", {"test": 1}, SIZE, processes=1, progress=False)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert len(load_datalist(tmp_path / "p", "test")) == 1


def test_a_size_that_no_case_has_is_refused_before_any_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"size must be three numbers of at least 16 voxels, got \(64, 64, 15\)"):
        write_phantom(tmp_path / "new", {"test": 2}, (64, 64, 15), progress=False)
    assert not list(tmp_path.iterdir())


def test_splits_without_cases_are_not_listed_so_that_training_holds_some_back(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "p", {"training": 3, "test": 0}, (32, 32, 32), processes=1, progress=False)
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert {"training", "validation", "test"} & content.keys() == {"training"} and len(content["training"]) == 3
    assert [len(load_datalist(folder, split, 1 / 3)) for split in ("training", "validation")] == [2, 1]

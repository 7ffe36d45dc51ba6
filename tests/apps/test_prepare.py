# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command that makes data sets, as users type it."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.data import PREPARERS, Preparer
from c2f_monai.data.datalist import load_datalist
from tests.bundle.volumes import write_nifti
from tests.data.nih_download import write_case
from tests.data.test_decathlon import write_task
from tests.processes import ROOT, Command

#: Code of a process that takes the lock of a folder and waits to be killed.
HOLDS_THE_FOLDER = """
import sys, time
from c2f_monai.utils import FolderLock
lock = FolderLock(sys.argv[1])
lock.acquire()
print("taken", flush=True)
time.sleep(600)
"""


def test_nih(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 28, 4, 82):
        write_case(tmp_path / "in", number)
    broken = sorted((tmp_path / "in" / "PANCREAS_0004").rglob("*.dcm"))[3]
    broken.unlink()
    options = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--folds", "3"]
    assert main(["prepare", "nih", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "3 cases written, 0 kept, 1 skipped",
        "labels mirrored front-back against their header, by their voxels: 3",
        "axis codes of (row, column, slice by instance number), what import-weights rstn --axcodes asks for: PLS 3",
    ]
    assert lines[3].startswith("skipped pancreas_0004: a slice is missing between PANCREAS_0004/")
    assert lines[4] == str(tmp_path / "out" / "dataset.json")
    assert [len(load_datalist(tmp_path / "out", "test", fold=fold)) for fold in range(3)] == [1, 1, 1]
    assert main(["prepare", "nih", *options]) == 0
    assert capsys.readouterr().out.splitlines() == ["0 cases written, 3 kept, 1 skipped", *lines[1:]]


def test_nih_tells_labels_that_are_not_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path / "in", 1)
    write_case(tmp_path / "in", 2, flip=(1, 2))
    assert main(["prepare", "nih", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 0
    assert "orientations differ from case to case" in capsys.readouterr().out


def test_msd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_task(tmp_path)
    assert main(["prepare", "msd", "--input", str(tmp_path), "--task", "7", "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "5 labeled cases (folds: 1, 1, 1, 2), 1 without a label",
        "labels: 1 pancreas, 2 cancer; train on one of them, or several together, with --label_value",
        str(tmp_path / "out" / "dataset.json"),
    ]
    before = (folder / "dataset.json").read_text(encoding="utf-8")
    assert main(["prepare", "msd", "--input", str(folder), "--output", str(folder)]) == 1
    assert "--output must be another folder than the task's own" in capsys.readouterr().err
    assert (folder / "dataset.json").read_text(encoding="utf-8") == before


def test_msd_says_when_images_are_no_ct(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_task(tmp_path, modality={"0": "MRI"})
    assert main(["prepare", "msd", "--input", str(folder), "--output", str(tmp_path / "out")]) == 0
    assert "The images are MRI, not CT: the window" in capsys.readouterr().out


def test_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        case = tmp_path / "data" / f"s{number}"
        (case / "segmentations").mkdir(parents=True)
        write_nifti(case / "ct.nii.gz", np.zeros((4, 4, 4), np.int16))
        for organ in ("pancreas", "duodenum")[: 2 if number else 1]:
            write_nifti(case / "segmentations" / f"{organ}.nii.gz", np.ones((4, 4, 4), np.uint8))
    options = ["--images", str(tmp_path / "data"), "--labels", str(tmp_path / "data"), "--output", str(tmp_path / "o")]
    assert main(["prepare", "folders", *options, "--names", "pancreas", "duodenum=5", "--fold-seed", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "left out, images without a label: 1 (s0)",
        "voxels in several masks, given to the organ that is named last: 256",
        "4 labeled cases (folds: 1, 1, 1, 1), 0 without a label",
        "labels: 1 pancreas, 5 duodenum; train on one of them, or several together, with --label_value",
        str(tmp_path / "o" / "dataset.json"),
    ]
    content = json.loads((tmp_path / "o" / "dataset.json").read_text(encoding="utf-8"))
    assert (content["name"], content["labels"]) == ("o", {"0": "background", "1": "pancreas", "5": "duodenum"})
    assert {key: content["training"][0][key] for key in ("image", "label")} == {
        "image": "images/s1.nii.gz",  # all images are called ct.nii.gz: results would be, too
        "label": "labels/s1.nii.gz",
    }
    assert (tmp_path / "o" / "images" / "s1.nii.gz").resolve() == tmp_path / "data" / "s1" / "ct.nii.gz"
    assert sorted(case["fold"] for case in content["training"]) == [0, 1, 2, 3]
    assert main(["prepare", "folders", *options, "--names", "pancreas", "--image-pattern", "{case}"]) == 1
    assert "give --image-pattern and --label-pattern together" in capsys.readouterr().err


def test_folds_of_folders_are_those_of_patients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, value in (("images", np.int16), ("labels", np.uint8)):
        (tmp_path / kind).mkdir()
        for number in range(6):
            write_nifti(tmp_path / kind / f"s{number}.nii.gz", np.ones((4, 4, 4), value))
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\ns0,anna\ns1,ben\ns2,anna\ns3,cleo\ns4,ben\ns5,dora\n", encoding="utf-8")
    options = ["--images", str(tmp_path / "images"), "--labels", str(tmp_path / "labels"), "--names", "pancreas"]
    command = ["prepare", "folders", *options, "--output", str(tmp_path / "o"), "--folds", "2"]
    assert main([*command, "--patients", str(table)]) == 0
    entries = json.loads((tmp_path / "o" / "dataset.json").read_text(encoding="utf-8"))["training"]
    assert [(entry["patient"], entry["fold"]) for entry in entries] == [
        *(("anna", 0), ("ben", 0), ("anna", 0)),
        *(("cleo", 1), ("ben", 0), ("dora", 1)),
    ]
    for text, message in (
        ("case,patient\ns0,anna\ns0,ben\n", "the case 's0' is of two patients, 'anna' and 'ben'"),
        ("case,patient\ns0,anna\ns1,\n", "names no patient of the case 's1'"),
        ("case,patient\ns0,anna\n", "has no row of 5 cases: s1, s2"),
        ("case,name\ns0,anna\n", "must have the columns case and patient; without: patient"),
    ):
        table.write_text(text, encoding="utf-8")
        assert main([*command, "--patients", str(table)]) == 1
        assert message in capsys.readouterr().err


#: Code that prepares a data set and never ends.
SLOW = """
import sys, time
from c2f_monai.apps.cli import main
from c2f_monai.data import PREPARERS
from c2f_monai.utils import atomic_write

def slow(options):
    with atomic_write(options.output / "half.nii.gz"):
        yield "begun"
        time.sleep(600)

PREPARERS["nih"].prepare = slow
sys.exit(main(["prepare", "nih", "--input", "x", "--output", sys.argv[1]]))
"""


class Tarball(Preparer):
    """A data set of another kind: what a module of its own would hold."""

    help = "a tarball"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--archive", type=Path, required=True)

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        yield f"{options.archive} {options.output} {options.folds} {options.fold_seed}"


def test_a_further_data_set_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PREPARERS, "tarball", Tarball())
    assert main(["prepare", "tarball", "--archive", "a.tar", "--output", "out", "--fold-seed", "3"]) == 0
    assert capsys.readouterr().out == "a.tar out 4 3\n"


@pytest.mark.parametrize("kind", ["pseudo", "synthetic"])
def test_cases_of_every_fold_take_no_folds(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["prepare", kind, "--help"])
    assert stop.value.code == 0 and "--fold" not in capsys.readouterr().out


def _folders(tmp_path: Path, output: Path) -> list[str]:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir(exist_ok=True)
        write_nifti(tmp_path / kind / "s1.nii.gz", np.ones((4, 4, 4), np.uint8))
    places = ["--images", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    return ["prepare", "folders", *places, "--names", "pancreas", "--output", str(output)]


@pytest.mark.parametrize(
    ("text", "message"), [("{", "dataset.json is no readable JSON"), ("[]", "dataset.json must hold an object")]
)
def test_a_description_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "dataset.json").write_text(text, encoding="utf-8")
    assert main(_folders(tmp_path, tmp_path / "o")) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "o" / "dataset.json").read_text(encoding="utf-8") == text


def test_one_process_at_a_time_prepares_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holder = Command(["-c", HOLDS_THE_FOLDER, str(tmp_path / "o")], ROOT, stdout=tmp_path / "said")
    try:
        holder.wait_for_line("taken\n")
        assert main(_folders(tmp_path, tmp_path / "o")) == 1
        assert "another process writes to" in capsys.readouterr().err
        assert not (tmp_path / "o" / "dataset.json").exists()
    finally:
        holder.kill()
        holder.wait()
    assert main(_folders(tmp_path, tmp_path / "o")) == 0


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "o").touch()
    assert main(_folders(tmp_path, tmp_path / "o")) == 1
    assert f"{tmp_path / 'o'} is a file and no folder: choose another place" in capsys.readouterr().err


def test_a_run_without_a_result_leaves_no_folder(tmp_path: Path) -> None:
    assert main([*_folders(tmp_path, tmp_path / "o"), "--patients", str(tmp_path / "none.csv")]) == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_says_what_to_do_and_leaves_nothing_half(tmp_path: Path, number: int) -> None:
    run = Command(["-c", SLOW, str(tmp_path / "o")], ROOT, stdout=tmp_path / "out", stderr=tmp_path / "err")
    try:
        run.wait_for_line("begun\n")
        run.send_signal(number)
        assert run.wait(timeout=60) == 128 + number
    finally:
        run.kill()
        run.wait()
    assert "the same command does the rest" in (tmp_path / "err").read_text(encoding="utf-8")
    assert not (tmp_path / "o").exists()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of masks remembers, while runs end, are killed, or meet."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.data import Manifest
from c2f_monai.data.entries import entry_of, is_same
from c2f_monai.data.journal import Journal, _with_shared_keys
from c2f_monai.data.writers import MADE_BY, write_nifti
from c2f_monai.handlers.case_table import CaseTable
from tests.processes import ROOT, Command

HOLDS_THE_FOLDER = """
import signal, sys
from c2f_monai.data import Manifest
Manifest(sys.argv[1]).begin()
print("taken", flush=True)
signal.pause()
"""


def begin(folder: Path, number: int) -> tuple[Manifest, list[dict[str, str]]]:
    """A run over a number of images that has begun."""
    cases = [{"image": str(folder / f"{index}.nii"), "case": str(index)} for index in range(number)]
    for case in cases:
        if not Path(case["image"]).exists():  # a file that was touched since is another one
            Path(case["image"]).touch()
    manifest = Manifest(folder / "masks")
    manifest.tables.append(CaseTable(folder / "masks" / "cases.csv", manifest))
    todo = manifest.plan(cases)
    manifest.begin()
    return manifest, todo


def write_mask(folder: Path, name: str) -> None:
    write_nifti(folder / "masks" / f"{name}_seg.nii.gz", np.ones((2, 2, 2), np.uint8), np.eye(4), MADE_BY)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "masks" / "cases.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_case_adds_a_line_to_both_files(tmp_path: Path) -> None:
    manifest, _ = begin(tmp_path, 4)
    file = (tmp_path / "masks" / "manifest.json").read_bytes()
    for name in ("2", "0", "1"):
        write_mask(tmp_path, name)
        manifest.done(name, {"case": name, "rounds": int(name), **({"d_1": 0.5} if name == "0" else {})})
    assert {row["case"]: (row["rounds"], row["d_1"]) for row in table(tmp_path)} == {
        "0": ("0", "0.500000"),
        "1": ("1", ""),
        "2": ("2", ""),
    }
    assert (tmp_path / "masks" / "manifest.json").read_bytes() == file
    manifest.fail("3", ValueError("3.nii is empty"))
    assert [row["status"] for row in table(tmp_path)].count("failed") == 1
    manifest.close()
    assert [row["case"] for row in table(tmp_path)] == ["0", "1", "2", "3"]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir() if "seg" not in path.name) == [
        "cases.csv",
        "manifest.json",
    ]
    content = json.loads((tmp_path / "masks" / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["status"] for entry in content["cases"].values()] == ["done", "done", "done", "failed"]


def test_the_next_run_goes_on_from_the_lines_of_a_killed_one(tmp_path: Path) -> None:
    manifest, _ = begin(tmp_path, 3)
    write_mask(tmp_path, "1")
    manifest.done("1", {"case": "1", "rounds": 2})
    write_mask(tmp_path, "2")  # killed before its row
    with (tmp_path / "masks" / "manifest.0.jsonl").open("a", encoding="utf-8") as file:
        file.write('["2", {"status": "do')
    manifest._process.release()

    again, todo = begin(tmp_path, 3)
    assert [case["case"] for case in todo] == ["0", "2"]
    assert [row["case"] for row in table(tmp_path)] == ["1"]
    again.close()


@pytest.mark.parametrize(("alone", "expected"), [(False, ["0", "1"]), (True, ["1"])])
def test_a_run_that_is_alone_forgets_the_cases_of_others(tmp_path: Path, alone: bool, expected: list[str]) -> None:
    manifest, _ = begin(tmp_path, 1)
    write_mask(tmp_path, "0")
    manifest.done("0", {"case": "0", "rounds": 2})
    manifest.close()

    (tmp_path / "1.nii").touch()
    other = Manifest(tmp_path / "masks", alone=alone)
    other.tables.append(CaseTable(tmp_path / "masks" / "cases.csv", other))
    other.plan([{"image": str(tmp_path / "1.nii"), "case": "1"}])
    other.begin()
    write_mask(tmp_path, "1")
    other.done("1", {"case": "1", "rounds": 1})
    other.close()
    assert [row["case"] for row in table(tmp_path)] == expected
    assert (tmp_path / "masks" / "0_seg.nii.gz").is_file()


def test_lines_of_several_processes_are_read_as_they_come(tmp_path: Path) -> None:
    first, second = (Journal(tmp_path / "cases.json", rank, 2) for rank in (0, 1))
    first.begin({"cases": {"a": {"status": "pending"}, "b": {"status": "pending"}}})
    assert second.note("b", {"status": "done"}) == ["b"]
    assert first.note("a", {"status": "failed"}) == ["a", "b"]
    assert second.read() == {"cases": {"a": {"status": "failed"}, "b": {"status": "done"}}}


def test_a_folder_in_which_another_run_is_is_refused_until_that_is_killed(tmp_path: Path) -> None:
    holder = Command(["-c", HOLDS_THE_FOLDER, str(tmp_path / "masks")], ROOT, stdout=tmp_path / "said")
    try:
        holder.wait_for_line("taken\n")
        with pytest.raises(BlockingIOError, match=f"another process writes to {tmp_path / 'masks'}"):
            begin(tmp_path, 1)
    finally:
        holder.kill()
        holder.wait()
    begin(tmp_path, 1)[0].close()


def test_lines_of_a_journal_share_the_names_of_their_columns() -> None:
    one, other = (json.loads(line, object_pairs_hook=_with_shared_keys) for line in ('{"case_": 1}', '{"case_": 2}'))
    assert (one, other) == ({"case_": 1}, {"case_": 2})
    assert next(iter(one)) is next(iter(other))


def test_a_case_without_a_mask_has_failed_and_the_reason_names_its_image(tmp_path: Path) -> None:
    manifest, _ = begin(tmp_path, 2)
    manifest.done("0", {"case": "0"})
    manifest.fail("1", ValueError("no voxels"))
    reasons = {row["case"]: (row["status"], row["reason"]) for row in manifest.rows()}
    assert reasons["1"] == ("failed", f"{tmp_path}/1.nii: no voxels")
    assert reasons["0"] == ("failed", f"{tmp_path}/0.nii: {tmp_path}/masks/0_seg.nii.gz was not written.")
    assert manifest.failure().startswith(f"2 of 2 cases failed, see {tmp_path}/masks: {tmp_path}/0.nii: ")
    manifest.close()


def test_a_strict_run_ends_with_its_first_failure(tmp_path: Path) -> None:
    (tmp_path / "0.nii").touch()
    manifest = Manifest(tmp_path / "masks", strict=True)
    manifest.plan([{"image": str(tmp_path / "0.nii"), "case": "0"}])
    manifest.begin()
    with pytest.raises(ValueError, match="^no voxels$"):
        manifest.fail("0", ValueError("no voxels"))
    assert [row["status"] for row in manifest.rows()] == ["failed"]


def test_a_case_is_in_the_table_of_each_target_that_it_is_done_for(tmp_path: Path) -> None:
    manifest, _ = begin(tmp_path, 2)
    write_mask(tmp_path, "0")
    manifest.done("0", {"case": "0", "rounds": 2}, "organ")
    assert manifest.row("0", "cyst") is None and manifest.row("1", "organ") is None
    row = manifest.row("0", "organ")
    assert row is not None and (row["status"], row["rounds"]) == ("done", 2)
    manifest.close()


def test_a_case_whose_other_files_are_missing_is_done_again(tmp_path: Path) -> None:
    manifest, cases = begin(tmp_path, 2)
    for name in ("0", "1"):
        write_mask(tmp_path, name)
        manifest.done(name, {"case": name})
    manifest.close()
    again = Manifest(tmp_path / "masks")
    assert again.missing(cases) == [] == again.missing(cases, {"0", "1"})
    assert [case["case"] for case in again.missing(cases, {"0"})] == ["1"]
    anew = Manifest(tmp_path / "masks", overwrite=True)
    assert [case["case"] for case in anew.missing(cases)] == ["0", "1"]


def test_an_image_whose_place_an_older_one_takes_is_another(tmp_path: Path) -> None:
    case = {"case": "a", "image": str(tmp_path / "a.nii"), "label": str(tmp_path / "a_label.nii")}
    for path, time in ((case["image"], 100), (case["label"], 200)):
        Path(path).write_bytes(b"voxels")
        os.utime(path, (time, time))
    entry = entry_of(case)
    assert is_same(case, entry)
    os.utime(case["image"], (50, 50))  # of the same size, and older than the label all the time
    assert not is_same(case, entry)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("origin", ["by hand", MADE_BY])
def test_a_mask_never_takes_the_place_of_a_label(tmp_path: Path, overwrite: bool, origin: str) -> None:
    """Not even of one that says that a run made it, as a mask does that was corrected by hand."""
    label = tmp_path / "labels" / "p1_seg.nii.gz"
    write_nifti(label, np.ones((2, 2, 2), np.uint8), np.eye(4), origin)
    (tmp_path / "p1.nii").touch()
    (tmp_path / "link").symlink_to(tmp_path / "labels")
    cases = [{"image": str(tmp_path / "p1.nii"), "case": "p1", "label": str(tmp_path / "link" / label.name)}]
    with pytest.raises(ValueError, match="p1_seg.nii.gz is a label to score with: write to another folder"):
        Manifest(tmp_path / "labels", overwrite=overwrite).plan(cases)


@pytest.mark.parametrize("name", ["cases.csv", "cases_cyst.csv", "summary.json"])
def test_a_table_that_no_run_wrote_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("case,patient\n", encoding="utf-8")
    (tmp_path / "a.nii").touch()
    with pytest.raises(FileExistsError, match=f"{name} exists and no run in this folder wrote it: move it"):
        Manifest(tmp_path, overwrite=True).plan([{"image": str(tmp_path / "a.nii"), "case": "a"}])
    (tmp_path / name).unlink()
    manifest, _ = begin(tmp_path, 1)
    manifest.close()
    assert (tmp_path / "masks" / "cases.csv").is_file()
    begin(tmp_path, 1)[0].close()  # its own table is no other's


@pytest.mark.parametrize("origin", ["another program", MADE_BY])
def test_a_mask_that_was_changed_is_replaced_only_when_asked(tmp_path: Path, origin: str) -> None:
    manifest, _ = begin(tmp_path, 1)
    write_mask(tmp_path, "0")
    manifest.done("0", {"ml": 1.0}, beside=["/s.json"])
    manifest.close()
    assert manifest.beside() == {"0": ["/s.json"]}
    cases = [{"image": str(tmp_path / "0.nii"), "case": "0"}]
    assert Manifest(tmp_path / "masks").plan(cases, whole=[]) == cases  # it is the run's own
    mask = tmp_path / "masks" / "0_seg.nii.gz"
    write_nifti(mask, np.zeros((2, 2, 2), np.uint8), np.eye(4), origin)
    assert Manifest(tmp_path / "masks").missing(cases) == []  # done: nobody touches it
    with pytest.raises(ValueError, match="0_seg.nii.gz was changed since a run made it, and would be replaced"):
        Manifest(tmp_path / "masks").missing(cases, whole=[])
    os.utime(tmp_path / "0.nii", (1e9, 1e9))
    with pytest.raises(ValueError, match="0_seg.nii.gz was changed since a run made it"):
        Manifest(tmp_path / "masks").missing(cases)
    assert Manifest(tmp_path / "masks", overwrite=True).missing(cases) == cases

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of faults: what is right, what is not, and that nothing stops it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import command, training_data, weight_files
from benchmarks.faults.fault import Fault, UnexpectedError, refused


def fails(error: Exception) -> None:
    raise error


def unexpected(folder: Path) -> str:
    raise UnexpectedError("read as other weights")


FAKES = [
    Fault("files", "a bit", "refused", lambda folder: f"refused in {len(list(folder.iterdir()))} files", 200),
    Fault("files", "a byte", "refused", unexpected),
    Fault("files", "no file", "its place", lambda folder: f"no {folder}/ct.nii"),
    Fault("runs", "a crash | a kill", "goes on", lambda folder: fails(RuntimeError("broken\nhere"))),  # type: ignore[return-value]
]


def test_a_row_for_each_fault_whatever_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FAULTS", FAKES)
    assert command.main(["--output", str(tmp_path / "faults.md")]) == 1
    out = capsys.readouterr().out
    assert "ok    files: a bit: refused in 0 files (" in out and "WRONG runs: a crash | a kill: RuntimeError: " in out
    assert "203 faults in 4 rows, 2 not as expected" in out
    lines = (tmp_path / "faults.md").read_text(encoding="utf-8").splitlines()
    assert lines[4].startswith("203 faults in 4 rows, 2 not as expected, 0 minutes. Commit ")
    assert [line for line in lines if line.startswith(("## ", "| a ", "| no "))] == [
        "## Files",
        "| a bit | 200 | refused | refused in 0 files |",
        "| a byte | 1 | refused | **not as expected**: read as other weights |",
        "| no file | 1 | its place | no FOLDER/ct.nii |",
        "## Runs",
        "| a crash \\| a kill | 1 | goes on | **not as expected**: RuntimeError: broken here |",
    ]


def test_a_part_of_the_faults_writes_no_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "FAULTS", FAKES)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert command.main(["--part", "files", "--match", "bit"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_refused_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert refused(lambda: fails(ValueError(f"{path} is\nbad")), r"a\.pt is bad", tmp_path) == "refused: a.pt is bad"
    with pytest.raises(UnexpectedError, match="KeyError: 'a'"):
        refused(lambda: fails(KeyError("a")), "is bad", tmp_path)
    with pytest.raises(UnexpectedError, match="not refused"):
        refused(lambda: None, "", tmp_path)


@pytest.mark.parametrize("fault", [weight_files.FAULTS[-1], training_data.FAULTS[0]], ids=lambda fault: fault.name)
def test_a_fault_of_each_kind_is_answered_as_expected(fault: Fault, tmp_path: Path) -> None:
    assert fault.run(tmp_path).startswith("refused: ")


def test_no_two_rows_have_one_name() -> None:
    names = [(fault.part, fault.name) for fault in command.FAULTS]
    assert len(set(names)) == len(names)

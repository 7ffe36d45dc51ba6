# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad inputs and stopped runs: one of each kind here, all of them in ``make faults``."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from benchmarks.faults import folder_runs, inputs, tiny_inference
from benchmarks.faults.fault import UnexpectedError
from tests.processes import ROOT, Command, run_python

KINDS = ("a voxel of NaN", "a wrong checksum of gzip", "two slices at one place", "an MR beside", "a hidden image")


def segment(images: Path, output: Path, **options: Any) -> CompletedProcess[str]:
    return run_python(tiny_inference.command_of(images, output, **options)[1:], ROOT, tiny_inference.environment())


def start(images: Path, output: Path, log: Path) -> Command:
    return Command(tiny_inference.command_of(images, output)[1:], ROOT, tiny_inference.environment(), stderr=log)


@pytest.fixture(autouse=True)
def _processes_that_have_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (inputs, folder_runs):
        monkeypatch.setattr(module, "segment", segment)
    monkeypatch.setattr(folder_runs, "_start", start)


def test_a_bad_input_of_each_kind_between_good_ones(tmp_path: Path) -> None:
    chosen = [one for one in inputs.ODD if one.name in KINDS]
    assert len(chosen) == len(KINDS)
    found = inputs.run_night(chosen, tmp_path)
    for index, one in enumerate(chosen):
        assert one.told in inputs.answer(one, index, found)
    assert inputs.check_night(found).startswith(
        "2 good cases with the same masks, 1 odd ones done, 3 failed, 2 skipped"
    )
    with pytest.raises(UnexpectedError, match="^failed: .*its checksum is wrong"):
        inputs.answer(replace(chosen[0], status="done", told=""), 0, found)
    lost = next(row for row in found.rows if row["case"] == "i000_good")
    (found.output / "i000_good_seg.nii.gz").unlink()
    with pytest.raises(UnexpectedError, match="1 good cases have a row"):
        inputs.check_night(replace(found, rows=[row for row in found.rows if row is not lost]))


def test_a_stopped_run_and_a_full_disk(tmp_path: Path) -> None:
    for name in ("stopped", "full"):
        (tmp_path / name).mkdir()
    told = folder_runs.stopped(signal.SIGTERM, 1, 8, tmp_path / "stopped")
    assert re.match(r"1 runs ended within [0-4]\.\d s with one line and [1-7] of 8 cases done", told)
    assert "File too large" in folder_runs.full_disk(tmp_path / "full")


def test_a_short_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_runs, "SLOPE_KB", 4000.0)  # so few cases tell no slope
    assert "last mask identical to that of a fresh process" in folder_runs.soak(12, 2, tmp_path)


def test_there_are_sixty_bad_inputs_of_different_names() -> None:
    bad = {one.name for one in inputs.ODD if one.status in ("failed", "skipped")}
    assert len(bad) >= 60 and len({one.name for one in inputs.ODD}) == len(inputs.ODD)

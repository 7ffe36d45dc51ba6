# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ignite.engine import Engine

from c2f_monai.data import AtomicNiftiWriter
from c2f_monai.handlers import WriteInBackground


class Case:
    """A run that writes with one object as handler and as the writer's queue."""

    def __init__(self) -> None:
        self.writing = WriteInBackground()

    def write(self, path: Path, value: int) -> None:
        writer = AtomicNiftiWriter(output_dtype=np.uint8, submit=self.writing)
        writer.set_data_array(np.full((1, 3, 4, 5), value))
        writer.set_metadata({"affine": np.eye(4)})
        writer.write(str(path))

    def run(self, step, numbers: list[int]) -> None:
        engine = Engine(lambda _, number: step(number))
        self.writing.attach(engine)
        engine.run(numbers)


def test_all_files_are_there_when_the_run_ends(tmp_path: Path) -> None:
    case, threads = Case(), set()

    def step(number: int) -> None:
        case.writing(lambda: threads.add(threading.current_thread()))
        case.write(tmp_path / f"{number}.nii.gz", number)

    case.run(step, [1, 2, 3, 4])
    assert len(threads) == 1 and threading.current_thread() not in threads
    for number in (1, 2, 3, 4):
        assert np.unique(nib.load(tmp_path / f"{number}.nii.gz").dataobj).tolist() == [number]
    case.write(tmp_path / "alone.nii.gz", 9)  # outside a run: at once
    assert (tmp_path / "alone.nii.gz").is_file()


def test_without_the_handler_files_are_written_at_once(tmp_path: Path) -> None:
    Case().write(tmp_path / "alone.nii.gz", 9)
    assert (tmp_path / "alone.nii.gz").is_file()


def test_two_runs_do_not_share_their_files(tmp_path: Path) -> None:
    """A failed file of one run is no error of another that goes on beside it."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    inner, outer = Case(), Case()

    def step(number: int) -> None:
        with pytest.raises(OSError, match="file"):
            inner.run(lambda n: inner.write(tmp_path / "file" / "mask.nii.gz", n), [number])
        outer.write(tmp_path / f"{number}.nii.gz", number)

    outer.run(step, [1, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.nii.gz", "2.nii.gz", "file"]


def test_a_file_that_cannot_be_written_is_an_error_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    case = Case()
    with pytest.raises(OSError, match="file"):
        case.run(lambda number: case.write(tmp_path / "file" / "mask.nii.gz", number), [1])
    case.write(tmp_path / "after.nii.gz", 1)
    assert (tmp_path / "after.nii.gz").is_file()


def test_an_error_of_the_run_loses_no_finished_file(tmp_path: Path) -> None:
    case = Case()

    def step(number: int) -> None:
        if number == 3:
            raise ValueError("the third cannot be read")
        case.write(tmp_path / f"{number}.nii.gz", number)

    with pytest.raises(ValueError, match="the third cannot be read"):
        case.run(step, [1, 2, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.nii.gz", "2.nii.gz"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ignite.engine import Engine

from c2f_monai.data import AtomicNiftiWriter
from c2f_monai.handlers import WriteInBackground


def write(path: Path, value: int) -> None:
    writer = AtomicNiftiWriter(output_dtype=np.uint8)
    writer.set_data_array(np.full((1, 3, 4, 5), value))
    writer.set_metadata({"affine": np.eye(4)})
    writer.write(str(path))


def run(step, numbers: list[int]) -> None:
    engine = Engine(lambda _, number: step(number))
    WriteInBackground().attach(engine)
    engine.run(numbers)


def test_all_files_are_there_when_the_run_ends(tmp_path: Path) -> None:
    seen = []

    def step(number: int) -> None:
        seen.append(AtomicNiftiWriter.background is not None)
        write(tmp_path / f"{number}.nii.gz", number)

    run(step, [1, 2, 3, 4])
    assert seen == [True] * 4 and AtomicNiftiWriter.background is None
    for number in (1, 2, 3, 4):
        assert np.unique(nib.load(tmp_path / f"{number}.nii.gz").dataobj).tolist() == [number]
    write(tmp_path / "alone.nii.gz", 9)  # outside a run: at once
    assert (tmp_path / "alone.nii.gz").is_file()


def test_a_file_that_cannot_be_written_is_an_error_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        run(lambda number: write(tmp_path / "file" / "mask.nii.gz", number), [1])
    assert AtomicNiftiWriter.background is None


def test_an_error_of_the_run_loses_no_finished_file(tmp_path: Path) -> None:
    def step(number: int) -> None:
        if number == 3:
            raise ValueError("the third cannot be read")
        write(tmp_path / f"{number}.nii.gz", number)

    with pytest.raises(ValueError, match="the third cannot be read"):
        run(step, [1, 2, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.nii.gz", "2.nii.gz"]
    assert AtomicNiftiWriter.background is None

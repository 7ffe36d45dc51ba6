# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom's commands."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest

from c2f_monai.apps.cli import main


def test_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "p"
    options = ["--splits", "validation:1", "--size", "40,40,32", "--processes", "1"]
    assert main(["phantom", "make", "--output", str(folder), *options]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert (folder / "dataset.json").is_file()


def test_bad_input_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "make", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} exists already; remove it or choose another folder.\n"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--splits", "test", "splits must look like test:4,validation:2, got 'test'"),
        ("--splits", "test:x", "splits must look like test:4,validation:2, got 'test:x'"),
        ("--size", "64,64", "size must be three whole numbers such as 64,64,40, got '64,64'"),
    ],
)
def test_bad_options_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["phantom", "make", "--output", str(tmp_path / "p"), option, value])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(("planes", "told"), [(20, True), (24, False)])
def test_voxels_that_inference_refuses_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planes: int, told: bool
) -> None:
    """The field of view stays: the case's 96 slices are 211 mm, 10.6 mm a voxel in 20 planes and 8.8 in 24."""
    options = ["--splits", "training:1", "--size", f"40,40,{planes}", "--processes", "1"]
    assert main(["phantom", "make", "--output", str(tmp_path / "p"), *options]) == 0
    assert ("1 cases have voxels above 10 mm, which segment and evaluate" in capsys.readouterr().err) == told
    written = nib.load(tmp_path / "p" / "imagesTr" / "phantom_training_000.nii.gz").header.get_zooms()
    assert max(written) == pytest.approx(211.43 / planes, abs=0.01)

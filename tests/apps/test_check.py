# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The dry run's report, in numbers that are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from c2f_monai.apps.check import CheckOptions, network_line, room_lines, time_line
from c2f_monai.apps.cli import main
from c2f_monai.data.survey import CaseHeader
from tests.bundle.volumes import write_nifti

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle/configs"
BASE = ["--config_file", str(CONFIGS / "train.json"), str(CONFIGS / "three_views.json")]
BASE += ["--bundle_root", str(ROOT / "bundle")]


def write_set(root: Path, cases: int = 4, **change: Any) -> Path:
    """Volumes of 20x24x16 voxels of 2 mm, every other one stored as LPS, whose target is 5 % of the volume."""
    entries = []
    for number in range(cases):
        label = np.zeros((20, 24, 16), np.uint8)
        label[5:13, 6:14, 4:10] = 1
        label[5:7, 6:14, 4:10] = 2
        sign = 1 if number % 2 == 0 else -1
        affine = np.diag([2.0 * sign, 2.0 * sign, 2.0, 1.0])
        entry = {"image": f"c{number}.nii.gz", "label": f"l{number}.nii.gz", "fold": number % 4}
        write_nifti(root / entry["image"], np.random.default_rng(number).integers(-99, 99, label.shape, "i2"), affine)
        write_nifti(root / entry["label"], label, affine)
        entries.append(entry)
    (root / "dataset.json").write_text(json.dumps({"training": entries} | change), encoding="utf-8")
    return root


def settings(**change: Any) -> CheckOptions:
    base: dict[str, Any] = {"fold": None, "holdout": 0.2, "pixdim": None, "label_value": [1], "views": ["axial"] * 3}
    base |= {"cache_dir": None, "epochs": 10, "items_per_epoch": 25, "batch_size": 4}
    return CheckOptions(**base | change)


def test_the_report_of_a_good_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--option", "fold=1", "--option", "pixdim=[4.0, 4.0, 4.0]", "--option", "items_per_epoch=30"]
    options += ["--option", "epochs=27"]
    names = {"0": "background", "1": "organ", "2": "tumor", "3": "vessel"}
    folder = write_set(tmp_path, labels=names)
    assert (
        main(["check", "--dataset_dir", str(folder), *BASE, *options, "--voxels", "--seconds-per-iteration", "9"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[:10] == [
        "cases: training 2, validation 1, test 1",
        "voxels R, A, S:       20..20, 24..24, 16..16",
        "spacing R, A, S [mm]: 2..2, 2..2, 2..2",
        "working grid:         11..11, 13..13, 9..9 at [4.0, 4.0, 4.0] mm",
        "orientations: RAS 2, LPS 2",
        "without a label: 0; other problems: 0",
        "target: 1 organ, 2 tumor; other labels: 3 vessel",
        "label values: 0 in 3 cases, 1 in 3 cases, 2 in 3 cases",
        "foreground: 5 / 5 / 5 % of the volume (least / median / most), none in 0 cases",
        "problems in voxels: 0; images in two splits: 0",
    ]
    # 27 epochs of 30 items in batches of 8.
    assert lines[-1] == "training: 27 epochs, 108 iterations of 8 slabs of each view; 0.27 hours at 9 s (given), " + (
        "without validation"
    )


def test_problems_are_listed_and_end_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path, 6, test=["c6.nii.gz"])
    (folder / "c6.nii.gz").write_bytes((folder / "c0.nii.gz").read_bytes())
    (folder / "l0.nii.gz").unlink()
    write_nifti(folder / "l3.nii.gz", np.zeros((20, 24, 15), np.uint8))
    assert main(["check", "--dataset_dir", str(folder), *BASE]) == 1
    out, error = capsys.readouterr()
    assert "without a label: 1; other problems: 2" in out
    assert f"  training c0: image {folder / 'l0.nii.gz'} does not exist." in out
    assert "  validation c3: " in out and "l3.nii.gz has the shape (20, 24, 15), but its image " in out
    assert "  test c6: it has no label" in out
    assert (
        "foreground: not known from headers, add --voxels" in out
        and "give --seconds-per-iteration, or --measure 30" in out
    )
    assert error == "error: training would stop at 2 cases: c0, c3.\n"


def test_voxels_that_training_would_stop_at_are_all_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path, 6, labels={"background": 0, "organ": 1, "tumor": 2})  # as nnU-Net has it
    affine, label = np.diag([-2.0, -2.0, 2.0, 1.0]), np.zeros((20, 24, 16), np.float32)
    label[:, 0, 0] = np.nan
    write_nifti(folder / "l1.nii.gz", label, affine)
    write_nifti(folder / "c1.nii.gz", np.full(label.shape, 7, np.int16), affine)
    (folder / "l3.nii.gz").write_bytes((folder / "c3.nii.gz").read_bytes())
    (folder / "c5.nii.gz").write_bytes((folder / "c0.nii.gz").read_bytes())
    write_nifti(folder / "l5.nii.gz", np.full(label.shape, 255, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    options = ["--option", "fold=1"]  # which tests c1 and c5
    assert main(["check", "--dataset_dir", str(folder), *BASE, "--voxels", *options]) == 1
    out, error = capsys.readouterr()
    assert "problems in voxels: 1; images in two splits: 1\n" in out
    assert f"  {folder / 'c5.nii.gz'} is the same file as {folder / 'c0.nii.gz'}\n" in out
    assert main(["check", "--dataset_dir", str(folder), *BASE, "--voxels"]) == 1
    out, error = capsys.readouterr()
    assert "problems in voxels: 4; images in two splits: 0\n" in out
    assert f"  c1: {folder / 'l1.nii.gz'} holds nan in 20 voxels, which is neither background (0) nor a known" in out
    assert f"  c1: {folder / 'c1.nii.gz'}: every voxel is 7" in out
    assert f"  c3: {folder / 'l3.nii.gz'} holds 198 different values from -99 to 98: is it an image?" in out
    assert f"  c5: {folder / 'l5.nii.gz'} holds 255 in 7680 voxels, which is neither background" in out
    assert error == "error: training would stop at 3 cases: c1, c5, c3.\n"


@pytest.mark.parametrize(
    ("label_value", "target"),
    [("[10]", "10 spleen"), ("[[4], [10, 11]]", "4 without a name, 10 spleen, 11 without a name")],
)
def test_a_target_that_no_label_holds_ends_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], label_value: str, target: str
) -> None:
    folder = write_set(tmp_path, labels={"0": "background", "1": "a", "2": "b", "10": "spleen"})
    options = ["--option", f"label_value={label_value}", "--option", f"classes={2 if '[[' in label_value else 1}"]
    assert main(["check", "--dataset_dir", str(folder), *BASE, "--voxels", *options]) == 1
    out, error = capsys.readouterr()
    assert (
        f"target: {target}; other labels: 1 a, 2 b\n" in out
        and "foreground: 0 / 0 / 0 %" in out
        and "none in 4 cases" in out
    )
    assert error.startswith("error: no label holds the target [") and error.endswith("]: set label_value.\n")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("margn=5", "margn is no id of the configuration: did you mean margin"),
        ("train#trainr#max_epochs=5", "there is no train#trainr in it"),
        ("label_value=[[1],[2]]", "is of 2 targets, but classes is 1"),
        ("overlays=true", "overlays has no effect in this configuration"),
    ],
)
def test_an_option_that_cannot_be_meant_is_one_line(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--dataset_dir", str(write_set(tmp_path)), *BASE, "--option", option]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and message in error and error.count("\n") == 1


def test_the_memory_of_the_network_is_counted() -> None:
    """One convolution of 3x3 with bias, from 3 to 100,000 channels: 2.8 million weights of 4 bytes."""
    parser = ConfigParser({"network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 3, "kernel_size": 3}})
    parser["network_def#out_channels"] = 100_000
    assert network_line(parser) == (
        "network: 2.8 million weights; with gradients and the optimizer 0.0336 GB (SGD) or 0.0448 GB (Adam) of the "
        "device's memory, activations aside"
    )


def test_the_time_is_measured_by_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path)
    tiny = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "views": ["axial"], "min_pixels": 1, "min_size": 32}
    tiny |= {"batch_size": 1, "items_per_epoch": 3, "crop_multiple": 8, "slab_multiple": 32, "train_amp_dtype": None}
    tiny |= {"output_dir": str(tmp_path / "out"), "pixdim": None}
    options = [part for key, value in tiny.items() for part in ("--option", f"{key}={value}")]
    assert main(["check", "--dataset_dir", str(folder), *BASE, *options, "--measure", "0.5"]) == 0
    assert "s (measured), without validation" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "expected"), [("2", [2]), ("[1,2]", [1, 2]), ("[[1],[2]]", [1, 2])])
def test_the_target_is_one_value_or_several_or_one_list_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, expected: list[int]
) -> None:
    options = ["--option", f"label_value={value}", "--option", "pixdim=None"]
    options += ["--option", f"classes={2 if '[[' in value else 1}"]
    assert main(["check", "--dataset_dir", str(write_set(tmp_path)), *BASE, *options]) == 0
    assert f"target: {', '.join(f'{one} without a name' for one in expected)}\n" in capsys.readouterr().out


def test_why_training_cannot_be_measured_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 x 8 pixels of target in the largest slice, of which the configuration asks for 100."""
    options = ["--option", "pixdim=None", "--option", "min_pixels=100", "--measure", "0.5"]
    assert main(["check", "--dataset_dir", str(write_set(tmp_path)), *BASE, *options]) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .splitlines()[-1]
        .startswith(
            "error: training cannot be measured: no sagittal slice of the 1 training cases has 100 target pixels"
        )
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "seconds", "expected"),
    [
        ({}, 36.0, "10 epochs, 70 iterations of 4 slabs of each view; 0.7 hours at 36 s (given), without validation"),
        ({"batch_size": 5}, None, "50 iterations of 5 slabs of each view; time: give --seconds-per-iteration"),
        ({"items_per_epoch": None}, 1.0, "training time: not known, items_per_epoch is null"),
    ],
)
def test_time(change: dict, seconds: float | None, expected: str) -> None:
    assert expected in time_line(settings(**change), seconds, "given")


def test_room_of_the_published_data() -> None:
    """82 volumes of 512x512x240: 62.9 million voxels each, 3 bytes in memory and 9 on disk."""
    headers = {"training": [CaseHeader("a", "", (512, 512, 240), (0.8, 0.8, 1.0), "LPS")] * 82}
    lines = room_lines(headers, settings())
    assert lines[0] == "training volumes: 15.5 GB of memory, or 46.4 GB of disk with cache_dir"
    assert lines[1].startswith("memory for them while reading: about 17.5 GB of")
    headers = {"training": headers["training"] * 10_000}
    lines = room_lines(headers, settings(cache_dir="/nowhere/cache"))
    assert lines[1].startswith("cache_dir /nowhere/cache: ") and lines[1].endswith("GB free, not enough")
    assert lines[2].startswith("memory for them while reading: about 2.01 GB of")


def test_an_option_without_a_value_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--dataset_dir", str(write_set(tmp_path)), *BASE, "--option", "fold"]) == 1
    assert "--option takes ID=VALUE, got 'fold'" in capsys.readouterr().err


def test_images_of_two_folders_that_are_called_alike_are_both_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path, 6)
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    (folder / "other").mkdir()
    content["training"].append({})
    for key, values in (("image", np.full((20, 24, 16), 7, np.int16)), ("label", np.zeros((20, 24, 16), np.uint8))):
        name = content["training"][0][key]
        write_nifti(folder / "other" / name, values, np.diag([-2.0, -2.0, 2.0, 1.0]))
        content["training"][-1][key] = f"other/{name}"
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["check", "--dataset_dir", str(folder), *BASE, "--voxels"]) == 1
    assert f"{folder / 'other' / name.replace('l', 'c')}: every voxel is 7" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["nan", "-1", "0", "inf"])
@pytest.mark.parametrize("option", ["--seconds-per-iteration", "--measure"])
def test_a_time_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert main(["check", "--dataset-dir", str(write_set(tmp_path)), *BASE, option, value]) == 1
    assert f"{option} must be a number of seconds above 0, got {value}" in capsys.readouterr().err

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Views alone and fused on labeled volumes, and the HU of tissues: numbers that a reader can check by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.real import views
from benchmarks.real.command import main
from benchmarks.real.tissues import measure_fat, measure_slices
from benchmarks.real.views import table_lines
from c2f_monai.apps.cli import main as c2f
from c2f_monai.apps.segmenter import Segmentation
from c2f_monai.data.readers import read_image


class _Model:
    """Answers with the image, scaled; 1 becomes a probability."""

    def __init__(self, name: str) -> None:
        self.factor, self.weights = {"axial": 1.0, "sagittal": 0.6, "coronal": 0.4}[name], {f"{name}.pt": "0" * 64}

    def __call__(self, image: Any, probability: bool = False) -> Segmentation:
        read: Any = read_image(image)
        return Segmentation(read[0] > 0, None, read * self.factor)  # type: ignore[arg-type]


def test_views_are_scored_alone_and_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "Segmenter", _Model)
    image = np.zeros((8, 4, 4), np.float32)
    image[:4], image[4:6] = 1.0, 0.9  # axial finds both, sagittal both, coronal none; the mean of the second is 0.6
    label = np.zeros((8, 4, 4), np.uint8)
    label[:4] = 3
    for name, volume in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / f"{name}.nii.gz")
    case = {"image": "image.nii.gz", "label": "label.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"validation": [case], "training": [case | {"image": "x.nii"}]}))
    given = [word for name in ("axial", "sagittal", "coronal") for word in ("--view", f"{name}={name}")]
    words = ["views", "--data", str(tmp_path), "--label-value", "3", "--output", str(tmp_path / "out"), *given]
    assert main(words) == 0
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8").splitlines()
    found = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in table[2:]}
    both = "80.00±0.00"  # 2 * 64 / (64 + 96)
    assert found == {"axial": both, "sagittal": both, "coronal": "0.00±0.00", "mean": both, "vote": both}
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["cases"] == 1 and result["views"]["axial"] == {"axial.pt": "0" * 64}


def test_cases_without_the_target_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have no DSC: with no foreground found either, they counted as a miss of the whole target."""
    monkeypatch.setattr(views, "Segmenter", _Model)
    volume = np.zeros((8, 4, 4), np.float32)
    names = ("image", "label", "bare_image", "bare_label")
    for name, value in zip(names, (1, 1, 0, 0), strict=True):
        volume[:4] = value
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / f"{name}.nii.gz")
    cases = [{"image": f"{of}image.nii.gz", "label": f"{of}label.nii.gz"} for of in ("", "bare_")]
    (tmp_path / "dataset.json").write_text(json.dumps({"validation": cases, "training": []}))
    words = ["views", "--data", str(tmp_path), "--view", "axial=axial", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| axial | 100.00±0.00 | 100.00 | 100.00 |" in text
    assert "\nCases without the target, left out: 1 (bare_image).\n" in text
    assert json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["cases"] == 1
    capsys.readouterr()
    assert main([*words, "--label-value", "7"]) == 1
    assert "none of the 2 cases has the target: give its --label-value" in capsys.readouterr().err


def test_differences_are_from_the_first_form() -> None:
    scores = {"axial": (0.5, 0.7), "mean": (0.6, 0.9)}
    rows = [{"form": form, "dsc": dsc, "seconds": 2.0} for form, found in scores.items() for dsc in found]
    assert table_lines(rows)[2:] == [
        "| axial | 60.00±10.00 | 50.00 | 70.00 |  |  | 2.0 |",
        "| mean | 75.00±15.00 | 60.00 | 90.00 | +15.00 [+10.00, +20.00] | 2/0/0 | 2.0 |",
    ]


def test_one_case_has_no_interval() -> None:
    rows = [{"form": form, "dsc": dsc, "seconds": 2.0} for form, dsc in (("axial", 0.5), ("vote", 0.6))]
    assert table_lines(rows)[3] == "| vote | 60.00±0.00 | 60.00 | 60.00 | +10.00 | 1/0/0 | 2.0 |"


def test_a_view_needs_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["views", "--data", str(tmp_path), "--view", "axial", "--output", str(tmp_path / "out")]) == 1
    assert "--view takes NAME=MODEL, got 'axial'" in capsys.readouterr().err


def test_tissues_are_measured_away_from_their_edges() -> None:
    mask = np.zeros((40, 40, 2), bool)
    mask[14:26, 14:26] = True
    image = np.where(mask, 90, -100).astype(np.int16)
    image[14, 14:26] = 0  # partial volume at the edge
    image[30:38] = 60  # soft tissue beyond fat
    found = measure_slices(image, mask)
    assert found["pancreas"] == {"mean": 90.0, "sd": 0.0}
    assert found["soft tissue around"] == {"mean": 60.0, "sd": 0.0}
    assert measure_fat(image) == {"mean": -100.0, "sd": 0.0}


def test_synthetic_and_pseudo_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        c2f(["prepare", "--help"])
    text = capsys.readouterr().out
    assert "pseudo" in text and "synthetic" in text


def test_fusing_needs_no_copy_of_a_view() -> None:
    """The views' own answers are as they were."""
    answers = {name: torch.full((1, 2, 2, 2), p) for name, p in (("a", 0.9), ("b", 0.4))}
    views.forms_of(answers)
    assert float(answers["a"].mean()) == pytest.approx(0.9) and float(answers["b"].mean()) == pytest.approx(0.4)

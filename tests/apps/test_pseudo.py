# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels that a model makes: which are kept, what the data set says of them, what is refused before work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.data.datalist import load_datalist
from c2f_monai.data.phantom import write_phantom
from c2f_monai.data.writers import made_here

QUICK = {"pixdim": [3.0, 3.0, 3.0], "max_rounds": 1, "stop_dice": None}
MODEL = ("--model", "phantom-rstn", "--device", "cpu", *(f"--option={key}={value}" for key, value in QUICK.items()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms called alike, and a volume of noise without a body."""
    folder = tmp_path_factory.mktemp("cts")
    phantom = write_phantom(folder / "phantom", {"test": 2}, (64, 64, 40), processes=1)
    for number in range(2):
        (folder / "in" / f"p{number}").mkdir(parents=True)
        shutil.copy(
            phantom / "imagesTs" / f"phantom_test_00{number}.nii.gz", folder / "in" / f"p{number}" / "ct.nii.gz"
        )
    noise = np.random.default_rng(0).integers(-1000, -900, (40, 40, 24), np.int16)
    nib.save(nib.Nifti1Image(noise, np.diag([4.0, 4.0, 4.0, 1.0])), folder / "in" / "air.nii.gz")
    return folder


def _prepare(folder: Path, output: Path, *words: str) -> int:
    return main(["prepare", "pseudo", "--input", str(folder / "in"), "--output", str(output), *MODEL, *words])


def _content(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "dataset.json").read_text(encoding="utf-8"))
    return content


def test_answers_above_the_threshold_are_labels_with_their_origin(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prepare(folder, tmp_path / "out", "--min-dsc", "0") == 0
    content, lines = _content(tmp_path / "out"), capsys.readouterr().out.splitlines()
    assert lines[0] == "air: 0.0 ml, nothing found, left out, nothing found"
    assert lines[3] == "2 of 3 answers kept as labels, trained on in every fold and never tested"
    assert lines[-1] == str(tmp_path / "out" / "dataset.json")
    assert content["left_out"] == {"air": "nothing found"} and content["labels"]["1"] == "pancreas"
    cases = load_datalist(tmp_path / "out", "training", holdout=0)
    assert [case["fold"] for case in cases] == [None, None]
    segmenter = Segmenter("phantom-rstn", "cpu", options=QUICK)
    assert content["pseudo_labels"]["weights"] == segmenter.origin.weights
    for number, case in enumerate(cases):
        original = folder / "in" / f"p{number}" / "ct.nii.gz"
        assert Path(case["image"]) == tmp_path / "out" / "images" / f"p{number}_ct.nii.gz"
        assert Path(case["image"]).resolve() == original.resolve()
        assert made_here(case["label"]) and case["label_origin"].endswith("phantom-rstn")
        if number:  # one is enough
            continue
        result = segmenter(original)
        np.testing.assert_array_equal(nib.load(case["label"]).dataobj, result.mask.numpy())
        assert result.record.predicted is not None
        assert case["predicted_dsc"] == pytest.approx(result.record.predicted[0], abs=1e-4)
    between = sum(case["predicted_dsc"] for case in cases) / 2
    assert _prepare(folder, tmp_path / "half", "--min-dsc", f"{between:.6f}") == 0
    kept = _content(tmp_path / "half")["training"]
    assert [case["predicted_dsc"] for case in kept] == [max(case["predicted_dsc"] for case in cases)]


def test_labeled_cases_are_listed_beside_and_not_segmented_again(folder: Path, tmp_path: Path) -> None:
    labeled = tmp_path / "labeled"
    labeled.mkdir()
    label = labeled / "label.nii.gz"
    image = folder / "in" / "p0" / "ct.nii.gz"
    shape = nib.load(image).shape
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), nib.load(image).affine), label)
    entry = {"image": str(image), "label": "label.nii.gz", "fold": 0}
    names = {"0": "background", "1": "organ"}
    (labeled / "dataset.json").write_text(json.dumps({"name": "l", "labels": names, "training": [entry]}))
    assert _prepare(folder, tmp_path / "out", "--min-dsc", "0", "--add-to", str(labeled)) == 0
    content = _content(tmp_path / "out")
    assert content["labels"] == names  # the data set's own name of the value
    first, second = content["training"]
    assert (first["image"], first["label"], first["fold"]) == (str(image), str(label), 0)
    assert second["image"].endswith("p1_ct.nii.gz") and second["fold"] is None
    words = ("--min-dsc", "0", "--add-to", str(labeled), "--option", "output_value=7")
    assert _prepare(folder, tmp_path / "seven", *words) == 1
    assert not (tmp_path / "seven").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--min-dsc", "1.5"), "--min-dsc must be a DSC from 0 to 1, got 1.5"),
        (("--min-dsc", "0.5", "--model", "no_such_model"), "there is no model no_such_model"),
        (("--min-dsc", "0.5", "--option", "quality=null"), None),
        (("--min-dsc", "0.5", "--add-to", "nowhere"), "nowhere does not exist"),
        (("--min-dsc", "0", "--input", "air"), "none of the 1 answers is kept"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_made(
    words: tuple[str, ...], error: str | None, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tuple(str(folder / "in" / "air.nii.gz") if word == "air" else word for word in words)
    if error is None:
        weights = tmp_path / "own.pt"  # without a quality model beside it
        shutil.copy(Path(Segmenter("phantom-rstn", "cpu").files), weights)
        words = ("--min-dsc", "0.5", "--model", str(weights), "--config", "three_views.json")
        error = "predicts no DSC: fit a prediction with c2f evaluate --calibrate"
    assert _prepare(folder, tmp_path / "out", *words) == 1
    assert error in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_folder_of_the_images_is_not_written_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prepare(folder, folder / "in" / "out", "--min-dsc", "0") == 1
    assert "choose another one" in capsys.readouterr().err
    (tmp_path / "dataset.json").write_text('{"name": "other", "training": []}')
    assert _prepare(folder, tmp_path, "--min-dsc", "0") == 1
    assert "describes a data set of another kind" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Diagnosis of given weights: the evaluations are run in this process, with a tiny network."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from c2f_monai.apps import diagnose
from c2f_monai.apps.cli import main
from tests.bundle.overlays import ROOT, run_bundle, write_organs


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return write_organs(tmp_path / "data")


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the folders that an evaluation was run into, in a process that the tests share; a second evaluation into
    a folder has the files of the first one."""
    names: list[str] = []
    first: dict[str, Path] = {}
    kept = tmp_path_factory.mktemp("kept")

    def evaluate(files: Sequence[Path], options: Mapping[str, Any], folder: Path) -> Path:
        names.append(folder.name)
        if folder.name in first:
            return Path(shutil.copytree(first[folder.name], folder, dirs_exist_ok=True), "cases.csv")
        own = {key: value for key, value in options.items() if key not in ("bundle_root", "dataset_dir")}
        # The settings beside the weights come before what the command adds; here they say the same.
        assert [f.stem for f in files[:3]] == ["train", "model", "three_views"]
        run_bundle(
            tuple(f.stem for f in files if f.stem != "model"),
            Path(options["dataset_dir"]),
            folder,
            **{"max_rounds": 10, **own},
        )
        first[folder.name] = Path(shutil.copytree(folder, kept / folder.name))
        return folder / "cases.csv"

    monkeypatch.setattr(diagnose, "evaluate", evaluate)
    return names


def test_weights_are_diagnosed_once(
    dataset: Path, evaluated: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_bundle(("train", "three_views"), dataset, tmp_path / "training", views=["axial", "coronal"])
    weights, output = tmp_path / "training" / "model.pt", tmp_path / "out"
    words = ["diagnose", "--weights", str(weights), "--dataset_dir", str(dataset), "--output", str(output)]
    words += ["--bundle_root", str(ROOT / "bundle"), "--overlay", str(ROOT / "bundle/configs/three_views.json")]
    words += ["--option", "views=['axial','coronal']"]
    assert main(words) == 0
    assert evaluated == ["coarse_axial", "coarse_coronal", "rounds", "oracle_box"]
    text = (output / "table.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    with (output / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert list(rows) == [
        *("coarse, axial", "coarse, coronal", "coarse"),
        *("1 round", "2 rounds", "3 rounds", "5 rounds", "10 rounds"),
        *("d >= 0.90", "d >= 0.95", "d >= 0.98", "d >= 0.99", "best of all rounds", "oracle box"),
    ]
    assert {row["cases"] for row in rows.values()} == {"2"}
    with (output / "rounds" / "cases.csv").open(newline="", encoding="utf-8") as file:
        cases = list(csv.DictReader(file))
    mean = sum(float(case["dsc_round_0"]) for case in cases) / 2
    assert float(rows["coarse"]["mean"]) == pytest.approx(mean, abs=1e-6)
    assert f"| coarse | {100 * mean:.2f}±" in text
    for name in ("box.png", "convergence.png", *(f"rounds/{case['case']}_rounds.png" for case in cases)):
        assert f"[{name}]({name})" in text and (output / name).is_file()

    evaluated.clear()
    assert main(words) == 0 and evaluated == []
    (output / "oracle_box" / "evaluation.json").unlink()  # killed before its end
    assert main(words) == 0 and evaluated == ["oracle_box"]
    evaluated.clear()
    assert main([*words, "--option", "fusion=vote"]) == 0 and len(evaluated) == 4
    evaluated.clear()
    beside = weights.with_suffix(".json")
    beside.write_text(beside.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert main([*words, "--option", "fusion=vote"]) == 0 and len(evaluated) == 4
    evaluated.clear()
    weights.write_bytes(weights.read_bytes() + b" ")
    assert main([*words, "--option", "fusion=vote"]) == 0 and len(evaluated) == 4


def write_table(folder: Path) -> Path:
    """A table of cases with all that is read from it, in the place of an evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    rounds = {f"dsc_round_{t}": "0.5" for t in range(11)} | {f"inter_dsc_round_{t}": "0.9" for t in range(1, 11)}
    row = {"case": "a", "label_voxels": "5", "stop_reason": "max_rounds", **rounds}
    text = "\n".join([",".join(row), ",".join(row.values()), ""])
    (folder / "cases.csv").write_text(text, encoding="utf-8")
    return folder / "cases.csv"


def test_what_was_edited_since_is_evaluated_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is the same: paths stay where the files behind them change."""
    names: list[str] = []

    def evaluate(files: Sequence[Path], options: Mapping[str, Any], folder: Path) -> Path:
        names.append(folder.name)
        return write_table(folder)

    monkeypatch.setattr(diagnose, "evaluate", evaluate)
    monkeypatch.setattr(diagnose, "_write", lambda folder, *rest: folder / "rounds" / "cases.csv")  # figures take long
    root = Path(shutil.copytree(ROOT / "bundle", tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "data")))
    overlay, listed, image = tmp_path / "overlay.json", dataset / "dataset.json", dataset / "test0.nii.gz"
    overlay.write_text('{"margin": 10}', encoding="utf-8")
    (weights := tmp_path / "model.pt").write_bytes(b"weights")
    words = ["diagnose", "--weights", str(weights), "--dataset_dir", str(dataset), "--output", str(tmp_path / "out")]
    words += ["--bundle_root", str(root), "--overlay", str(overlay)]
    everything = ["coarse_axial", "rounds", "oracle_box"]

    def evaluated() -> list[str]:
        names.clear()
        assert main(words) == 0
        return [*names]

    def rewrite(path: Path) -> None:
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")

    assert evaluated() == everything and evaluated() == []
    overlay.write_text('{"margin": 20}', encoding="utf-8")
    assert evaluated() == everything and evaluated() == []
    rewrite(listed)
    assert evaluated() == everything and evaluated() == []
    for path in (image, dataset / "test0_label.nii.gz"):
        os.utime(path, ns=(1, 2))
        assert evaluated() == everything and evaluated() == []
    os.utime(dataset / "training0.nii.gz", ns=(1, 2))  # which is not evaluated
    assert evaluated() == []
    rewrite(root / "configs" / "oracle_box.json")
    assert evaluated() == ["oracle_box"] and evaluated() == []
    monkeypatch.setattr(diagnose, "package_version", lambda: "99.0")
    assert evaluated() == everything and evaluated() == []


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights := tmp_path / "model.pt").write_bytes(b"weights")
    words = ["diagnose", "--weights", str(weights), "--dataset_dir", str(tmp_path / "none")]
    assert main([*words, "--bundle_root", str(ROOT / "bundle"), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: dataset_dir {tmp_path / 'none'} does not exist") and error.count("\n") == 1


def test_what_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights := tmp_path / "model.pt").touch()
    for option, path, kind in (
        ("--weights", tmp_path / "none.pt", "file"),
        ("--overlay", tmp_path / "none.json", "configuration"),
        ("--bundle_root", tmp_path, "file"),
    ):
        words = {"--weights": weights, "--bundle_root": ROOT / "bundle", option: path}
        assert main(["diagnose", *(str(word) for pair in words.items() for word in pair)]) == 1
        assert capsys.readouterr().err.startswith(f"error: there is no {kind} {path}")


def test_a_target_that_no_case_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,dsc_round_0,label_voxels,stop_reason\na,1.0,0,empty\n", encoding="utf-8")
    with pytest.raises(ValueError, match="none of the 1 cases has the target: set --option label_value"):
        diagnose._read_curves(tmp_path / "cases.csv")

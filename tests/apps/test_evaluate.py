# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One command segments labeled cases and prints their scores: a data set, two folders, stacks of slices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.apps import score
from c2f_monai.apps.cli import main
from c2f_monai.apps.evaluate import calibrate, signals_in
from c2f_monai.inferers import read_quality
from c2f_monai.metrics.tables import CaseRow, read_cases
from c2f_monai.utils import sha256_of
from tests.bundle.overlays import NETWORK, run_bundle, write_organs

KINDS = (("image", ""), ("label", "_label"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def words(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a tiny network after one step of training."""
    folder = tmp_path_factory.mktemp("training")
    run_bundle(("train", "three_views"), dataset, folder)
    options = {**NETWORK, "views": ["axial"], "progress": False}
    given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    return ["evaluate", "--model", str(folder / "model.pt"), "--config", "three_views.json", *given]


def test_the_scores_are_those_of_the_written_masks(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--dataset", str(dataset), "--output", str(tmp_path / "out")]) == 0
    cases = read_cases(tmp_path / "out" / "cases.csv")
    assert list(cases) == ["test0", "test1"]
    printed = capsys.readouterr().out
    masks = ["--pred", tmp_path / "out", "--suffix", "_seg", "--output", tmp_path / "scores.csv"]
    truth = ["--label", dataset / "dataset.json", "--label-value", "1", "2"]
    again = score.score_folder(tmp_path / "out", score.read_truths(dataset / "dataset.json"), [1, 2], "_seg")
    for name, found in again.items():
        assert found.dsc is not None and cases[name].number("dsc") == pytest.approx(found.dsc, abs=1e-6)
        assert cases[name].number("hd95") == pytest.approx(found.hd95, abs=1e-5)
    assert main(["score", *map(str, (*masks, *truth))]) == 0
    target, *lines = capsys.readouterr().out.splitlines()[:3]
    assert target == "target: label values 1, 2 as one; --label-value chooses others"
    assert lines[0].startswith("all: DSC [%] ") and lines[1].startswith("all: HD95 [mm] ")
    assert all(line in printed for line in lines)


def test_two_folders_are_a_data_set(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, ending in (("images", ""), ("labels", "_label")):
        (tmp_path / kind).mkdir()
        for case in ("test0", "test1"):
            shutil.copy(dataset / f"{case}{ending}.nii.gz", tmp_path / kind / f"{case}.nii.gz")
    shutil.copy(dataset / "training0.nii.gz", tmp_path / "images")  # without a label
    shutil.copy(dataset / "training0_label.nii.gz", tmp_path / "labels" / "stranger.nii.gz")
    folders = ["--dataset", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    assert main([*words, *folders, "--output", str(tmp_path / "out")]) == 0
    folder = capsys.readouterr().out
    assert "left out, images without a label: 1 (training0)" in folder
    assert "left out, labels without an image: 1 (stranger)" in folder
    assert main([*words, "--dataset", str(dataset), "--output", str(tmp_path / "same")]) == 0
    assert [line for line in folder.splitlines() if line.startswith("all:")] == [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("all:")
    ]
    assert list(read_cases(tmp_path / "out" / "cases.csv")) == ["test0", "test1"]


def test_it_is_about_the_cases_of_this_call(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not also about those of an earlier one with the same folder, model and options."""
    out = tmp_path / "out"
    assert main([*words, "--dataset", str(dataset), "--output", str(out)]) == 0
    cases = [{kind: str(dataset / f"training{i}{end}.nii.gz") for kind, end in KINDS} for i in range(3)]
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "--dataset", str(tmp_path), "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = read_cases(out / "cases.csv")
    assert list(rows) == ["training0", "training1", "training2"]
    mean = np.mean([row.number("dsc") for row in rows.values()])
    assert f"all: DSC [%] {100 * mean:.2f}±" in printed and ", 3 cases)" in printed
    assert f"Masks and cases.csv of 3 cases are in {out}" in printed
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))["all"]
    assert summary["cases"] == 3 and summary["dsc"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert sorted(path.name[:5] for path in out.glob("*_seg.nii.gz")) == ["test0", "test1"] + 3 * ["train"]


def test_a_calibration_predicts_the_dsc_of_the_next_cases(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    cases = [{key: str(dataset / file) for key, file in case.items()} for part in lists.values() for case in part]
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")
    weights, quality = tmp_path / "model.pt", tmp_path / "model.quality.json"
    shutil.copy(words[words.index("--model") + 1], weights)
    asked = [*words, "--model", str(weights), "--dataset", str(tmp_path), "--output", str(tmp_path / "out")]

    # A case of an earlier run in the folder is none of the nine.
    (tmp_path / "dataset.json").write_text(json.dumps({"test": [_renamed(cases[0], tmp_path)]}), encoding="utf-8")
    assert main(asked) == 0
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")

    # The less a case is sure of itself, the more voxels of its label it is made to miss.
    assert main(asked) == 0
    rows = read_cases(tmp_path / "out" / "cases.csv", ["expected_dsc"])
    ranked = sorted(rows, key=lambda name: -signals_in(rows[name])["expected_dsc"])
    for case in cases:
        name = Path(case["image"]).name.removesuffix(".nii.gz")
        mask = nib.Nifti1Image.from_filename(tmp_path / "out" / f"{name}_seg.nii.gz")
        label = np.asarray(mask.dataobj).astype(np.uint8)
        missed = np.flatnonzero(label == 0)[: 4 * ranked.index(name)]
        label.flat[missed] = 1
        case["label"] = str(tmp_path / f"{name}_label.nii.gz")
        nib.save(nib.Nifti1Image(label, mask.affine), case["label"])
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")

    assert main([*asked, "--calibrate", str(quality)]) == 0
    assert f"{quality}: fitted on 9 cases: round_dsc " in capsys.readouterr().out
    model = read_quality(weights)
    assert model is not None and model.cases == 9 and model.weights["expected_dsc"] > 0.1
    assert model.sha256 and sha256_of(weights).startswith(model.sha256)
    assert "predicted_dsc" not in read_cases(tmp_path / "out" / "cases.csv")["test0"].values

    # The next inference finds it beside the weights.
    assert main(asked) == 0
    for name, row in read_cases(tmp_path / "out" / "cases.csv", ["predicted_dsc", "dsc_bound"]).items():
        expected = model.predict(signals_in(row))
        assert (row.number("predicted_dsc"), row.number("dsc_bound")) == pytest.approx(expected, abs=2e-6)
        assert ("look at this one" in row.values["flags"]) == (name == ranked[-1])


def test_a_calibration_on_few_cases_is_refused(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quality = tmp_path / "model.quality.json"
    asked = ["--dataset", str(dataset), "--output", str(tmp_path / "out"), "--calibrate", str(quality)]
    assert main([*words, *asked]) == 1
    message = "error: a bound that holds for 90 % of the cases needs 9 labeled cases, got 2."
    assert message in capsys.readouterr().err.splitlines()
    assert not quality.exists() and not (tmp_path / "out").exists()  # before a network ran


def test_a_data_set_in_the_output_folder_stays(dataset: Path, words: list[str], tmp_path: Path) -> None:
    for kind, ending in (("imagesTs", ""), ("labelsTs", "_label")):
        (tmp_path / kind).mkdir()
        shutil.copy(dataset / f"test0{ending}.nii.gz", tmp_path / kind / "test0.nii.gz")
    (tmp_path / "dataset.json").write_text('{"mine": 1}', encoding="utf-8")
    folders = ["--dataset", str(tmp_path / "imagesTs"), "--labels", str(tmp_path / "labelsTs")]
    assert main([*words, *folders, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "dataset.json").read_text(encoding="utf-8") == '{"mine": 1}'


def test_stacks_of_slices_have_no_distances(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    for case in content["test"]:
        case |= {"slices": True, "image": str(dataset / case["image"]), "label": str(dataset / case["label"])}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    assert main([*words, "--dataset", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "all: DSC [%]" in printed and "HD95" not in printed
    assert {row.values["hd95"] for row in read_cases(tmp_path / "out" / "cases.csv", ["hd95"]).values()} == {""}


def _renamed(case: dict[str, str], folder: Path) -> dict[str, str]:
    """The case with files called "earlier" in a folder."""
    return {kind: str(shutil.copy(case[kind], folder / f"earlier{end}.nii.gz")) for kind, end in KINDS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config", "none.json"], "there is no configuration none.json"),
        (["--model", "/none.pt"], "there is no model /none.pt"),
        (["--split", "validation", "--fold", "1"], "has training cases without a fold"),
        (["--option", "pixdim=x"], "error: pixdim must be three numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert main([*words, "--dataset", str(dataset), "--output", str(tmp_path / "out"), *change]) == 1
    assert message in capsys.readouterr().err


def test_cases_without_a_label_are_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ct.nii.gz").touch()
    (tmp_path / "dataset.json").write_text(json.dumps({"test": ["ct.nii.gz"]}), encoding="utf-8")
    assert main([*words, "--dataset", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "dataset.json has no label for" in capsys.readouterr().err


def test_labels_of_fractions_are_refused_before_a_network_runs(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    stored = nib.load(dataset / content["test"][1]["label"])
    soft = np.asarray(stored.dataobj).astype(np.float32) * np.float32(0.9999)
    nib.save(nib.Nifti1Image(soft, stored.affine), tmp_path / "soft.nii.gz")
    cases = [{key: str(dataset / path) for key, path in case.items()} for case in content["test"]]
    cases[1]["label"] = str(tmp_path / "soft.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")
    assert main([*words, "--dataset", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "soft.nii.gz holds 0.9999 in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_that_hold_the_target_nowhere_are_told_before_a_network_runs(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dataset", str(dataset), "--output", str(tmp_path)]
    told = "no label holds the target 255, but 1, 2: if that is the target, set --option label_value\n"
    assert main([*words, *where, "--option", "label_value=255", "--option", "pixdim=[0]"]) != 0
    assert told in capsys.readouterr().out
    for values, target in (
        ("[2,255]", "value 2, without 1"),
        ("[1,2]", "values 1, 2 as one"),
        ("[[1],[2]]", "values 1, 2"),
    ):
        assert main([*words, *where, "--option", f"label_value={values}", "--option", "pixdim=[0]"]) != 0
        printed = capsys.readouterr().out
        assert f"target: label {target}; --option label_value chooses others\n" in printed
        assert "no label holds" not in printed


def test_the_validation_is_what_training_held_back(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    entries = [{"image": f"training{i}.nii.gz", "label": f"training{i}_label.nii.gz", "fold": i % 3} for i in range(6)]
    (folder / "dataset.json").write_text(json.dumps({"training": entries}), encoding="utf-8")
    asked = ["--dataset", str(folder), "--split", "validation", "--fold", "0"]
    # Cases 1, 2, 4 and 5 are left: two of them at one half, one at the default's fifth.
    for more, expected in (([], ["training4"]), (["--option", "holdout=0.5"], ["training2", "training5"])):
        output = tmp_path / f"out{len(more)}"
        assert main([*words, *asked, *more, "--output", str(output)]) == 0
        assert list(read_cases(output / "cases.csv")) == expected
    # Published trainings hold nothing back; of NIH's overlay the holdout follows from what is selected.
    nih = ["--option", "selection=last", "--config", "three_views.json", "data/nih.json"]
    for more in (["--option", "holdout=0.0"], nih):
        capsys.readouterr()
        assert main([*words, *asked, *more, "--output", str(tmp_path / "none")]) != 0
        assert "validation is empty, nothing was held back (holdout 0)" in capsys.readouterr().err


def test_a_prediction_is_of_one_file_of_weights(tmp_path: Path) -> None:
    options = {"options": {"weights cyst": "ab", "weights organ": "cd"}}
    (tmp_path / "manifest.json").write_text(json.dumps(options), encoding="utf-8")
    with pytest.raises(ValueError, match="of one file of weights"):
        calibrate({}, tmp_path, tmp_path / "model.quality.json")
    assert not (tmp_path / "model.quality.json").exists()


def test_cases_that_found_nothing_are_counted_where_a_calibration_has_too_few(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"options": {"weights": "ab"}}), encoding="utf-8")
    cases = {str(n): CaseRow(str(n), "", {"dsc": "0.8", "round_dsc": "0.9"}) for n in range(8)}
    cases |= {str(n): CaseRow(str(n), "", {"dsc": "0.0"}) for n in (8, 9)}
    with pytest.raises(ValueError, match="needs 9 labeled cases, got 8. Of 10 cases 2 found nothing or have no DSC"):
        calibrate(cases, tmp_path, tmp_path / "model.quality.json")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--option", "dataset_dir=elsewhere"], "--option dataset_dir: this command says it by an argument of its own"),
        (["--option", "output_dir=elsewhere"], "--option output_dir: this command says it by an argument of its own"),
        (["--labels", "labels", "--fold", "0"], "--split and --fold choose cases of a dataset.json"),
        (["--labels", "labels", "--split", "validation"], "--split and --fold choose cases of a dataset.json"),
        (["--calibrate", "model.pt"], "is written as JSON, such as model.quality.json, got model.pt"),
        (["--calibrate", "nowhere/a.json"], "to write a.json to"),
        (["--calibrate", "mine.json"], "mine.json exists and holds no quality model: give another place"),
    ],
)
def test_what_cannot_be_is_told_before_a_case_is_segmented(
    words: list[str],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text('{"my": "notes"}', encoding="utf-8")
    assert main([*words, "--dataset", str(dataset), "--output", "out", *more]) == 1
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_labels_are_not_replaced_by_what_they_score(
    dataset: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in ("test0", "test1"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        shutil.copy(dataset / f"{case}_label.nii.gz", tmp_path / "labels" / f"{case}_seg.nii.gz")
        shutil.copy(dataset / f"{case}.nii.gz", tmp_path)
    cases = [{"image": f"{case}.nii.gz", "label": f"labels/{case}_seg.nii.gz"} for case in ("test0", "test1")]
    (tmp_path / "dataset.json").write_text(json.dumps({"test": cases}), encoding="utf-8")
    before = [path.read_bytes() for path in sorted((tmp_path / "labels").glob("*.gz"))]
    assert main([*words, "--dataset", str(tmp_path), "--output", str(tmp_path / "labels")]) == 1
    assert "test0_seg.nii.gz is a label to score with: write to another folder" in capsys.readouterr().err
    assert [path.read_bytes() for path in sorted((tmp_path / "labels").glob("*.gz"))] == before

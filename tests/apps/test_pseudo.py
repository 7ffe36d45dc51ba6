# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels that a model makes: which are kept, what the data set says of them, what is refused before work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor

from c2f_monai import Segmenter
from c2f_monai.apps import pseudo
from c2f_monai.apps.cli import main
from c2f_monai.apps.segmenter import Segmentation
from c2f_monai.data.datalist import load_datalist
from c2f_monai.data.phantom import write_phantom
from c2f_monai.data.readers import read_image
from c2f_monai.data.writers import MaskOrigin, made_here
from c2f_monai.inferers import CaseRecord

SHAPE = (6, 5, 4)
PREDICTED = {"p0/ct": 0.8, "p1/ct": 0.6}


class _Model:
    """Finds a voxel where there is a body, and predicts a DSC by the case's name."""

    quality: Any = "a quality model"

    def __init__(self, *args: Any, configs: Sequence[str] = (), options: Any = None) -> None:
        self.name, self.values = "some model", ((options or {}).get("output_value", 1),)
        self.origin = MaskOrigin({1: "pancreas"}, "some model", {"model.pt": "12ab"}, "0123456789ab")
        self.inferer = SimpleNamespace(quality=self.quality)

    def each_case(
        self, cases: Sequence[dict[str, Any]], keep_image: bool = False
    ) -> Iterator[Segmentation | Exception]:
        for case in cases:
            image: Any = read_image(case["image"])
            if float(image.max()) > 1000:
                yield ValueError("no CT")
                continue
            found = np.asarray(image[0] > 0).astype(np.uint8) * self.values[0]
            predicted = PREDICTED.get(case["case"])
            record = CaseRecord(
                voxels=int(found.sum()),
                predicted=None if predicted is None else (predicted, predicted - 0.1),
                touches_border=case["case"] == "p1/ct",
            )
            yield Segmentation(MetaTensor(found, affine=image.affine), record, image=image)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two CTs called alike, one in which nothing is found, and one that fails."""
    monkeypatch.setattr(pseudo, "Segmenter", _Model)
    for place, value in (("p0/ct", 50), ("p1/ct", 60), ("air", -1000), ("broken", 2000)):
        path = tmp_path / "in" / f"{place}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = np.full(SHAPE, -1000, np.int16)
        volume[2, 2, 2] = value
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return tmp_path


def _prepare(folder: Path, *words: str, output: str = "out") -> int:
    return main(["prepare", "pseudo", "--input", str(folder / "in"), "--output", str(folder / output), *words])


def _content(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "dataset.json").read_text(encoding="utf-8"))
    return content


def test_answers_are_labels_that_say_what_made_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _prepare(folder, "--min-dsc", "0.5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "air: 0.0 ml, nothing found, left out, nothing found",
        "broken: left out, no CT",
        "p0/ct: 0.0 ml, predicted DSC 0.800, kept",
        "p1/ct: 0.0 ml, predicted DSC 0.600, touches border, kept",
        "2 of 4 answers kept as labels, trained on in every fold and never tested",
        "no case to validate on: add them to labeled ones with --add-to, or train with --holdout 0",
        str(folder / "out" / "dataset.json"),
    ]
    content = _content(folder / "out")
    assert content["labels"] == {"0": "background", "1": "pancreas"}
    assert content["left_out"] == {"air": "nothing found", "broken": "no CT"}
    made = content["pseudo_labels"]
    assert (made["model"], made["weights"], made["min_dsc"]) == ("some model", {"model.pt": "12ab"}, 0.5)
    cases = load_datalist(folder / "out", "training", holdout=0)
    assert [(case["predicted_dsc"], case["dsc_bound"]) for case in cases] == [(0.8, 0.7), (0.6, 0.5)]
    assert [case["flags"] for case in cases] == ["", "touches border"] and {case["fold"] for case in cases} == {None}
    for number, case in enumerate(cases):
        original = folder / "in" / f"p{number}" / "ct.nii.gz"
        # Results are named after files, and all are called the same.
        assert Path(case["image"]) == folder / "out" / "images" / f"p{number}_ct.nii.gz"
        assert Path(case["image"]).resolve() == original.resolve()
        label = nib.load(case["label"])
        assert np.argwhere(label.dataobj).tolist() == [[2, 2, 2]]
        np.testing.assert_array_equal(label.affine, nib.load(original).affine)
        assert made_here(case["label"]) and case["label_origin"].endswith("0123456789ab, some model")


@pytest.mark.parametrize(
    ("words", "kept", "reason"),
    [
        (("--min-dsc", "0.7"), ["p0_ct"], "predicted DSC 0.600 below 0.7"),
        (("--min-dsc", "0", "--refuse", "touches border"), ["p0_ct"], "touches border"),
        (("--min-dsc", "0.6"), ["p0_ct", "p1_ct"], None),
    ],
)
def test_the_threshold_and_flags_choose(
    words: tuple[str, ...], kept: list[str], reason: str | None, folder: Path
) -> None:
    assert _prepare(folder, *words) == 0
    content = _content(folder / "out")
    assert [Path(case["label"]).name.removesuffix(".nii.gz") for case in content["training"]] == kept
    assert content["left_out"].get("p1/ct") == reason
    assert sorted(path.name for path in (folder / "out" / "labels").iterdir()) == [f"{name}.nii.gz" for name in kept]


def test_a_flag_that_no_answer_has_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _prepare(folder, "--min-dsc", "0", "--refuse", "touches the border") == 1
    told = capsys.readouterr().err
    assert "--refuse 'touches the border': there is no such flag, choose among nothing found, " in told
    assert not (folder / "out").exists()


def test_cases_whose_paths_are_one_name_keep_their_own_labels(folder: Path) -> None:
    """a/b and a_b, and of labeled images one that is called as a case is."""
    for place, voxel in (("a/b", (1, 1, 1)), ("a_b", (4, 3, 2)), ("c", (3, 3, 3))):
        path = folder / "in" / f"{place}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        volume = np.full(SHAPE, -1000, np.int16)
        volume[voxel] = 50
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    labeled = _labeled(folder, shutil.copy(folder / "in" / "c.nii.gz", folder / "c.nii.gz"))
    assert _prepare(folder, "--min-dsc", "0", "--add-to", str(labeled)) == 0
    cases = load_datalist(folder / "out", "training", holdout=0)
    found = {Path(c["image"]).resolve().relative_to(folder / "in").as_posix(): c for c in cases}
    for image, voxel in (("a/b.nii.gz", [1, 1, 1]), ("a_b.nii.gz", [4, 3, 2]), ("c.nii.gz", [3, 3, 3])):
        assert np.argwhere(nib.load(found[image]["label"]).dataobj).tolist() == [voxel]
    images = [Path(case["image"]).name for case in [*cases, *load_datalist(folder / "out", "validation")]]
    assert len(set(images)) == len(images) == 6
    assert Path(found["p0/ct.nii.gz"]["label"]).name == "p0_ct.nii.gz"
    labels = {case["label"] for case in cases}
    assert _prepare(folder, "--min-dsc", "0", "--add-to", str(labeled)) == 0  # the same names again
    assert {case["label"] for case in load_datalist(folder / "out", "training", holdout=0)} == labels


def _labeled(folder: Path, image: str | Path | None = None) -> Path:
    """A data set that labels the first CT, or another image."""
    labeled = folder / "labeled"
    labeled.mkdir()
    image = image or folder / "in" / "p0" / "ct.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), nib.load(image).affine), labeled / "label.nii.gz")
    entry = {"image": str(image), "label": "label.nii.gz"}
    (labeled / "dataset.json").write_text(
        json.dumps({"name": "l", "labels": {"0": "background", "1": "organ"}, "training": [], "validation": [entry]})
    )
    return labeled


def test_labeled_cases_are_listed_beside_and_not_segmented_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labeled = _labeled(folder)
    assert _prepare(folder, "--min-dsc", "0.5", "--add-to", str(labeled)) == 0
    assert "p0" not in capsys.readouterr().out
    assert _content(folder / "out")["labels"]["1"] == "organ"  # the data set's own name
    (validated,) = load_datalist(folder / "out", "validation")
    assert validated["label"] == str(labeled / "label.nii.gz")
    (trained,) = load_datalist(folder / "out", "training")
    assert trained["image"] == str(folder / "out" / "images" / "p1_ct.nii.gz")
    words = ("--min-dsc", "0.5", "--add-to", str(labeled), "--option", "output_value=7")
    assert _prepare(folder, *words, output="seven") == 1
    assert "masks hold 7, but the labels of" in capsys.readouterr().err and not (folder / "seven").exists()
    assert _prepare(folder, "--min-dsc", "0.5", "--option", "output_value=7", output="seven") == 0
    assert _content(folder / "seven")["labels"] == {"0": "background", "7": "label 7"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--min-dsc", "1.5"), "--min-dsc must be a DSC from 0 to 1, got 1.5"),
        (("--min-dsc", "0.5", "--add-to", "nowhere"), "nowhere does not exist"),
        (("--min-dsc", "0.5", "--input", "nowhere"), "nowhere does not exist"),
        (("--min-dsc", "0.9"), "none of the 4 answers is kept: lower --min-dsc"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_made(
    words: tuple[str, ...], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prepare(folder, *words) == 1
    assert error in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_threshold_needs_a_prediction(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Model, "quality", None)
    assert _prepare(folder, "--min-dsc", "0.5") == 1
    assert "some model predicts no DSC: fit a prediction with c2f evaluate --calibrate" in capsys.readouterr().err
    assert not (folder / "out").exists()
    assert _prepare(folder, "--min-dsc", "0") == 0


def test_other_folders_are_not_written_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _prepare(folder, "--min-dsc", "0", output="in/out") == 1
    assert "lies in the folder of the images" in capsys.readouterr().err
    (folder / "out").mkdir()
    (folder / "out" / "dataset.json").write_text('{"name": "other", "training": []}')
    assert _prepare(folder, "--min-dsc", "0") == 1
    assert "describes a data set of another kind" in capsys.readouterr().err
    assert [path.name for path in (folder / "out").iterdir()] == ["dataset.json"]


@pytest.mark.parametrize("place", ["images", "images/p0", "images/p0/ct.nii.gz", "labels"])
def test_an_input_among_what_is_written_is_refused(
    place: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    (folder / "in").rename(folder / "out" / Path(place).parts[0])
    before = sorted(folder.rglob("*"))
    assert _prepare(folder, "--min-dsc", "0", "--input", str(folder / "out" / place)) == 1
    assert "which is written to: choose another --output" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_model_of_the_package_labels_a_volume(tmp_path: Path) -> None:
    """With its own network and prediction."""
    phantom = write_phantom(tmp_path / "phantom", {"test": 1}, (64, 64, 40), processes=1, progress=False)
    (tmp_path / "in").mkdir()
    image = Path(shutil.copy(phantom / "imagesTs" / "phantom_test_000.nii.gz", tmp_path / "in"))
    options = {"pixdim": [3.0, 3.0, 3.0], "max_rounds": 1, "stop_dice": None}
    words = ["--model", "phantom-rstn", "--device", "cpu", "--min-dsc", "0.05"]
    words += [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    assert _prepare(tmp_path, *words) == 0
    (case,) = load_datalist(tmp_path / "out", "training", holdout=0)
    assert case["image"] == str(image)  # where it was
    segmenter = Segmenter("phantom-rstn", "cpu", options=options)
    result = segmenter(image)
    assert result.record.predicted is not None and result.ml > 1.0
    assert case["predicted_dsc"] == pytest.approx(result.record.predicted[0], abs=1e-4)
    np.testing.assert_array_equal(nib.load(case["label"]).dataobj, result.mask.numpy())
    assert _content(tmp_path / "out")["pseudo_labels"]["weights"] == segmenter.origin.weights


def _write_ct(path: Path, voxel: tuple[int, int, int]) -> Path:
    """A CT in which the model finds one voxel; of a suffix that SimpleITK knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.full(SHAPE[::-1], -1000, np.int16)  # SimpleITK's axes run the other way
    volume[voxel[::-1]] = 50
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((2.0, 2.0, 3.0))
    sitk.WriteImage(image, str(path))
    return path


def test_further_cts_of_the_same_names_keep_what_is_there(folder: Path) -> None:
    """Three folders, one after the other, all with ct.nii.gz: every image has the label made of it."""
    voxels = {f"s{number}": (number, 2, 1) for number in (1, 2, 3)}
    for name, voxel in voxels.items():
        _write_ct(folder / name / "ct.nii.gz", voxel)
    for number, name in enumerate(voxels):
        add = ("--add-to", str(folder / "out")) if number else ()
        assert _prepare(folder, "--min-dsc", "0", "--input", str(folder / name), *add) == 0
    cases = load_datalist(folder / "out", "training", holdout=0)
    assert len({case["label"] for case in cases}) == len({case["image"] for case in cases}) == 3
    for case in cases:
        image, label = (np.asarray(nib.load(case[key]).dataobj) for key in ("image", "label"))
        np.testing.assert_array_equal(np.argwhere(label), np.argwhere(image > 0))
    assert {tuple(np.argwhere(nib.load(case["label"]).dataobj)[0]) for case in cases} == set(voxels.values())


def test_a_data_set_that_is_added_to_remembers_how_its_labels_were_chosen(folder: Path) -> None:
    assert _prepare(folder, "--min-dsc", "0.7") == 0
    _write_ct(folder / "more" / "b.nii.gz", (1, 1, 1))
    words = ("--min-dsc", "0", "--input", str(folder / "more"), "--add-to", str(folder / "out"))
    assert _prepare(folder, *words) == 0
    content = _content(folder / "out")
    assert (content["pseudo_labels"]["min_dsc"], content["pseudo_labels"]["earlier"][0]["min_dsc"]) == (0, 0.7)
    assert content["left_out"]["p1/ct"] == "predicted DSC 0.600 below 0.7" and content["left_out"]["air"]


def test_headers_apart_from_their_voxels_are_written_as_one_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to ct.mhd alone would have no voxels beside it; and the next call knows the image again."""
    for name, voxel in (("s1", (1, 2, 1)), ("s2", (2, 2, 1))):
        _write_ct(folder / "two" / name / "ct.mhd", voxel)
    words = ("--min-dsc", "0", "--input", str(folder / "two"))
    assert _prepare(folder, *words) == 0
    for case in load_datalist(folder / "out", "training", holdout=0):
        image: Any = read_image(case["image"])
        label: Any = read_image(case["label"])
        np.testing.assert_array_equal(np.argwhere(label[0]), np.argwhere(image[0] > 0))
        np.testing.assert_allclose(image.affine, label.affine)
        assert Path(case["source"]).name == "ct.mhd"
    assert _prepare(folder, *words, "--add-to", str(folder / "out")) == 1
    assert "holds no image without a label: all 2 are cases of --add-to" in capsys.readouterr().err

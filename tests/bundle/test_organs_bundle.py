# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Organ, then cyst, and several organs, through the bundle: trained, segmented and scored on tiny volumes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from scipy import ndimage

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.metrics.statistics import summarize
from c2f_monai.metrics.tables import read_cases
from tests.bundle.overlays import NETWORK, SHAPE, config_files, run_bundle, write_organs

CYST = ("train", "three_views", "cyst")
VIEWS = ["sagittal", "coronal", "axial"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Organ, cyst and decoy."""
    return write_organs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One step of training of each network, all views."""
    folder = tmp_path_factory.mktemp("weights")
    run_bundle(("train", "three_views"), dataset, folder / "organ", views=VIEWS)
    run_bundle(CYST, dataset, folder / "cyst", views=VIEWS)
    run_bundle((*CYST, "cyst_multi_label"), dataset, folder / "both", views=VIEWS)
    run_bundle(("train", "three_views", "several_organs"), dataset, folder / "several", views=VIEWS)
    return {name: folder / name / "model.pt" for name in ("organ", "cyst", "both", "several")}


def test_one_function_runs_the_four_stages(dataset: Path, weights, tmp_path: Path) -> None:
    options = {"organ_ckpt_path": str(weights["organ"]), "ckpt_path": str(weights["cyst"]), "device": "cpu"}
    run_bundle(("inference", "three_views", "organ_then_cyst"), dataset, tmp_path, **options)
    segmenter = Segmenter(configs=["three_views.json", "task/organ_then_cyst.json"], options=NETWORK | options)
    expected = np.asarray(nib.load(tmp_path / "test0_seg.nii.gz").dataobj)
    assert expected.any()
    assert np.array_equal(segmenter(dataset / "test0.nii.gz").mask.numpy(), expected)
    assert sorted(segmenter.weights) == sorted([options["organ_ckpt_path"], options["ckpt_path"]])


def test_an_evaluation_tells_what_share_of_the_cyst_the_organs_region_shows(
    dataset: Path, weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"organ_ckpt_path={weights['organ']}", "organ_distance_voxels=3", "device=cpu"]
    options += [f"{name}={value!r}" for name, value in NETWORK.items()]
    files = ["three_views.json", "task/organ_then_cyst.json"]
    command = ["evaluate", "--model", str(weights["cyst"]), "--dataset", str(dataset), "--output", str(tmp_path)]
    assert not main(
        [*command, "--split", "test", *(f"--config={file}" for file in files), *(f"--option={o}" for o in options)]
    )
    shares = []
    for case, row in read_cases(tmp_path / "cases_cyst.csv", ["region_recall"]).items():
        organ = np.asarray(nib.load(tmp_path / f"{case}_seg.nii.gz").dataobj) > 0
        cyst = np.asarray(nib.load(dataset / f"{case}_label.nii.gz").dataobj) == 2
        shares.append((ndimage.distance_transform_edt(~organ)[cyst] < 3).mean() if organ.any() else 0.0)
        assert row.number("region_recall") == pytest.approx(shares[-1], abs=1e-6)
    assert "region_recall" not in read_cases(tmp_path / "cases_organ.csv")["test0"].values
    assert f"cyst, all: in the organ's region [%] {summarize(shares).format(100, 2)}" in capsys.readouterr().out


def values_of(folder: Path, case: str = "test0") -> set[int]:
    return set(np.unique(np.asarray(nib.load(folder / f"{case}_seg.nii.gz").dataobj)).tolist())


def test_the_cyst_trains_on_the_image_near_the_true_organ(dataset: Path, tmp_path: Path) -> None:
    flow = run_bundle(CYST, dataset, tmp_path, organ_distance_voxels=3)
    first = flow.parser.get_parsed_content("train#dataset").volumes[0]
    truth = np.asarray(nib.load(dataset / "training0_label.nii.gz").dataobj)
    assert first.label.shape == (1, *SHAPE)
    np.testing.assert_array_equal(first.label[0].numpy(), truth == 2)
    image = np.asarray(nib.load(dataset / "training0.nii.gz").dataobj)
    seen = first.image.numpy()
    assert (seen[truth > 0] == image[truth > 0]).all()
    assert (seen[27:31, 22:26, 18:22] == -100).all()
    # Each face of the organ's 10x8x8 voxels keeps two voxels; edges and corners keep what is closer than three.
    kept = int((seen != -100).sum())
    assert 10 * 8 * 8 + 2 * 2 * (80 + 80 + 64) < kept < 14 * 12 * 12


def test_the_cyst_trains_and_is_tested_in_the_organs_box(dataset: Path, weights, tmp_path: Path) -> None:
    cropped = (*CYST, "cyst_cropped")
    flow = run_bundle(cropped, dataset, tmp_path / "training", organ_distance_voxels=3, views=VIEWS)
    first = flow.parser.get_parsed_content("train#dataset").volumes[0]
    truth = np.asarray(nib.load(dataset / "training0_label.nii.gz").dataobj)
    image = np.asarray(nib.load(dataset / "training0.nii.gz").dataobj)
    # The organ's box of 10x8x8 voxels and two voxels on each side.
    box = tuple(slice(int(i.min()) - 2, int(i.max()) + 3) for i in np.nonzero(truth))
    assert first.image.shape[-3:] == (14, 12, 12)
    np.testing.assert_array_equal(first.image.numpy().reshape(14, 12, 12), image[box])
    np.testing.assert_array_equal(first.label[0].numpy(), truth[box] == 2)
    trained = {"ckpt_path": str(tmp_path / "training" / "model.pt"), "views": VIEWS, "organ_distance_voxels": 3}
    run_bundle((*cropped, "evaluate"), dataset, tmp_path / "true", **trained)
    rows = read_cases(tmp_path / "true" / "cases.csv")
    case = np.asarray(nib.load(dataset / "test0_label.nii.gz").dataobj)
    assert rows["test0"].number("label_voxels") == (case == 2).sum()
    options = trained | {"organ_ckpt_path": str(weights["organ"])}
    run_bundle(("inference", "three_views", "organ_then_cyst", "cyst_cropped"), dataset, tmp_path / "four", **options)
    assert nib.load(tmp_path / "four" / "test0_seg.nii.gz").shape == SHAPE


def test_the_organs_weights_are_by_default_those_of_the_overlays_before() -> None:
    found = {}
    for names in ((), ("three_views",), ("three_views", "stepwise"), ("three_views", "msd_pancreas")):
        parser = ConfigParser()
        parser.read_config(config_files("inference", *names, "organ_then_cyst"))
        parser.update({"bundle_root": "bundle", "work_root": "bundle"})
        found[names] = parser.get_parsed_content("load_weights#path")["organ"]
        assert parser.get_parsed_content("two_stage_inferer#distance_mm") == 10.0
    assert [str(Path(path)) for path in found.values()] == [
        str(Path("bundle", *place))
        for place in (
            ("models", "model.pt"),
            ("models", "phantom.pt"),
            ("models", "phantom_stepwise.pt"),
            ("runs", "msd_pancreas", "fold0", "model.pt"),
        )
    ]


def test_validation_and_evaluation_with_the_true_organ_see_the_same(dataset: Path, weights, tmp_path: Path) -> None:
    flow = run_bundle(
        ("train", "three_views", "cyst", "evaluate"), dataset, tmp_path, ckpt_path=str(weights["cyst"]), views=VIEWS
    )
    case = flow.parser.get_parsed_content("validate#dataset")[0]
    truth = np.asarray(nib.load(dataset / "test0_label.nii.gz").dataobj)
    np.testing.assert_array_equal(np.asarray(case["label"])[0], truth == 2)
    np.testing.assert_array_equal(np.asarray(case["label_grid"])[0], truth == 2)
    assert (np.asarray(case["image"])[0][27:31, 22:26, 18:22] == -100).all()
    assert sorted(read_cases(tmp_path / "cases.csv")) == ["test0", "test1"]


@pytest.mark.parametrize(
    ("files", "cyst"),
    [
        (("inference", "three_views", "organ_then_cyst"), "cyst"),
        (("inference", "three_views", "organ_then_cyst", "cyst_multi_label"), "both"),
    ],
    ids=["one class", "multi-label"],
)
def test_four_stages_give_one_label_map_and_two_tables(
    files, cyst: str, dataset: Path, weights, tmp_path: Path
) -> None:
    checkpoints = {"organ_ckpt_path": str(weights["organ"]), "ckpt_path": str(weights[cyst])}
    flow = run_bundle(files, dataset, tmp_path, **checkpoints, keep_rounds=True, overlays=True)
    two_stage = flow.parser.get_parsed_content("two_stage_inferer")
    network = flow.parser.get_parsed_content("network")
    assert network["organ"].out_channels == 1
    assert network["neoplasm"].out_channels == (2 if cyst == "both" else 1)
    state = torch.load(weights["organ"], weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in network["organ"].state_dict().items())
    assert two_stage.organ is not two_stage.neoplasm
    assert values_of(tmp_path) <= {0, 1, 2}
    names = {path.name for path in tmp_path.iterdir()}
    assert {"cases_organ.csv", "summary_organ.json", "cases_cyst.csv", "summary_cyst.json"} <= names
    assert "test0_overlay.png" in names
    for name, values in (("organ", (1, 2)), ("cyst", (2,))):
        rows = read_cases(tmp_path / f"cases_{name}.csv", ["dsc", "dsc_round_0"])
        for case, row in rows.items():
            mask = np.isin(np.asarray(nib.load(tmp_path / f"{case}_seg.nii.gz").dataobj), values)
            truth = np.isin(np.asarray(nib.load(dataset / f"{case}_label.nii.gz").dataobj), values)
            expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            assert row.number("dsc") == pytest.approx(expected, abs=1e-6)


def test_the_four_stages_learn_and_the_decoy_is_left_out(dataset: Path, tmp_path: Path) -> None:
    small = {"views": ["axial"], "backbone_def#channels": [8, 16], "backbone_def#strides": [2], "crop_multiple": 4}
    learn = {"epochs": 14, "val_interval": 14, "items_per_epoch": 32, "batch_size": 4, "learning_rate": 0.02}
    # The cyst is a hundredth of the image and the training a few steps: cross-entropy gives the coarse network a start.
    learn |= {"negative_fraction": 0.3, "augmentation": None, "loss#cross_entropy": 5.0, "lr_factors#coarse": 1.0}
    learn |= small
    run_bundle(("train", "three_views", "unet"), dataset, tmp_path / "organ", **learn)
    run_bundle(("train", "three_views", "cyst", "unet"), dataset, tmp_path / "cyst", organ_distance_voxels=4, **learn)
    checkpoints = {name: str(tmp_path / name / "model.pt") for name in ("organ", "cyst")}
    options = small | {"organ_distance_voxels": 4, "component_fraction": 0.5}
    paths = {"ckpt_path": checkpoints["cyst"], "organ_ckpt_path": checkpoints["organ"]}
    run_bundle(("inference", "three_views", "organ_then_cyst", "unet"), dataset, tmp_path / "both", **options, **paths)
    for name in ("organ", "cyst"):
        scores = [row.number("dsc") for row in read_cases(tmp_path / "both" / f"cases_{name}.csv").values()]
        assert min(scores) > 0.7, name
    found = np.asarray(nib.load(tmp_path / "both" / "test0_seg.nii.gz").dataobj)
    assert not found[27:31, 22:26, 18:22].any()


def test_an_organ_that_is_not_found_is_said_in_the_table(dataset: Path, weights, tmp_path: Path) -> None:
    state = torch.load(weights["organ"], weights_only=True)
    empty = {
        key: torch.full_like(value, -20.0) if key.endswith("score_fr.bias") else value for key, value in state.items()
    }
    torch.save(empty, tmp_path / "empty.pt")
    checkpoints = {"organ_ckpt_path": str(tmp_path / "empty.pt"), "ckpt_path": str(weights["cyst"])}
    run_bundle(("inference", "three_views", "organ_then_cyst"), dataset, tmp_path / "out", **checkpoints)
    row = read_cases(tmp_path / "out" / "cases_cyst.csv")["test0"]
    # The volumes of this test hold no air.
    assert row.values["flags"] == "no voxel below -200: is this in HU?; organ not found; nothing found"
    assert values_of(tmp_path / "out") == {0}


def test_several_organs_are_channels_of_one_network(dataset: Path, weights, tmp_path: Path) -> None:
    files = ("inference", "three_views", "several_organs", "several_organs_inference")
    flow = run_bundle(files, dataset, tmp_path, ckpt_path=str(weights["several"]), overlays=True)
    assert flow.parser.get_parsed_content("network").out_channels == 2
    assert values_of(tmp_path) <= {0, 1, 2}
    assert {"cases_1.csv", "cases_2.csv", "test0_overlay.png"} <= {path.name for path in tmp_path.iterdir()}
    inferer = flow.parser.get_parsed_content("inferer")
    assert inferer.exclusive and len(inferer.records) == 1


def test_weights_of_several_organs_need_no_overlay(
    dataset: Path, weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``model.json`` beside them makes the label map, and a table of each organ, whose scores are printed."""
    expected = tmp_path / "expected"
    files = ("inference", "three_views", "several_organs", "several_organs_inference")
    run_bundle(files, dataset, expected, ckpt_path=str(weights["several"]), views=VIEWS)
    tiny = [word for key, value in NETWORK.items() for word in ("--option", f"{key}={value}")]
    words = ["evaluate", "--dataset", str(dataset), "--model", str(weights["several"]), *tiny]
    capsys.readouterr()
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ": DSC [%]" in line or line.startswith("Masks")]
    means = []
    for target in ("1", "2"):
        rows, same = (read_cases(folder / f"cases_{target}.csv") for folder in (tmp_path / "out", expected))
        assert {case: row.number("dsc") for case, row in rows.items()} == {
            case: row.number("dsc") for case, row in same.items()
        }
        means.append(np.mean([row.number("dsc") for row in rows.values()]))
    assert [line[:18] for line in lines[:2]] == [
        f"{i}, all: DSC [%] {100 * m:.2f}"[:18] for i, m in enumerate(means, 1)
    ]
    assert lines[2] == f"Masks and cases_1.csv, cases_2.csv of 2 cases are in {tmp_path / 'out'}"
    for case in ("test0", "test1"):
        found, same = (nib.load(folder / f"{case}_seg.nii.gz") for folder in (tmp_path / "out", expected))
        assert np.array_equal(np.asarray(found.dataobj), np.asarray(same.dataobj))


def test_the_organs_weights_are_an_option_of_segment(
    dataset: Path, weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"organ_ckpt_path": str(weights["organ"]), "ckpt_path": str(weights["cyst"])}
    run_bundle(("inference", "three_views", "organ_then_cyst"), dataset, tmp_path / "expected", **options)
    ids = NETWORK | {"organ_ckpt_path": weights["organ"]}
    words = [word for key, value in ids.items() for word in ("--option", f"{key}={value}")]
    words += ["--model", str(weights["cyst"]), "--config", "task/organ_then_cyst.json"]
    report = tmp_path / "report.json"
    given = [str(dataset / "test0.nii.gz"), str(tmp_path / "mask.nii.gz")]
    assert main(["segment", *given, *words, "--report", str(report)]) == 0
    found, expected = (nib.load(tmp_path / file) for file in ("mask.nii.gz", "expected/test0_seg.nii.gz"))
    assert np.asarray(expected.dataobj).any()
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert f"organ_ckpt_path={weights['organ']}" in json.loads(report.read_text(encoding="utf-8"))["options"]
    for wrong, message in (("max_round=3", "did you mean max_rounds or"), ("output_dir=x", "an argument of its own")):
        capsys.readouterr()
        assert main(["segment", *given, "--option", wrong]) == 1
        assert message in capsys.readouterr().err


def test_organs_that_were_trained_alone_read_the_volume_once(
    dataset: Path, weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.transforms import LoadImage

    read: list[str] = []
    original = LoadImage.__call__

    def counted(self, filename, *args, **kwargs):
        read.append(Path(filename).name)
        return original(self, filename, *args, **kwargs)

    monkeypatch.setattr(LoadImage, "__call__", counted)
    values = {"pancreas": [1, 2], "lesion": [7]}
    paths = {"pancreas": str(weights["organ"]), "lesion": str(weights["cyst"])}
    flow = run_bundle(
        ("inference", "three_views", "organs_alone"), dataset, tmp_path, organ_values=values, ckpt_paths=paths
    )
    assert [name for name in read if "label" not in name] == ["test0.nii.gz", "test1.nii.gz"]
    assert values_of(tmp_path) <= {0, 1, 7}
    assert {"cases_pancreas.csv", "cases_lesion.csv"} <= {path.name for path in tmp_path.iterdir()}
    inferers = flow.parser.get_parsed_content("organs_inferer").inferers
    assert list(inferers) == ["pancreas", "lesion"]
    network = flow.parser.get_parsed_content("network")
    state = torch.load(weights["cyst"], weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in network["lesion"].state_dict().items())

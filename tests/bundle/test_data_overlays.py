# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The overlays of public data sets: short, composed with the published constants, and built on small data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from c2f_monai.data.disk_cache import DiskVolume
from tests.bundle.overlays import ROOT, config_files
from tests.bundle.volumes import make_volume, write_nifti

# The published network has 130 million weights for each part and view.
SMALL: dict[str, Any] = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "min_pixels": 1, "items_per_epoch": 3}


def parser_of(*names: str, **override: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(config_files(*names))
    parser["bundle_root"] = str(ROOT / "bundle")
    for key, value in (SMALL | override).items():
        parser[key] = value
    return parser


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cases in four folds, labels 1 (all cases) and 2 (the upper half of the target)."""
    folder = tmp_path_factory.mktemp("prepared")
    entries = []
    for number in range(5):
        label = np.zeros((32, 32, 32), np.uint8)
        label[8:20, 10:20, 10:16], label[8:20, 10:20, 16:20] = 1, 2
        entry = {"image": f"i{number}.nii.gz", "label": f"l{number}.nii.gz", "fold": min(number, 3)}
        write_nifti(folder / entry["image"], make_volume(label.shape, number))
        write_nifti(folder / entry["label"], label)
        entries.append(entry)
    (folder / "dataset.json").write_text(json.dumps({"training": entries}), encoding="utf-8")
    return folder


def cases(data: list[dict[str, Any]]) -> list[str]:
    return sorted(Path(case["image"]).name[:2] for case in data)


@pytest.mark.parametrize(
    ("names", "target"),
    [(("nih",), 12 * 10 * 6), (("msd_pancreas",), 12 * 10 * 10), (("msd_pancreas", "pancreas_only"), 12 * 10 * 6)],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_training_is_built_on_the_folds_with_the_published_constants(
    names: tuple[str, ...], target: int, dataset: Path, tmp_path: Path
) -> None:
    options = {"dataset_dir": str(dataset), "cache_dir": str(tmp_path / "cache"), "fold": 3}
    parser = parser_of("train", "three_views", "published", *names, **options)
    published = parser_of("train", "three_views", "published")
    for name in (
        "window pixdim margin max_margin crop_multiple stop_dice max_rounds fusion prior learning_rate optimizer "
        "stages fcn_def coarse_def saliency_def epochs batch_size"
    ).split():
        assert parser[name] == published[name], name
    data = parser.get_parsed_content("train#dataset")
    # Nothing is chosen, so nothing is held back; the cases 3 and 4 are tested.
    assert cases(data.data) == ["i0", "i1", "i2"] and parser["selection"] == "last"
    assert all(isinstance(volume, DiskVolume) for volume in data.volumes)
    assert {volume.folder.parent for volume in data.volumes} == {tmp_path / "cache"}
    assert [int(volume.counts(data.views[0]).sum()) for volume in data.volumes] == [target] * 3
    trainer = parser.get_parsed_content("train#trainer")
    assert trainer.state.max_epochs == 120
    assert parser.get_parsed_content("validate#cases") == []
    assert parser.get_parsed_content("output_dir") == str(ROOT / "bundle" / "runs" / names[-1] / "fold3")


@pytest.mark.parametrize(
    ("names", "split", "limit", "expected"),
    [
        (("train", "three_views"), None, None, ["i1", "i3"]),
        (("train", "three_views"), None, 1, ["i1"]),
        (("train", "three_views", "evaluate"), "training", 1, ["i0", "i2", "i4"]),
    ],
)
def test_fewer_validation_cases_are_no_fewer_tested_ones(
    names: tuple[str, ...], split: str | None, limit: int | None, expected: list[str], dataset: Path
) -> None:
    options = {"dataset_dir": str(dataset), "holdout": 0.5, "validation_cases": limit} | (
        {"split": split} if split else {}
    )
    assert cases(parser_of(*names, **options).get_parsed_content("validate#dataset").data) == expected


@pytest.mark.parametrize("name", ["nih", "msd_pancreas"])
def test_evaluation_tests_the_fold_with_its_own_weights(name: str, dataset: Path) -> None:
    parser = parser_of("train", "three_views", "published", name, "evaluate", dataset_dir=str(dataset))
    assert cases(parser.get_parsed_content("validate#dataset").data) == ["i0"]
    assert parser.get_parsed_content("ckpt_path") == str(ROOT / "bundle" / "runs" / name / "fold0" / "model.pt")
    assert parser_of("train", "three_views", name, dataset_dir=str(dataset)).get_parsed_content("cache_dir") == str(
        dataset / "slab_cache"
    )


@pytest.mark.parametrize("names", [("nih",), ("msd_pancreas",), ("msd_pancreas", "pancreas_only")], ids="+".join)
def test_the_trained_fold_segments_with_the_same_overlays(names: tuple[str, ...], dataset: Path) -> None:
    options = {"dataset_dir": str(dataset), "fold": 3}
    trained, used = (parser_of(base, "three_views", "published", *names, **options) for base in ("train", "inference"))
    for key in "fcn_def coarse_def label_value margin crop_multiple min_size fusion prior stop_dice max_rounds".split():
        assert used[key] == trained[key], key
    assert used.get_parsed_content("ckpt_path") == trained.get_parsed_content("ckpt_path")
    shapes = [parser.get_parsed_content("network_def").state_dict() for parser in (trained, used)]
    assert {key: value.shape for key, value in shapes[0].items()} == {k: v.shape for k, v in shapes[1].items()}
    assert cases(used.get_parsed_content("dataset").data) == ["i3", "i4"]


def test_nothing_else_changes_without_a_fold(dataset: Path) -> None:
    parser = parser_of("train", "three_views")
    assert (parser["fold"], parser["cache_dir"]) == (None, None)


def test_the_published_constants_are_those_of_the_chapter() -> None:
    rstn = parser_of("train", "three_views", "published")
    assert (rstn["margin"], rstn["fixed_margin_probability"], rstn["holdout"]) == (20, 1.0, 0.0)
    stepwise = parser_of("train", "three_views", "stepwise", "published", "published_stepwise")
    assert (stepwise["margin"], stepwise["max_margin"], stepwise["fixed_margin_probability"]) == (30, 60, 0.0)
    loss = stepwise.get_parsed_content("loss")
    assert not loss.normalized and loss.coarse_weight == 1.0
    rates = {name: stepwise["learning_rate"] * factor for name, factor in stepwise["lr_factors"].items()}
    assert rates == pytest.approx({"coarse": 1e-5, "fine": 1e-4})
    # Another backbone leaves the rates of the parts as they are.
    other = parser_of("train", "three_views", "stepwise", "published", "published_stepwise", "fcn8s_compact")
    assert other.get_parsed_content("lr_factors") == stepwise["lr_factors"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The methods that the end-to-end approach is compared with: overlays of the bundle's training and evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import VNet

from tests.bundle.overlays import ROOT, config_files

TINY: dict[str, Any] = {
    "bundle_root": str(ROOT / "bundle"),
    "pixdim": None,
    "train_amp_dtype": None,
    "epochs": 1,
    "val_interval": 1,
    "warmup": 1,
}


def _parser(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(config_files(*names))
    parser["bundle_root"] = TINY["bundle_root"]
    return parser


def _run(dataset: Path, output: Path, *names: str, **options: Any) -> ConfigWorkflow:
    flow = ConfigWorkflow(
        config_file=config_files(*names),
        meta_file=None,
        logging_file=False,
        workflow_type="train",
        **TINY | {"dataset_dir": str(dataset), "output_dir": str(output)} | options,
    )
    flow.initialize()
    flow.run()
    flow.finalize()
    return flow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright boxes in dark noise, with a speck that the component filter should remove."""
    folder = tmp_path_factory.mktemp("data")
    lists: dict[str, list[dict[str, str]]] = {}
    for split, count in (("training", 4), ("validation", 1), ("test", 2)):
        for i in range(count):
            rng = np.random.default_rng([len(split), i])
            label = np.zeros((32, 32, 32), dtype=np.uint8)
            x, y, z = rng.integers(8, 14, 3)
            label[x : x + 10, y : y + 8, z : z + 9] = 1
            image = rng.normal(-50, 10, label.shape) + 250.0 * label
            image[2:4, 2:4, 2:4] = 200
            item = {"image": f"{split}{i}.nii.gz", "label": f"{split}{i}_label.nii.gz"}
            nib.save(nib.Nifti1Image(image.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0])), folder / item["image"])
            nib.save(nib.Nifti1Image(label, np.diag([2.0, 2.0, 2.0, 1.0])), folder / item["label"])
            lists.setdefault(split, []).append(item)
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    return folder


def test_the_3d_unet_is_that_of_the_protocol() -> None:
    parser = _parser("train", "three_views", "unet3d")
    network = parser["network_def"]
    assert (network["_target_"], network["channels"], network["num_res_units"]) == ("UNet", [16, 32, 64, 128], 2)
    inferer = parser.get_parsed_content("validate#inferer")
    window = inferer.inferer.inferer
    assert isinstance(window, SlidingWindowInferer)
    assert (window.overlap, window.mode, list(window.roi_size)) == (0.5, "gaussian", parser["patch"])
    assert (inferer.inferer.amp_dtype, inferer.window) == ("auto", (-100.0, 240.0))


@pytest.mark.parametrize("overlay", ["unet3d", "coarse_only"])
def test_data_and_answer_are_treated_as_those_of_the_end_to_end_approach(overlay: str) -> None:
    """What decides on a comparison's fairness is not overridden."""
    base, other = _parser("train", "three_views"), _parser("train", "three_views", overlay)
    for name in (
        "seed holdout pixdim window label_value component_fraction train_amp_dtype optimizer validate#dataset "
        "train#preprocessing validate#preprocessing validate#postprocessing validate#key_metric"
    ).split():
        assert other[name] == base[name], name
    # Of the augmentation only what three axes need is replaced: the kinds, their order and their probabilities stay.
    assert list(other["augmentations"]) == list(base["augmentations"])
    for ours, theirs in zip(other["augmentations"].values(), base["augmentations"].values(), strict=True):
        assert {key: ours[key] for key in ("_target_", "prob")} == {key: theirs[key] for key in ("_target_", "prob")}


def test_an_average_of_the_3d_unets_weights_is_what_is_kept(dataset: Path, tmp_path: Path) -> None:
    small = {"patch": [16, 16, 16], "frame": 4, "network_def#channels": [8, 16], "network_def#strides": [2]}
    files = ("train", "three_views", "unet3d", "ema")
    _run(dataset, tmp_path, *files, **small, learning_rate=0.02, epochs=2, val_interval=2)
    kept = torch.load(tmp_path / "checkpoint_2.pt", weights_only=True)
    chosen = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(kept["average"][key], value) for key, value in chosen.items())
    assert not any(torch.equal(kept["network"][key], value) for key, value in chosen.items() if key.endswith("weight"))


def test_the_3d_unet_learns_and_is_evaluated_like_the_others(dataset: Path, tmp_path: Path) -> None:
    small = {"patch": [16, 16, 16], "frame": 4, "network_def#channels": [8, 16], "network_def#strides": [2]}
    options: dict[str, Any] = {**small, "component_fraction": 0.5, "learning_rate": 0.02}
    _run(dataset, tmp_path / "train", "train", "three_views", "unet3d", **options | {"epochs": 25, "val_interval": 25})
    assert (tmp_path / "train" / "checkpoint_25.pt").is_file()
    options["ckpt_path"] = str(tmp_path / "train" / "model.pt")
    _run(dataset, tmp_path / "test", "train", "three_views", "evaluate", "unet3d", **options)
    with (tmp_path / "test" / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["rounds"]) for row in rows] == [("test0", "0"), ("test1", "0")]
    assert min(float(row["dsc"]) for row in rows) > 0.8
    oracle = ("train", "three_views", "unet3d", "evaluate", "oracle_box")
    flow = _run(dataset, tmp_path / "oracle", *oracle, **options | {"margin": 1})
    (last,) = flow.parser.get_parsed_content("validate#inferer").records
    truth = np.asarray(nib.load(dataset / "test1_label.nii.gz").dataobj)
    extent = [(int(i.min()) - 1, int(i.max()) + 2) for i in np.nonzero(truth)]
    assert all(
        low <= start and end <= high for (start, end), (low, high) in zip(last.rounds[0].box, extent, strict=True)
    )


def test_the_3d_unet_runs_beside_the_published_constants(dataset: Path, tmp_path: Path) -> None:
    small = {"patch": [16, 16, 16], "frame": 4, "network_def#channels": [8, 16], "network_def#strides": [2]}
    flow = _run(dataset, tmp_path, "train", "three_views", "unet3d", "unet3d_published", **small)
    assert (tmp_path / "model.pt").is_file()
    assert (flow.parser["margin"], flow.parser["pixdim"]) == (20, None)


def test_the_v_net_is_trained_as_the_3d_unet_is() -> None:
    """Nothing but the network and its precision differs, and it fits the patches."""
    ours, theirs = _parser("train", "three_views", "unet3d", "vnet"), _parser("train", "three_views", "unet3d")
    changed = {key for key in theirs.get() if ours[key] != theirs[key]}
    assert changed - {"description"} == {"network_def", "output_dir", "train_amp_dtype"}
    with torch.device("meta"):
        network = ours.get_parsed_content("network_def")
        assert isinstance(network, VNet)
        assert network(torch.empty(1, 1, *ours["patch"])).shape == (1, 1, *ours["patch"])


def test_the_coarse_network_alone_is_that_of_the_end_to_end_approach() -> None:
    alone = _parser("train", "three_views", "coarse_only").get_parsed_content("network_def").state_dict()
    joint = _parser("train", "three_views").get_parsed_content("network_def").state_dict()
    shapes = {key: value.shape for key, value in joint.items() if ".coarse." in key}
    assert {key: value.shape for key, value in alone.items()} == shapes


def test_the_coarse_network_trains_alone(dataset: Path, tmp_path: Path) -> None:
    small = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "items_per_epoch": 4, "batch_size": 2, "min_pixels": 4}
    flow = _run(dataset, tmp_path, "train", "three_views", "coarse_only", **small)
    assert (tmp_path / "model.pt").is_file()
    records = flow.parser.get_parsed_content("validate#inferer").records
    assert [record.fine_rounds for record in records] == [0]


def test_the_oracle_box_is_the_truths_in_every_round(dataset: Path, tmp_path: Path) -> None:
    # Score layers that are zero say 0.5, foreground, wherever the network is run: the coarse mask is the whole volume,
    # the fine ones show where the boxes were.
    small = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "fcn_def#score_init": "zero", "margin": 2}
    path = tmp_path / "weights.pt"
    parser = _parser("train", "three_views")
    parser.update(small)
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    options = {**small, "ckpt_path": str(path), "split": "validation", "stop_dice": 1.01, "max_rounds": 2}
    flow = _run(dataset, tmp_path / "out", "train", "three_views", "evaluate", "oracle_box", **options)
    [record] = flow.parser.get_parsed_content("validate#inferer").records
    truth = np.asarray(nib.load(dataset / "validation0_label.nii.gz").dataobj)
    extent = [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(truth)]
    assert record.rounds[0].voxels == truth.size
    for entry in record.rounds[1:]:
        assert entry.voxels >= truth.sum()
        assert all(
            low - 2 <= start and end <= high + 2 for (start, end), (low, high) in zip(entry.box, extent, strict=True)
        )

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The recipe for real CT, from pictures of single slices to masks of volumes, on made-up patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from c2f_monai.handlers import learning_rate_factor, save_weights
from c2f_monai.metrics.tables import read_cases
from c2f_monai.networks import LiteUNet
from tests.bundle.overlays import ROOT, config_files, write_slices

OVERLAYS = ("nih_slices",)
SIDE = 96
SMALL: dict[str, Any] = {"min_size": 64, "margin": 4, "slab_multiple": 32, "max_rounds": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients, three folds."""
    return write_slices(tmp_path_factory.mktemp("slices"), patients=6, side=SIDE, folds=3)


def workflow(names: tuple[str, ...], dataset: Path, output: Path, **override: Any) -> ConfigWorkflow:
    flow = ConfigWorkflow(
        config_file=config_files(*names),
        meta_file=None,
        logging_file=False,
        workflow_type="infer" if names[0] == "inference" else "train",
        **SMALL,
        **{"bundle_root": str(ROOT / "bundle"), "dataset_dir": str(dataset), "output_dir": str(output)} | override,
    )
    flow.initialize()
    return flow


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConfigWorkflow]:
    """Three epochs of two iterations from an encoder's weights, without the whole training's end at the interval."""
    folder = tmp_path_factory.mktemp("run")
    encoder = LiteUNet(1, 1).unet.encoder.state_dict()
    start = {f"views.axial.{part}.unet.encoder.{k}": v for part in ("coarse", "fine") for k, v in encoder.items()}
    save_weights(start, folder / "start.pt")
    options = {"items_per_epoch": 4, "batch_size": 2, "epochs": 3, "val_interval": 2, "warmup": 1}
    flow = workflow(
        ("train", *OVERLAYS), dataset, folder / "out", **options, fold=1, init_weights=str(folder / "start.pt")
    )
    assert flow.check_properties() == []
    flow.run()
    return folder / "out", flow


def test_training_reads_one_slice_and_keeps_the_last_epoch(trained: tuple[Path, ConfigWorkflow]) -> None:
    folder, flow = trained
    data = flow.parser.get_parsed_content("train#dataset")
    assert len(data.volumes) == 3 and data.volumes[0].shape == (SIDE, SIDE, 2)
    item = data[0]
    assert item["image"]["axial"].shape == item["label"]["axial"].shape == (1, SIDE, SIDE)
    evaluator = flow.parser.get_parsed_content("validate#evaluator")
    assert evaluator.state.epoch == 3  # val_interval 2 does not divide the three epochs
    assert flow.parser.get_parsed_content("validate#inferer").stopping.max_rounds == SMALL["max_rounds"]
    assert sorted(path.suffix for path in folder.iterdir() if not path.name.startswith("events")) == [
        ".json",
        *[".pt"] * 3,
    ]
    assert len(list(folder.glob("events*"))) == 1
    rates = {group["lr"] for group in flow.parser.get_parsed_content("optimizer").param_groups}
    assert min(rates) / max(rates) == pytest.approx(0.3)  # of the encoder


def test_the_fold_is_evaluated_and_volumes_are_segmented_with_the_same_overlays(
    trained: tuple[Path, ConfigWorkflow], dataset: Path, tmp_path: Path
) -> None:
    weights = str(trained[0] / "model.pt")
    workflow(("train", *OVERLAYS, "evaluate"), dataset, tmp_path, fold=1, ckpt_path=weights).run()
    assert sorted(read_cases(tmp_path / "cases.csv", ["dsc"])) == ["p2", "p3"]

    # A volume of 1 mm with slices of 3 mm: its pixels change, its slices do not.
    volume = np.random.default_rng(0).normal(40, 20, (64, 56, 5)).astype(np.int16)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "ct.nii.gz")
    options = {"input": str(tmp_path / "ct.nii.gz"), "ckpt_path": weights, "progress": False}
    flow = workflow(("inference", *OVERLAYS), dataset, tmp_path / "masks", **options)
    flow.run()
    grid = flow.parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "ct.nii.gz")})["image"]
    assert grid.shape == (1, 80, 70, 5)
    mask = nib.load(tmp_path / "masks" / "ct_seg.nii.gz")
    assert mask.shape == volume.shape and np.allclose(mask.affine, np.diag([1.0, 1.0, 3.0, 1.0]))


def test_slabs_of_several_slices_are_refused(dataset: Path, tmp_path: Path) -> None:
    flow = workflow(("train", *OVERLAYS), dataset, tmp_path, in_slices=3, out_slices=3)
    with pytest.raises(RuntimeError, match="SlabDataset") as caught:
        flow.parser.get_parsed_content("train#dataset")
    assert "set in_slices and out_slices to 1, got in_slices 3" in str(caught.value.__cause__)


def test_each_network_learns_alone_to_the_end_of_its_rate_before_joint_training() -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", *OVERLAYS))
    stages = parser.get_parsed_content("stages")
    assert sum(stage["length"] for stage in stages) == parser.get_parsed_content("epochs")
    assert [stage["stage"] for stage in stages] == ["coarse", "fine", "fine", "joint", "joint"]
    rates = [tuple(learning_rate_factor(stage, at) for at in (0.0, 1.0)) for stage in stages]
    assert rates[0] == (1.0, 0.01)
    assert rates[1] == (0.05, 0.05) and stages[1]["length"] == 1  # batch norms and decoder meet crops
    assert rates[2] == (1.0, 0.01)
    assert rates[3][0] == 0.3 and rates[3][1] == rates[4][0] and rates[4][1] == 0.0


@pytest.mark.parametrize(("start", "copies"), [(None, True), ("start.pt", False)])
def test_the_fine_network_begins_as_a_copy_where_it_has_no_start_of_its_own(start: str | None, copies: bool) -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", *OVERLAYS))
    parser["init_weights"] = start
    assert parser.get_parsed_content("stages")[0]["copy_to_fine"] is copies


@pytest.mark.parametrize("base", [(), ("three_views",)])
def test_without_the_coarse_stage_the_other_stages_keep_their_length(base: tuple[str, ...]) -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", *base, "from_coarse"))
    lengths = [stage["length"] for stage in parser.get_parsed_content("stages") if stage["stage"] != "coarse"]
    assert parser.get_parsed_content("epochs") == parser.get_parsed_content("val_interval") == sum(lengths)


@pytest.mark.parametrize("method", ["stepwise", "coarse_only", "shared_encoder", "truth_reference"])
def test_what_goes_on_from_coarse_networks_is_as_long_whatever_its_stages(method: str) -> None:
    """A comparison of methods is one of the same number of iterations."""
    parser, default = ConfigParser(), ConfigParser()
    parser.read_config(config_files("train", "three_views", "from_coarse", method))
    default.read_config(config_files("train", "three_views", "from_coarse"))
    assert parser.get_parsed_content("epochs") == default.get_parsed_content("epochs") > 1


@pytest.mark.parametrize("name", ["zoom", "affine", "phase", "low_resolution", "noise", "gamma", "scale", "shift"])
def test_every_augmentation_of_the_recipe_keeps_shape_and_range_of_a_slab(name: str) -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", *OVERLAYS))
    assert name in parser["augmentations"]
    parser["augmentations"] = {name: parser["augmentations"][name]}
    transform = parser.get_parsed_content("augmentation")
    label = torch.zeros(1, 64, 64)
    label[:, 20:40, 24:44] = 1
    changed = []
    for seed in range(8):
        slab = {"image": 0.2 + 0.6 * label, "label": label.clone()}
        found = transform.set_random_state(seed=seed)(slab)
        assert found["image"].shape == found["label"].shape == (1, 64, 64)
        assert -0.5 < found["image"].min() and found["image"].max() < 1.5
        changed.append(not torch.equal(torch.as_tensor(found["image"]), 0.2 + 0.6 * label))
        # The target stays with its image.
        assert set(torch.as_tensor(found["label"]).unique().tolist()) == {0.0, 1.0}
        if name in ("zoom", "affine"):
            assert ((torch.as_tensor(found["image"]) > 0.5) != (torch.as_tensor(found["label"]) > 0.5)).sum() < 60
        else:
            assert torch.equal(torch.as_tensor(found["label"]), label)
    assert any(changed)

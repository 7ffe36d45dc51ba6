# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Every overlay of ``configs/`` is built, with its networks made small, and runs one step of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from c2f_monai.handlers import change_stages
from c2f_monai.networks import DeepLab, FCN8s
from tests.bundle.overlays import CONFIGS, ROOT, config_files, run_bundle, write_organs

OVERLAYS = sorted(name for name, path in CONFIGS.items() if path.parent.parent == ROOT / "configs")
# Overlays that train nothing or need weights: other modules of this folder run them.
ELSEWHERE = {
    "backbone_as_organ_coarse",
    "imported_rstn",
    "organ_then_cyst",
    "organs_alone",
    "several_organs_inference",
    "unet3d",
    "unet3d_published",
    "vnet",
}
# What an overlay is appended to where it is not the training alone.
BASES = {
    "backbone_as_coarse": ("train", "three_views", "deeplab"),
    "backbone_as_fine": ("train", "three_views", "unet"),
    "cyst_multi_label": ("train", "three_views", "cyst"),
    "cyst_cropped": ("train", "three_views", "cyst"),
    "msd_pancreas": ("train", "three_views", "published"),
    "nih": ("train", "three_views", "published"),
    "pancreas_only": ("train", "three_views", "published", "msd_pancreas"),
    "not_tuned": ("train", "three_views", "published"),
    "published_coarse": ("train", "three_views", "stepwise", "published", "published_stepwise"),
    "published_fine": ("train", "three_views", "stepwise", "published", "published_stepwise"),
    "published_stepwise": ("train", "three_views", "stepwise", "published"),
}
FCN = {"backbone_def#width": 2, "backbone_def#fc_channels": 4, "backbone_def#fc_kernel_size": 3}
DEEPLAB = {"backbone_def#width": 2, "backbone_def#aspp_channels": 2}
UNET = {"backbone_def#channels": [2, 4], "backbone_def#strides": [2]}
SMALL: dict[str, dict[str, Any]] = {
    "backbone_as_coarse": DEEPLAB,
    "backbone_as_fine": UNET,
    "deeplab": DEEPLAB,
    "fcn8s_compact": FCN,
    "fcn8s_full": FCN,
    "msd_pancreas": {"fold": None},  # folds are tested with a data set that has them, in test_data_overlays.py
    "nih": {"fold": None},
    "nih_slices": {"fold": None},
    "pancreas_only": {"fold": None},
    "shared_encoder": {"backbone_def": {"_target_": "c2f_monai.networks.LiteUNet", "_mode_": "callable"}},
    "unet": UNET,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Organ, cyst and decoy."""
    return write_organs(tmp_path_factory.mktemp("data"))


def network_of(*names: str, key: str = "network_def", **override: Any) -> torch.nn.Module:
    """The network of a configuration, or those of another id, without values."""
    parser = ConfigParser()
    parser.read_config(config_files(*names))
    parser.update({"bundle_root": str(ROOT / "bundle"), **override})
    with torch.device("meta"):
        return parser.get_parsed_content(key)


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name not in ELSEWHERE])
def test_an_overlay_runs_one_step(name: str, dataset: Path, tmp_path: Path) -> None:
    flow = run_bundle((*BASES.get(name, ("train", "three_views")), name), dataset, tmp_path, **SMALL.get(name, {}))
    assert flow.parser.get_parsed_content("train#trainer").state.iteration == 1
    state = torch.load(tmp_path / "checkpoint_1.pt", weights_only=True)["network"]
    assert state and all(torch.isfinite(value).all() for value in state.values())


def test_what_is_run_elsewhere_is_an_overlay() -> None:
    assert set(OVERLAYS) >= ELSEWHERE


@pytest.mark.parametrize(
    ("names", "coarse", "fine"),
    [
        (("fcn8s_full",), FCN8s, FCN8s),
        (("fcn8s_compact",), FCN8s, FCN8s),
        (("deeplab",), DeepLab, DeepLab),
        (("deeplab", "backbone_as_coarse"), DeepLab, FCN8s),
        (("deeplab", "backbone_as_fine"), FCN8s, DeepLab),
        (("unet",), UNet, UNet),
        (("unet", "coarse_only"), UNet, type(None)),
        (("stepwise", "unet", "backbone_as_fine"), FCN8s, UNet),
        (("published", "deeplab", "backbone_as_coarse"), DeepLab, FCN8s),
    ],
)
def test_a_backbone_is_coarse_or_fine_or_both(names: tuple[str, ...], coarse: type, fine: type) -> None:
    view = network_of("train", "three_views", *names).views["axial"]
    assert (type(view.coarse), type(view.fine)) == (coarse, fine)


def test_a_backbone_is_the_coarse_part_of_the_organ_alone() -> None:
    """Each part fits what its own training makes."""
    names = ("three_views", "stepwise", "organ_then_cyst", "deeplab", "backbone_as_organ_coarse")
    networks = network_of("inference", *names, key="networks")
    parts = {name: networks[name].views["axial"] for name in ("organ", "neoplasm")}
    types = {name: (type(part.coarse), type(part.fine)) for name, part in parts.items()}
    assert types == {"organ": (DeepLab, FCN8s), "neoplasm": (FCN8s, FCN8s)}
    organ = network_of("train", "three_views", "deeplab", "backbone_as_coarse", "stepwise").state_dict()
    cyst = network_of("train", "three_views", "stepwise").state_dict()
    for name, trained in (("organ", organ), ("neoplasm", cyst)):
        used = networks[name].state_dict()
        assert {key: value.shape for key, value in used.items()} == {key: v.shape for key, v in trained.items()}


@pytest.mark.parametrize("name", ["", "unet", "deeplab", "fcn8s_full", "fcn8s_compact", "coarse_only", "nih_slices"])
def test_the_default_recipe_takes_an_overlay_as_it_is(name: str) -> None:
    """Network and optimizer of one view, and the same network in inference."""
    names = (name,) if name else ()
    parser = ConfigParser()
    parser.read_config(config_files("train", *names))
    parser.update({"bundle_root": str(ROOT / "bundle"), "network": "@network_def"})
    with torch.device("meta"):
        rates = [group["lr"] for group in parser.get_parsed_content("parameter_groups")]
    assert max(rates) == parser["learning_rate"] and len(rates) >= 1
    trained, used = (network_of(base, *names).state_dict() for base in ("train", "inference"))
    assert {key: value.shape for key, value in used.items()} == {key: value.shape for key, value in trained.items()}


@pytest.mark.parametrize("name", ["backbone_as_coarse", "backbone_as_fine"])
def test_parts_of_two_forms_are_trained_beside_each_other_from_the_start(name: str) -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", "three_views", "deeplab", name))
    stages = parser.get_parsed_content("stages")
    found = change_stages(stages, {"coarse": parser.get_parsed_content("coarse_stage")})
    assert stages[0]["stage"] == "coarse" and stages[0]["copy_to_fine"]
    assert found[0] == {**stages[0], "stage": "separate", "copy_to_fine": False, "rounds": 1}
    assert found[1:] == stages[1:]


def test_a_shared_encoder_is_trained_by_both_networks_and_then_jointly() -> None:
    parser = ConfigParser()
    parser.read_config(config_files("train", "shared_encoder"))
    kinds = ("coarse", "fine", "joint")
    changes = {kind: parser.get_parsed_content(f"{kind}_stage") for kind in kinds}
    stages = parser.get_parsed_content("stages")
    first, *joint = change_stages(stages, changes)
    assert (first["stage"], first["rounds"], first["copy_to_fine"]) == ("separate", 1, False)
    assert joint == [stage for stage in stages if stage["stage"] == "joint"]
    # The training is as long as with networks of their own.
    assert first["length"] + sum(stage["length"] for stage in joint) == parser.get_parsed_content("epochs")


@pytest.mark.parametrize("part", [(), ("backbone_as_coarse",), ("backbone_as_fine",)], ids=["both", "coarse", "fine"])
@pytest.mark.parametrize("name", ["fcn8s_full", "fcn8s_compact", "deeplab", "unet"])
def test_what_a_backbone_was_trained_to_fits_the_inference(name: str, part: tuple[str, ...]) -> None:
    trained, used = (network_of(base, "three_views", name, *part).state_dict() for base in ("train", "inference"))
    assert {key: value.shape for key, value in used.items()} == {key: value.shape for key, value in trained.items()}


def test_backbones_follow_the_number_of_classes() -> None:
    network = network_of("train", "three_views", "deeplab", "several_organs", label_value=[[1], [2, 3], [4]])
    assert network.out_channels == 3
    assert network.views["axial"].coarse.score.out_channels == network.views["axial"].fine.score.out_channels == 9


def test_the_full_size_is_the_published_network_and_the_compact_one_is_the_bundles() -> None:
    def shapes(*names: str) -> dict[str, torch.Size]:
        return {
            key: value.shape
            for key, value in network_of("train", "three_views", *names, views=["axial"]).state_dict().items()
        }

    assert shapes("fcn8s_full") == shapes("published")
    assert shapes("fcn8s_compact") == shapes("published", "fcn8s_compact") == shapes()


@pytest.mark.parametrize(("base", "inferer"), [("train", "validate#inferer"), ("inference", "inferer")])
def test_rounds_come_to_rest_in_evaluation_as_in_inference(base: str, inferer: str) -> None:
    parser = ConfigParser()
    parser.read_config(config_files(base, "three_views", "stepwise", "at_rest"))
    found = parser.get_parsed_content(inferer)
    assert (found.damping, found.damping_decay, found.stopping.dice) == (0.7, 0.5, 0.99)
    assert (found.coarse_fusion, found.fine_fusion) == ("vote", "mean")


def test_evaluation_takes_what_the_loop_of_inference_takes() -> None:
    loops = []
    for base, inferer in (("train", "validate#inferer"), ("inference", "inferer")):
        parser = ConfigParser()
        parser.read_config(config_files(base))
        loops.append({key for key, value in parser[inferer].items() if str(value).startswith("@") and key[0] != "_"})
    # What only masks of cases need, or where a case lies.
    assert loops[1] - loops[0] == {"exclusive", "quality", "air_threshold", "volume_device", "keep_rounds", "progress"}

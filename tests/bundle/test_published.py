# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The chapter's constants, read off trainers that run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from c2f_monai.handlers import save_weights
from c2f_monai.networks import FCN8s
from c2f_monai.networks.weights import import_vgg16
from tests.bundle.overlays import ROOT, config_files, write_organs

RSTN = ("train", "three_views", "published")
STEPWISE = ("train", "three_views", "stepwise", "published", "published_stepwise")
# Two channels in the place of 64 and 4096; the last two are of time alone.
SMALL: dict[str, Any] = {
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "views": ["axial"],
    "min_pixels": 1,
    "items_per_epoch": 2,
    "epochs": 3,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Organ, cyst and decoy."""
    return write_organs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16 of two channels, as ``import-weights vgg16`` writes it."""
    torch.manual_seed(1)
    with torch.device("meta"):
        shapes = [value.shape for key, value in FCN8s(width=2, fc_channels=4).state_dict().items() if "block" in key]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")]
    source = {name: 0.3 * torch.randn(shape) for name, shape in zip(names, shapes, strict=True)}
    path = tmp_path_factory.mktemp("start") / "vgg16_start.pt"
    save_weights(import_vgg16(source, ["axial"], partial(FCN8s, width=2, fc_channels=4)), path)
    return path


def training(names: tuple[str, ...], dataset: Path, output: Path, **override: Any) -> ConfigWorkflow:
    """A training that is ready to run; ``flow.parser`` holds its parts."""
    flow = ConfigWorkflow(
        config_file=config_files(*names),
        meta_file=None,
        logging_file=False,
        workflow_type="train",
        bundle_root=str(ROOT / "bundle"),
        dataset_dir=str(dataset),
        output_dir=str(output),
        **SMALL | override,
    )
    flow.initialize()
    return flow


def parts_of(flow: ConfigWorkflow) -> Any:
    """The networks of the axial view."""
    return flow.parser.get_parsed_content("network").views["axial"]


@pytest.mark.parametrize(("names", "random"), [(RSTN, True), (STEPWISE, False)], ids=["rstn", "stepwise"])
def test_training_starts_from_the_imported_convolutions(
    names: tuple[str, ...], random: bool, dataset: Path, start: Path, tmp_path: Path
) -> None:
    flow = training(names, dataset, tmp_path, init_weights=str(start), epochs=1, learning_rate=0.0)
    flow.run()
    expected = torch.load(start, weights_only=True)
    for part in (parts_of(flow).coarse, parts_of(flow).fine):
        own = part.state_dict()
        assert part.original_padding
        for key in ("block1.conv1_1.weight", "block5.conv5_3.bias"):
            torch.testing.assert_close(own[key], expected[f"views.axial.coarse.{key}"], rtol=0, atol=0)
        for name in ("upscore2", "upscore_pool4", "upscore8"):
            kernel = getattr(part, name).weight
            assert kernel.requires_grad == random and bool(kernel[0, 1].any()) == random, name


def test_the_fast_option_pads_as_much_as_keeps_the_size(dataset: Path, tmp_path: Path) -> None:
    flow = training(RSTN, dataset, tmp_path, **{"fcn_def#padding": "same"})
    assert not parts_of(flow).fine.original_padding

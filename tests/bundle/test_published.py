# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The chapter's constants, read off trainers that run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from c2f_monai.apps.merge import merge_weights, replace_coarse
from c2f_monai.handlers import save_weights
from c2f_monai.metrics.tables import read_cases
from c2f_monai.networks import FCN8s
from c2f_monai.networks.weights import import_vgg16
from tests.bundle.overlays import ROOT, config_files
from tests.bundle.volumes import make_volume, write_nifti

EVALUATION = ("three_views", "stepwise", "published", "published_stepwise", "evaluate")
RSTN = ("train", "three_views", "published")
STEPWISE = ("train", "three_views", "stepwise", "published", "published_stepwise")
COARSE, FINE = (*STEPWISE, "published_coarse"), (*STEPWISE, "published_fine")
# Two channels in the place of 64 and 4096, and one view.
SMALL: dict[str, Any] = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "views": ["axial"]}
# In the place of 1000; the cases are small, too.
SHORT: dict[str, Any] = {"items_per_epoch": 2, "min_pixels": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases for training, two for testing: a target of 144 pixels in six axial slices, of 25 in two more."""
    folder = tmp_path_factory.mktemp("data")
    lists: dict[str, list[dict[str, str]]] = {"training": [], "test": []}
    for number in range(4):
        label = np.zeros((32, 32, 24), np.uint8)
        label[8:20, 10:22, 8:14], label[10:15, 12:17, 14:16] = 1, 1
        item = {"image": f"i{number}.nii.gz", "label": f"l{number}.nii.gz"}
        write_nifti(folder / item["image"], make_volume(label.shape, number) + 80 * label)
        write_nifti(folder / item["label"], label)
        lists["training" if number < 2 else "test"].append(item)
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    return folder


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
    flow = training(names, dataset, tmp_path, init_weights=str(start), epochs=1, learning_rate=0.0, **SHORT)
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


def seen(flow: ConfigWorkflow) -> list[tuple[int, str, dict[str, float]]]:
    """Run a training: the epoch of each iteration, its stage, and the learning rate of each part's weights."""
    trainer, found = flow.parser.get_parsed_content("train#trainer"), []
    network = flow.parser.get_parsed_content("network")
    names = {parameter: name for name, parameter in network.named_parameters() if name.endswith("weight")}

    def look() -> None:
        groups = flow.parser.get_parsed_content("optimizer").param_groups
        rates = {names[p].split(".")[2]: group["lr"] for group in groups for p in group["params"] if p in names}
        found.append((trainer.state.epoch, flow.parser.get_parsed_content("train#inferer").stage, rates))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    flow.run()
    return found


@pytest.mark.parametrize(
    ("names", "iterations", "stage", "part", "rate", "slices"),
    [(COARSE, 80_000, "coarse", "coarse", 1e-5, 2 * 6), (FINE, 60_000, "fine", "fine", 1e-4, 2 * 8)],
    ids=["coarse", "fine"],
)
def test_the_step_wise_trainings_are_two_apart(
    names: tuple[str, ...],
    iterations: int,
    stage: str,
    part: str,
    rate: float,
    slices: int,
    dataset: Path,
    tmp_path: Path,
) -> None:
    flow = training(names, dataset, tmp_path / "length")
    trainer, data = (flow.parser.get_parsed_content(f"train#{name}") for name in ("trainer", "dataset"))
    assert trainer.state.max_epochs * len(trainer.data_loader) == iterations and len(data) == 1000
    assert len(data.index[data.views[0]].positive) == slices
    flow = training(names, dataset, tmp_path / "run", epochs=2, **SHORT)
    before = {key: value.clone() for key, value in parts_of(flow).state_dict().items()}
    found = seen(flow)
    assert [name for _, name, _ in found] == [stage] * 4
    assert [rates[part] for *_, rates in found] == pytest.approx([rate] * 4)
    moved = {key.split(".")[0] for key, value in parts_of(flow).state_dict().items() if not value.equal(before[key])}
    assert moved == {part}


def test_the_fine_training_draws_each_margin_from_0_to_60(dataset: Path, tmp_path: Path) -> None:
    data = training(FINE, dataset, tmp_path, items_per_epoch=400).parser.get_parsed_content("train#dataset")
    margins = torch.cat([data[index]["margins"]["axial"] for index in range(400)])
    assert (margins.amin(0).tolist(), margins.amax(0).tolist()) == ([0] * 4, [60] * 4)
    assert margins.float().mean(0).tolist() == pytest.approx([30] * 4, abs=4)


def test_rstn_trains_and_is_tested_with_20_pixels_around_the_box(dataset: Path, tmp_path: Path) -> None:
    """The draw from 0 to 60 is that of the step-wise fine training alone."""
    parser = training(RSTN, dataset, tmp_path, items_per_epoch=20).parser
    data = parser.get_parsed_content("train#dataset")
    margins = torch.cat([data[index]["margins"]["axial"] for index in range(20)])
    assert margins.unique().tolist() == [20]
    rule = parser.get_parsed_content("validate#inferer").rule
    assert (rule.margin, rule.max_margin) == (20, None)


@pytest.mark.parametrize(("names", "part"), [(COARSE, "coarse"), (FINE, "fine")], ids=["coarse", "fine"])
def test_a_step_is_the_rate_times_the_gradient_of_the_chapters_loss(
    names: tuple[str, ...], part: str, dataset: Path, tmp_path: Path
) -> None:
    """No weight of a round takes a share of it: 1 - 2 sum(Y P) / (sum Y + sum P), one sum over a slab."""
    flow = training(names, dataset, tmp_path, epochs=1, **SHORT | {"items_per_epoch": 1, "fcn_def#dropout": 0.0})
    trainer, network = (flow.parser.get_parsed_content(name) for name in ("train#trainer", "network"))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    seen_by_loss: list[tuple[torch.Tensor, torch.Tensor]] = []
    loss = trainer.loss_function
    trainer.loss_function = lambda given, truth: (seen_by_loss.append((given, truth)), loss(given, truth))[1]
    flow.run()
    ((given, truth),) = seen_by_loss
    found, target = given["axial"].detach(), truth["axial"].float()
    # Each map with the weight 1. In the fine training the coarse one is empty and constant: it adds 1 and no gradient.
    expected = sum(1 - 2 * (own * target).sum() / (own.sum() + target.sum()) for own in found.unbind(1))
    assert found.shape[1] == {"coarse": 1, "fine": 2}[part]
    assert part == "coarse" or not found[:, 0].any()
    assert float(trainer.state.output[0]["loss"]) == pytest.approx(float(expected), abs=1e-5)
    rate = {"coarse": 1e-5, "fine": 1e-4}[part]
    name = f"views.axial.{part}.score_fr.weight"
    parameter = dict(network.named_parameters())[name]
    assert parameter.grad is not None and parameter.grad.abs().max() > 0
    step = before[name] - parameter.detach()  # the first step of SGD: momentum has nothing to add
    torch.testing.assert_close(step, rate * (parameter.grad + 5e-4 * before[name]), rtol=1e-3, atol=1e-9)


def test_the_two_trainings_become_one_model_that_is_tested(dataset: Path, tmp_path: Path) -> None:
    for name, files in (("coarse", COARSE), ("fine", FINE)):
        training(files, dataset, tmp_path / name, epochs=1, **SHORT).run()
    paths = {name: tmp_path / name / "model.pt" for name in ("coarse", "fine")}
    states = {name: torch.load(path, weights_only=True) for name, path in paths.items()}
    merged = replace_coarse(merge_weights([paths["fine"]]), paths["coarse"])
    for key, value in merged.items():
        assert value.equal(states["coarse" if ".coarse." in key else "fine"][key]), key
    save_weights(merged, tmp_path / "model.pt")
    flow = training(("train", *EVALUATION), dataset, tmp_path / "test", ckpt_path=str(tmp_path / "model.pt"))
    flow.run()
    assert len(read_cases(tmp_path / "test" / "cases.csv", ["dsc"])) == 2


def test_the_model_that_is_not_fine_tuned_is_kept_after_its_80_000_iterations(dataset: Path, tmp_path: Path) -> None:
    flow = training(RSTN, dataset, tmp_path / "length")
    trainer, schedule = (flow.parser.get_parsed_content(name) for name in ("train#trainer", "stages"))
    assert trainer.state.max_epochs * len(trainer.data_loader) == 120_000
    assert [(stage["stage"], stage["length"]) for stage in schedule] == [("individual", 80_000), ("joint", 40_000)]
    flow = training(RSTN, dataset, tmp_path / "run", epochs=3, **SHORT)
    checkpoints: dict[int, dict[str, torch.Tensor]] = {}
    trainer, network = (flow.parser.get_parsed_content(name) for name in ("train#trainer", "network"))

    def keep() -> None:
        checkpoints[trainer.state.epoch] = {key: value.clone() for key, value in network.state_dict().items()}

    trainer.add_event_handler(Events.EPOCH_COMPLETED, keep)
    found = seen(flow)
    assert [stage for _, stage, _ in found] == ["individual"] * 4 + ["joint"] * 2
    for part in ("coarse", "saliency", "fine"):
        assert [rates[part] for *_, rates in found] == pytest.approx([1e-4] * 4 + [1e-6] * 2)
    for name, epoch in (("model_individual.pt", 2), ("model.pt", 3)):
        state = torch.load(tmp_path / "run" / name, weights_only=True)
        assert all(value.equal(checkpoints[epoch][key]) for key, value in state.items()), name


@pytest.mark.parametrize("names", [RSTN, COARSE, FINE], ids=["rstn", "coarse", "fine"])
def test_every_case_is_trained_on_and_none_chooses_the_weights(
    names: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    parser = training(names, dataset, tmp_path, **SHORT).parser
    assert len(parser.get_parsed_content("train#dataset").volumes) == 2  # all of the training list
    assert not parser.get_parsed_content("validate#dataset#data")
    assert parser["selection"] == "last"


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_the_rounds_of_training_are_a_number(rounds: int, dataset: Path, tmp_path: Path) -> None:
    flow = training(RSTN, dataset, tmp_path, rounds=rounds, epochs=1, **SHORT)
    seen(flow)
    assert flow.parser.get_parsed_content("train#inferer").rounds == rounds
    assert flow.parser.get_parsed_content("loss").rounds["axial"].shape == (rounds + 1,)

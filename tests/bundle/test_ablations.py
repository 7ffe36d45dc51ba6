# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an ablation changes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from c2f_monai.handlers import change_stages
from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import SlabSpec, bounding_boxes
from tests.bundle.overlays import ROOT, config_files, run_bundle, write_organs

VIEWS = ["sagittal", "coronal", "axial"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Organ, cyst and decoy."""
    return write_organs(tmp_path_factory.mktemp("data"))


def parser_of(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(config_files(*names))
    parser["bundle_root"] = str(ROOT / "bundle")
    return parser


def stages_of(parser: ConfigParser) -> list[dict[str, Any]]:
    """The stages that the schedule's handler is given, changed as it changes them."""
    (schedule,) = (entry for entry in parser["train#handlers"] if entry["_target_"].endswith("StageSchedule"))
    own = ConfigParser({**parser.get(), "schedule": {key: schedule[key] for key in ("stages", "changes")}})
    return change_stages(**own.get_parsed_content("schedule"))


@pytest.mark.parametrize("base", [(), ("published",)], ids=["bundle", "published"])
def test_without_predicted_references_every_joint_stage_is_individual(base: tuple[str, ...]) -> None:
    stages = parser_of("train", "three_views", *base).get_parsed_content("stages")
    found = stages_of(parser_of("train", "three_views", *base, "truth_reference"))
    assert any(stage["stage"] == "joint" for stage in stages)
    assert [stage["stage"] for stage in found] == [
        "individual" if stage["stage"] == "joint" else stage["stage"] for stage in stages
    ]
    for ours, theirs in zip(found, stages, strict=True):
        assert {**ours, "stage": ""} == {**theirs, "stage": ""}


def test_the_whole_image_is_the_box(dataset: Path, tmp_path: Path) -> None:
    flow = run_bundle(("train", "three_views", "whole_image"), dataset, tmp_path, margin=None)
    item = flow.parser.get_parsed_content("train#dataset")[0]
    inferer = flow.parser.get_parsed_content("train#inferer")
    target, size = item["label"]["axial"][None], torch.tensor([item["image"]["axial"].shape[-2:]])
    draws = {"size": size, "margins": item["margins"]["axial"][None], "fallback": item["fallback"]["axial"][None]}
    boxes = inferer._ungrown_boxes(bounding_boxes(target > 0.5), target, draws, 0)
    assert boxes.tolist() == [[0, 0, *item["image"]["axial"].shape[-2:]]]


SINGLE_SLICE = {"in_slices": 1, "out_slices": 1}


def test_single_slices_go_through_training_evaluation_and_inference(dataset: Path, tmp_path: Path) -> None:
    options = {**SINGLE_SLICE, "views": VIEWS}
    flow = run_bundle(("train", "three_views"), dataset, tmp_path / "train", **options)
    item = flow.parser.get_parsed_content("train#dataset")[0]
    assert (len(item["image"]["axial"]), len(item["label"]["axial"])) == (1, 1)
    network = flow.parser.get_parsed_content("network_def")
    assert network.slab == SlabSpec(1, 1) and network.views["axial"].coarse(torch.zeros(2, 1, 32, 32)).shape[1] == 1
    for files in (("train", "three_views", "evaluate"), ("inference", "three_views")):
        output = tmp_path / files[-1]
        run_bundle(files, dataset, output, ckpt_path=str(tmp_path / "train" / "model.pt"), **options)
        assert sorted(read_cases(output / "cases.csv", ["dsc"])) == ["test0", "test1"]


def test_single_slices_of_several_classes_and_with_the_organ_are_built(dataset: Path, tmp_path: Path) -> None:
    run_bundle(("train", "three_views", "several_organs"), dataset, tmp_path / "several", **SINGLE_SLICE)
    run_bundle(("train", "three_views", "cyst", "cyst_multi_label"), dataset, tmp_path / "both", **SINGLE_SLICE)
    parser = parser_of("inference", "three_views", "organ_then_cyst")
    parser.update(SINGLE_SLICE)
    networks = parser.get_parsed_content("networks")
    assert {network.slab for network in networks.values()} == {SlabSpec(1, 1)}


def test_a_part_of_a_training_ends_in_time_and_the_next_one_continues(dataset: Path, tmp_path: Path) -> None:
    flow = run_bundle(("train", "three_views", "time_limit"), dataset, tmp_path, epochs=2)
    assert flow.parser.get_parsed_content("train#trainer").state.epoch == 2
    limit = next(
        handler
        for handlers in flow.parser.get_parsed_content("train#trainer")._event_handlers.values()
        for handler, *_ in handlers
        if type(handler).__name__ == "TimeLimit"
    )
    assert limit.limit_sec == 2400
    limit.start_time -= 2401
    engine = SimpleNamespace(terminate=lambda: setattr(engine, "ended", True))
    limit(engine)
    assert engine.ended
    flow = run_bundle(("train", "three_views", "time_limit"), dataset, tmp_path, epochs=3, resume=True)
    assert sorted(path.name for path in tmp_path.glob("checkpoint_*")) == ["checkpoint_2.pt", "checkpoint_3.pt"]


TRAININGS = {training.name: training for table in build_tables(DEFAULT_ORGANS).values() for training in table.trainings}
# Plain or run elsewhere: the bundle's own, the comparators of test_yardsticks.py, the box of the test above.
ELSEWHERE = {"rstn", "stepwise", "unet3d", "vnet", "rstn_whole_image"}


@pytest.mark.parametrize("name", sorted(TRAININGS.keys() - ELSEWHERE))
def test_every_training_of_an_experiment_runs_one_step(name: str, dataset: Path, tmp_path: Path) -> None:
    training = TRAININGS[name]
    files = [Path(file).stem for file in training.overlays]
    flow = run_bundle(("train", "three_views", *files, "time_limit"), dataset, tmp_path, **training.options)
    assert flow.parser.get_parsed_content("train#trainer").state.iteration == 1
    for key, value in training.options.items():
        assert flow.parser.get(key) == value


def test_every_evaluation_of_an_experiment_sets_ids_that_are_there() -> None:
    for table in build_tables(DEFAULT_ORGANS).values():
        for evaluation in table.evaluations:
            base = (
                ("inference", "three_views") if evaluation.base == "inference" else ("train", "three_views", "evaluate")
            )
            parser = parser_of(*base, *(Path(file).stem for file in evaluation.overlays))
            for key in (*evaluation.options, *evaluation.further, "ckpt_path", "fold"):
                assert parser.get(key, "missing") != "missing", f"{evaluation.name}: {key}"

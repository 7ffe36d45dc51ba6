# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation through the bundle, on tiny volumes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from tests.processes import run_processes

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
CONFIGS = BUNDLE / "configs"
EMA = BUNDLE.parent / "configs" / "run" / "ema"
TINY: dict[str, Any] = {
    "pixdim": None,
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "crop_multiple": 8,
    "min_size": 40,
    "slab_multiple": 64,
    "margin": 2,
    "min_pixels": 4,
    "batch_size": 2,
    "items_per_epoch": 4,
    "epochs": 4,
    "val_interval": 4,
    "warmup": 0,
    "max_rounds": 2,
    "train_amp_dtype": None,
    "stages": [
        {"stage": "coarse", "length": 1, "copy_to_fine": "$@init_weights is None"},
        {"stage": "separate", "length": 1},
        {"stage": "individual", "length": 1},
        {"stage": "joint", "length": 1},
    ],
}
UNET = {"_target_": "UNet", "_mode_": "callable", "spatial_dims": 2, "in_channels": 3, "out_channels": 3}
UNET |= {"channels": [8, 16], "strides": [2], "norm": "batch"}
FAST = {"epochs": 12, "val_interval": 12, "items_per_epoch": 16, "learning_rate": 0.02, "negative_fraction": 0.0}


def write_case(folder: Path, name: str, seed: int, orientation: str = "RAS", target: int = 2) -> dict[str, str]:
    """An ellipsoid of 150 HU in noise of 30 HU around 0, labels 1 and 2 its halves."""
    rng = np.random.default_rng(seed)
    shape = (24, 28, 20)
    center = np.array([12, 14, 10]) + rng.integers(-2, 3, 3)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    inside = (((grid - center) / (6, 5, 4)) ** 2).sum(-1) <= 1
    label = inside * np.where(grid[..., 0] < center[0], 1, target)
    image = rng.normal(0, 30, shape) + 150 * inside
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    codes = nib.orientations.axcodes2ornt(tuple(orientation))
    for kind, array, dtype in (("image", image, np.int16), ("label", label, np.uint8)):
        volume = nib.Nifti1Image(array.astype(dtype), affine)
        nib.save(
            volume.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), codes)),
            folder / f"{name}_{kind}.nii.gz",
        )
    return {"image": f"{name}_image.nii.gz", "label": f"{name}_label.nii.gz"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Decathlon-style folder without a validation split."""
    folder = tmp_path_factory.mktemp("data")
    lists = {
        "training": [
            write_case(folder, f"train{i}", i, orientation)
            for i, orientation in enumerate(("RAS", "LPS", "RAS", "PIR"))
        ],
        "test": [
            write_case(folder, f"test{i}", 10 + i, orientation) for i, orientation in enumerate(("RAS", "LPS", "SAR"))
        ],
    }
    (folder / "dataset.json").write_text(json.dumps({"labels": {"1": "a", "2": "b"}} | lists), encoding="utf-8")
    return folder


def workflow(
    dataset: Path, output: Path, files: tuple[str, ...] = ("train", "three_views"), **override: Any
) -> ConfigWorkflow:
    options = TINY | {"bundle_root": str(BUNDLE), "dataset_dir": str(dataset), "output_dir": str(output)} | override
    return ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in files],
        meta_file=None,
        logging_file=False,
        workflow_type="train",
        **options,
    )


def run(*args: Any, **kwargs: Any) -> ConfigWorkflow:
    flow = workflow(*args, **kwargs)
    flow.initialize()
    flow.run()
    flow.finalize()
    return flow


def weights(folder: Path, name: str = "model.pt") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "out"
    run(dataset, folder)
    return folder


@pytest.mark.parametrize(
    "files",
    [
        ("train", "three_views"),
        ("train", "three_views", "evaluate"),
        ("train", "three_views", "stepwise"),
        ("train", "three_views", "stepwise", "evaluate"),
    ],
)
def test_consumers_find_what_they_look_up(files: tuple[str, ...], dataset: Path, tmp_path: Path) -> None:
    flow = workflow(dataset, tmp_path, files)
    flow.initialize()
    assert flow.check_properties() == []


def test_optional_ids_are_there() -> None:
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.json"))
    for name in (
        "network_def train#dataset#data train#handlers train#preprocessing val_interval validate#evaluator "
        "validate#handlers validate#dataset validate#dataset#data validate#inferer validate#preprocessing "
        "validate#postprocessing validate#key_metric"
    ).split():
        assert parser[name] is not None, name
    assert all("_target_" in handler for part in ("train", "validate") for handler in parser[f"{part}#handlers"])


def test_training_goes_through_all_stages_and_keeps_its_files(trained: Path) -> None:
    assert {p.name for p in trained.iterdir() if not p.name.startswith("events")} == {
        "model.pt",
        "model.json",
        "checkpoint_3.pt",
        "checkpoint_4.pt",
    }
    assert len(list(trained.glob("events*"))) == 1
    state = weights(trained)
    assert {key.split(".")[1] for key in state} == {"sagittal", "coronal", "axial"}
    assert all(torch.isfinite(value).all() for value in state.values())


def test_weights_are_segmented_with_the_settings_of_their_training(dataset: Path, trained: Path) -> None:
    image = dataset / "test0_image.nii.gz"
    found = Segmenter(trained / "model.pt", device="cpu")
    settings = json.loads((trained / "model.json").read_text(encoding="utf-8"))
    assert (settings["min_size"], settings["fcn_def"]["width"]) == (40, 2)
    assert settings["output_names"] == {"1": "a"} and found.origin.labels == {1: "a"}  # of dataset.json
    # of three_views.json; those of training alone, and those that inference.json has, are not there
    assert settings["views"] == ["sagittal", "coronal", "axial"] and not {"stages", "prior", "seed"} & set(settings)
    same = ("pixdim", "crop_multiple", "min_size", "margin", "max_rounds", "fcn_def#width", "fcn_def#fc_channels")
    options = {key: TINY[key] for key in same} | {"ckpt_path": str(trained / "model.pt")}
    expected = Segmenter(device="cpu", configs=["three_views.json"], options=options)
    assert torch.equal(found(image).mask, expected(image).mask)
    assert found.options == expected.options
    # What the user gives goes before.
    assert Segmenter(trained / "model.pt", device="cpu", options={"max_rounds": 1}).options["max_rounds"] == 1


def test_a_phantom_that_is_made_for_the_training_names_its_values(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ``dataset.json`` is not there yet when the configuration is read."""
    monkeypatch.setattr(
        "c2f_monai.data.datalist.write_phantom", lambda folder, cohort: shutil.copytree(dataset, folder)
    )
    phantom = tmp_path / "phantom-v1"
    flow = workflow(phantom, tmp_path / "out", default_dataset_dir=str(phantom))
    flow.initialize()
    assert not phantom.exists()
    flow.parser.get_parsed_content("train#trainer")
    (checkpoint,) = (h for h in flow.parser.get_parsed_content("train#handlers") if hasattr(h, "inference"))
    assert checkpoint.inference["output_names"] == {"1": "a"}


def test_a_packed_training_goes_on_with_its_own_network(dataset: Path, trained: Path, tmp_path: Path) -> None:
    """Learning rates by modules are those of the network that is packed, not of the package's default."""
    assert main(["pack", str(trained / "model.pt"), str(tmp_path / "packed")]) == 0
    config = json.loads((tmp_path / "packed" / "configs" / "train.json").read_text(encoding="utf-8"))
    assert config["lr_factors"] == {"coarse": 1.0, "saliency": 1.0, "fine": 1.0}
    options = {key: value for key, value in TINY.items() if not key.startswith("fcn_def")}
    options |= {"epochs": 1, "stages": TINY["stages"][-1:], "init_weights": str(tmp_path / "packed/models/model.pt")}
    options |= {"bundle_root": str(tmp_path / "packed"), "dataset_dir": str(dataset)}
    options |= {"output_dir": str(tmp_path / "on")}
    files = [str(tmp_path / "packed" / "configs" / "train.json")]
    flow = ConfigWorkflow(files, meta_file=None, logging_file=False, workflow_type="train", **options)
    flow.initialize()
    flow.run()
    flow.finalize()
    before, after = weights(trained), weights(tmp_path / "on")
    assert before.keys() == after.keys() and any(not torch.equal(before[key], after[key]) for key in before)


class KilledError(Exception):
    """Stands for a signal."""


def run_and_kill(*args: Any, **kwargs: Any) -> None:
    """A run that ends in the third epoch of two iterations."""
    from ignite.engine import Events

    def kill(engine: Any) -> None:
        raise KilledError

    flow = workflow(*args, **kwargs)
    flow.initialize()
    trainer = flow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), kill)
    with pytest.raises(RuntimeError) as caught:  # MONAI wraps what an expression raises
        flow.run()
    assert isinstance(caught.value.__cause__, KilledError)


def test_same_seed_same_weights_and_a_killed_run_continues(
    dataset: Path, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_and_kill(dataset, tmp_path)
    assert not (tmp_path / "model.pt").exists()
    with pytest.raises(RuntimeError) as caught:  # other slabs and other pixels, to which every tensor fits all the same
        run(dataset, tmp_path, resume=True, negative_fraction=0.5, coarse_downsample=2)
    assert "negative_fraction 0.1, now 0.5; coarse_downsample 1, now 2" in str(caught.value.__cause__)
    run(dataset, tmp_path, resume=True)
    assert "the run was begun with" not in caplog.text
    found, expected = weights(tmp_path), weights(trained)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resume": True, "optimizer#_target_": "torch.optim.SGD"}, "begun with optimizer AdamW, now SGD: continue"),
        ({}, "holds checkpoints of an earlier run"),
        ({"init_weights": "model.pt"}, "holds model.pt, in whose place this run would write its own: move it"),
    ],
    ids=["another optimizer", "a new run", "fine-tuning"],
)
def test_what_cannot_go_on_in_a_folder_is_refused_before_anything_is_read(
    given: dict[str, Any], message: str, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    if "init_weights" in given:
        given = {"init_weights": str(folder / "model.pt")}
        for path in folder.glob("checkpoint_*"):
            path.unlink()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RuntimeError) as caught:
        workflow(dataset, folder, **given).initialize()
    assert message in str(caught.value.__cause__)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_killed_run_with_an_average_continues_to_the_same_average(dataset: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"views": ["axial"], "selection": "last"}
    files = ("train", "three_views", str(EMA))
    run(dataset, tmp_path / "straight", files, **options)
    run_and_kill(dataset, tmp_path / "killed", files, **options)
    run(dataset, tmp_path / "killed", files, resume=True, **options)
    found, expected = (weights(tmp_path / name) for name in ("killed", "straight"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    kept = weights(tmp_path / "killed", "checkpoint_4.pt")
    assert all(torch.equal(kept["average"][key], value) for key, value in found.items())
    learned = [key for key in found if key.endswith("weight") and ".saliency." not in key]
    assert not any(torch.equal(kept["network"][key], found[key]) for key in learned)


def read_cases(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_evaluation_writes_a_row_for_each_case(dataset: Path, trained: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path, ("train", "three_views", "evaluate"), ckpt_path=str(trained / "model.pt"))
    rows = read_cases(tmp_path)
    assert sorted(rows) == ["test0_image", "test1_image", "test2_image"]
    for row in rows.values():
        assert 0.0 <= float(row["dsc"]) <= 1.0
        # No resampling and no component filter: the last round on the working grid is the answer on the file's grid.
        last = max(key for key, value in row.items() if key.startswith("dsc_round_") and value)
        assert float(row[last]) == pytest.approx(float(row["dsc"]), abs=1e-6)


def test_training_learns_with_any_2d_network(dataset: Path, tmp_path: Path) -> None:
    options = {"backbone_def": UNET, "views": ["axial"]}
    run(dataset, tmp_path, **options, **FAST)
    run(
        dataset,
        tmp_path / "eval",
        ("train", "three_views", "evaluate"),
        **options,
        ckpt_path=str(tmp_path / "model.pt"),
    )
    scores = [float(row["dsc"]) for row in read_cases(tmp_path / "eval").values()]
    assert min(scores) > 0.8


@pytest.mark.parametrize(
    ("files", "override"),
    [
        (("train", "three_views", "stepwise"), {"stages": [{"stage": "separate", "length": 1}], "epochs": 1}),
        (("train", "three_views"), {"rounds": 2, "views": ["coronal"], "batch_size": 3}),
        (("train", "three_views"), {"fine_def": None, "saliency_def": None, "epochs": 1, "views": ["axial"]}),
        (
            ("train", "three_views"),
            {"pixdim": [3.0, 3.0, 3.0], "epochs": 1, "views": ["axial"], "min_pixels": None, "fraction": 0.98},
        ),
        (("train", "three_views"), {"train_amp_dtype": "bfloat16", "epochs": 1, "views": ["axial"]}),
    ],
    ids=["step-wise", "two rounds", "coarse alone", "resampled", "bfloat16"],
)
def test_variants_train(files: tuple[str, ...], override: dict[str, Any], dataset: Path, tmp_path: Path) -> None:
    options = {"val_interval": 1, "epochs": 3} | override
    run(dataset, tmp_path, files, **options)
    assert {key.split(".")[1] for key in weights(tmp_path)} == set(
        options.get("views", ["sagittal", "coronal", "axial"])
    )


def test_all_cases_are_trained_on_and_the_last_weights_kept(dataset: Path, tmp_path: Path) -> None:
    options = {"views": ["axial"], "epochs": 2, "holdout": 0.0}
    flow = run(dataset, tmp_path, selection="last", **options)
    count = len(json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["training"])
    assert len(flow.parser.get_parsed_content("train#dataset#data")) == count
    last = weights(tmp_path, "checkpoint_2.pt")["network"]
    assert all(torch.equal(value, last[key]) for key, value in weights(tmp_path).items())
    with pytest.raises(RuntimeError) as caught:
        run(dataset, tmp_path / "best", **options)
    assert "selection best needs validation cases" in str(caught.value.__cause__)


def test_fine_tuning_starts_from_other_weights(dataset: Path, trained: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path, init_weights=str(trained / "model.pt"), views=["axial"], epochs=1, learning_rate=0.0)
    found, source = weights(tmp_path, "checkpoint_1.pt")["network"], weights(trained)
    learned = [key for key in found if key.endswith("weight")]
    assert learned and all(torch.equal(found[key], source[key]) for key in learned)


@pytest.mark.parametrize(
    ("change", "override", "message"),
    [
        ("shape", {}, r"train0_label.nii.gz has the shape \(24, 28, 19\)"),
        ("empty", {}, "has any foreground: check label_value"),
        ("ignore", {}, r"train0_label.nii.gz holds 255 in 13440 voxels, which is neither background"),
        (None, {"label_value": 7}, "has any foreground: check label_value"),
        (None, {"min_pixels": 10000}, "lower min_pixels"),
        (None, {"dataset_dir": "/nowhere"}, "/nowhere does not exist"),
        (None, {"init_weights": "/nowhere.pt"}, "there are no weights at /nowhere.pt"),
        (None, {"resume": True, "dataset_dir": "/nowhere"}, "resume: no checkpoint in .*out: leave --resume out"),
    ],
)
def test_bad_input_stops_before_training(change: str | None, override: dict, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    cases = [write_case(folder, f"train{i}", i) for i in range(3)]
    lists = {"training": cases[:2], "validation": cases[2:]}
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    for name in ("train0", "train1") if change else ():
        path = folder / f"{name}_label.nii.gz"
        value = 255 if change == "ignore" else 0
        array = np.full((24, 28, 19 if change == "shape" else 20), value, np.uint8)
        nib.save(nib.Nifti1Image(array, nib.load(path).affine), path)
    flow = workflow(folder, tmp_path / "out", **override)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - MONAI wraps errors of transforms in its own
        flow.initialize()
        flow.run()
    chain, error = "", caught.value
    while error is not None:
        chain, error = chain + f"\n{error}", error.__cause__ or error.__context__
    assert re.search(message, chain), chain
    assert not (tmp_path / "out").exists()


ENVIRONMENT = {"PYTHONPATH": str(BUNDLE.parent), "OMP_NUM_THREADS": "1"}


def words_of(config: list[str], options: dict[str, Any]) -> list[str]:
    """The command, without Python."""
    words = ["-m", "monai.bundle", "run", "--config_file", str(config)]
    for key, value in options.items():
        # The command line drops None: an expression says it.
        words += [f"--{key}", "$None" if value is None else str(value)]
    return words


def run_two(config: list[str], options: dict[str, Any], status: int = 0) -> str:
    """Two processes; what they print."""
    done = run_processes(words_of(config, options), env=os.environ | ENVIRONMENT)
    assert done.returncode == status, done.stderr[-6000:]
    return done.stdout + done.stderr


def test_a_validation_with_fewer_cases_than_processes_is_named(dataset: Path, tmp_path: Path) -> None:
    options = TINY | FAST | {"backbone_def": UNET, "views": ["axial"], "bundle_root": BUNDLE, "dataset_dir": dataset}
    options |= {"device": "cpu", "backend": "gloo", "holdout": 0.2, "output_dir": tmp_path / "train"}
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "three_views", "multi_gpu_train")]
    said = run_two(files, options, status=1)
    assert "validation (holdout or validation) has 1 cases for 2 processes: start at most 1" in said


def test_an_evaluation_with_fewer_cases_than_processes_is_named(dataset: Path, trained: Path, tmp_path: Path) -> None:
    lists = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    data = shutil.copytree(dataset, tmp_path / "data")
    (data / "dataset.json").write_text(json.dumps(lists | {"test": lists["test"][:1]}), encoding="utf-8")
    options = TINY | {"bundle_root": BUNDLE, "dataset_dir": data, "device": "cpu", "backend": "gloo"}
    options |= {"ckpt_path": trained / "model.pt", "output_dir": tmp_path / "out"}
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "three_views", "evaluate", "multi_gpu_evaluate")]
    said = run_two(files, options, status=1)
    assert "split test has 1 cases for 2 processes: start at most 1, or give it more cases." in said


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux to find the second process")
def test_a_killed_process_ends_the_training_of_all(dataset: Path, tmp_path: Path) -> None:
    """Of more epochs than the timeout has time for; the other process waits for its gradients."""
    options = TINY | FAST | {"backbone_def": UNET, "views": ["axial"], "bundle_root": BUNDLE, "dataset_dir": dataset}
    options |= {"device": "cpu", "backend": "gloo", "holdout": 0.5, "output_dir": tmp_path / "train", "epochs": 10000}
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "three_views", "multi_gpu_train")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    with subprocess.Popen(
        [*command, *words_of(files, options)],
        env=os.environ | ENVIRONMENT,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as torch_run:
        try:
            lines = iter(torch_run.stdout or [])
            assert any("epoch 2: loss" in line for line in lines)
            os.kill(child_of_rank(torch_run.pid, 1), signal.SIGKILL)
            said, _ = torch_run.communicate(timeout=60)
        finally:
            torch_run.terminate()
    assert torch_run.returncode == 1
    assert re.search(r"Signal 9 \(SIGKILL\) received by PID \d+", said)


def child_of_rank(parent: int, rank: int) -> int:
    """Process of torchrun with this rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split()
    mark = f"RANK={rank}".encode()
    (found,) = (int(pid) for pid in children if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return found


def test_two_processes_train_and_evaluate(dataset: Path, tmp_path: Path) -> None:
    """All stages with T = 2 on two processes, whose evaluation gives the numbers of one process."""

    def files(*names: str) -> list[str]:
        return [str(CONFIGS / f"{name}.json") for name in names]

    network = {"backbone_def": UNET, "views": ["axial"]}
    options = TINY | network | FAST
    options |= {"bundle_root": BUNDLE, "dataset_dir": dataset, "device": "cpu", "backend": "gloo", "rounds": 2}
    options |= {"holdout": 0.5}  # a validation case for each process
    said = run_two(files("train", "three_views", "multi_gpu_train"), options | {"output_dir": tmp_path / "train"})
    assert said.count("INFO epoch 1: loss of the coarse stage") == 1  # not one a process
    path = tmp_path / "train" / "model.pt"
    assert not any(key.startswith("module.") for key in torch.load(path, weights_only=True))
    evaluation = options | {"ckpt_path": path, "output_dir": tmp_path / "two"}
    run_two(files("train", "three_views", "evaluate", "multi_gpu_evaluate", "diagnostics"), evaluation)
    run(dataset, tmp_path / "one", ("train", "three_views", "evaluate", "diagnostics"), ckpt_path=str(path), **network)
    tables = [(tmp_path / name / "saliency.csv").read_text(encoding="utf-8") for name in ("one", "two")]
    assert tables[0] == tables[1] and tables[0].count("axial,1,") == 3
    one, two = read_cases(tmp_path / "one"), read_cases(tmp_path / "two")
    assert {case: row["dsc"] for case, row in one.items()} == {case: row["dsc"] for case, row in two.items()}
    assert min(float(row["dsc"]) for row in one.values()) > 0.5


@pytest.mark.parametrize("keep", [True, False])
def test_the_allocator_is_left_alone_where_the_configuration_says_so(
    keep: bool, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr("c2f_monai.utils.keep_freed_memory", lambda: calls.append(True))
    flow = workflow(dataset, tmp_path, keep_freed_memory=keep)
    flow.initialize()
    flow.parser["run"] = flow.parser["run"][:1]
    flow.run()
    assert calls == [True] * keep


def test_the_command_trains_from_any_directory(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    overlay = {**TINY, "epochs": 1, "val_interval": 1, "stages": TINY["stages"][-1:]}
    Path("tiny.json").write_text(json.dumps(overlay), encoding="utf-8")
    words = ["train", "--dataset", os.path.relpath(dataset), "--output", "run", "--config", "three_views.json"]
    assert main([*words, "--config", "tiny.json", "--option", "learning_rat=1"]) == 1
    assert "learning_rat is no id of the configuration" in capsys.readouterr().err
    for option in ("output_dir=elsewhere", "resume=True", "dataset_dir=mine"):
        assert main([*words, "--config", "tiny.json", "--option", option]) == 1
        said = f"error: --option {option.split('=')[0]}: this command says it by an argument of its own"
        assert capsys.readouterr().err.startswith(said)
    assert main([*words, "--config", "tiny.json", "--option", "seed=3"]) == 0
    assert weights(tmp_path / "run").keys() and "c2f segment and c2f evaluate take it" in capsys.readouterr().out

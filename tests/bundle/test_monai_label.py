# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training as MONAI Label starts it: its own loader before our handlers, its own lists, the served weights renewed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.handlers import save_weights
from tests.bundle.conftest import TINY as INFERENCE
from tests.bundle.test_train_bundle import CONFIGS, TINY, write_case

OPTIONS = {key: value for key, value in TINY.items() if key not in ("stages", "epochs")} | {"views": ["axial"]}


def difference(state: dict[str, torch.Tensor]) -> float:
    """Largest difference between the fine and the coarse network."""
    pairs = [(value, state[key.replace(".coarse.", ".fine.")]) for key, value in state.items() if ".coarse." in key]
    return max(float((fine.float() - coarse.float()).abs().max()) for coarse, fine in pairs)


def write_bundle(folder: Path, *files: str, **options: Any) -> ConfigParser:
    """A bundle with one train.json, as MONAI Label reads it, and served weights whose fine networks are their own."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.json") for name in ("train", "three_views", *files)])
    parser.update({**OPTIONS, **options})
    parser["bundle_root"] = str(folder)
    torch.manual_seed(5)
    state = parser.get_parsed_content("network_def").state_dict()
    # Variances stay positive: of others the output is NaN.
    noise = {
        key: value + torch.randn_like(value) if value.is_floating_point() and "running_var" not in key else value
        for key, value in state.items()
    }
    save_weights(noise, folder / "models" / "model.pt")
    (folder / "configs").mkdir()
    config = parser.get()
    config.pop("_meta_", None)
    (folder / "configs" / "train.json").write_text(json.dumps(config), encoding="utf-8")
    shutil.copy(CONFIGS / "metadata.json", folder / "configs")
    return parser


def label_train(folder: Path, cases: list[dict[str, str]], epochs: int = 2) -> None:
    """What ``BundleTrainTask`` of MONAI Label 0.8.5 does with ``pretrained`` and ``val_split``."""
    config = ConfigParser()
    config.read_config(str(folder / "configs" / "train.json"))
    handlers = config.get("train#handlers")
    load = {"_target_": "CheckpointLoader", "load_path": str(folder / "models" / "model.pt"), "strict": False}
    handlers.insert(0, {**load, "load_dict": {"model": "$@network"}})
    monai.bundle.run(
        run_id="run",
        init_id=None,
        final_id=None,
        meta_file=str(folder / "configs" / "metadata.json"),
        config_file=str(folder / "configs" / "train.json"),
        **{
            "bundle_root": str(folder),
            "train#trainer#max_epochs": epochs,
            "train#dataset#data": cases[:-1],
            "validate#dataset#data": cases[-1:],
            "device": "cpu",
            "train#handlers": handlers,
        },
    )


@pytest.fixture
def cases(tmp_path: Path) -> list[dict[str, str]]:
    data = tmp_path / "labels"
    data.mkdir()
    written = [write_case(data, f"case{i}", i) for i in range(3)]
    return [{key: str(data / file) for key, file in case.items()} for case in written]


def served(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "models" / "model.pt", weights_only=True)


def test_one_training_after_the_other_renews_the_served_weights(cases: list[dict[str, str]], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle(folder, "label")
    seen = [served(folder)]
    for _ in range(2):
        label_train(folder, cases)
        seen.append(served(folder))
    first, second, third = (state["views.axial.fine.score_fr.weight"] for state in seen)
    assert not torch.equal(first, second) and not torch.equal(second, third)
    # A few steps from where it was, and no copy of the coarse network.
    assert (second - first).abs().max() < 0.5 < difference(seen[0])
    assert min(difference(state) for state in seen[1:]) > 0.5 * difference(seen[0])
    assert len(list((folder / "runs").iterdir())) == 2
    assert [file.name for file in (folder / "models").iterdir()] == ["model.pt"]
    assert not (folder / "data").exists()  # the phantom, which is the data set of train.json alone


def test_fine_networks_that_were_loaded_are_no_copies_of_the_coarse_ones(
    cases: list[dict[str, str]], tmp_path: Path
) -> None:
    folder, output = tmp_path / "bundle", tmp_path / "out"
    stages = [{"stage": "coarse", "length": 1, "copy_to_fine": True}]
    write_bundle(folder, stages=stages, output_dir=str(output), learning_rate=1e-4)
    before = served(folder)
    label_train(folder, cases, epochs=1)
    after = torch.load(output / "model.pt", weights_only=True)
    assert all(torch.equal(after[key], value) for key, value in before.items() if ".fine." in key)
    assert difference(after) > 0.5 * difference(before) > 1.0


def test_monai_label_infers_and_trains_in_turn(cases: list[dict[str, str]], tiny_weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("monailabel")
    from monailabel.tasks.infer.bundle import BundleInferTask
    from monailabel.tasks.train.bundle import BundleTrainTask

    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps({**OPTIONS, **INFERENCE, "output_names": {"1": "pancreas"}}), encoding="utf-8")
    folder = tmp_path / "pancreas"
    words = ["pack", str(tiny_weights), str(folder), "--config", "three_views.json", "--config", str(overlay)]
    assert main([*words, "--label"]) == 0
    request = {"image": cases[0]["image"], "device": "cpu", "model": "pancreas", "result_extension": ".nii.gz"}
    expected = Segmenter(tiny_weights, "cpu", configs=["three_views.json", overlay])(cases[0]["image"]).mask
    store = SimpleNamespace(datalist=lambda: cases)
    states = [served(folder)]
    for turn in range(2):
        infer = BundleInferTask(str(folder), {})
        assert infer.labels == {"pancreas": 1}
        file, _ = infer(dict(request))
        if turn == 0:
            assert np.array_equal(np.asarray(nib.load(file).dataobj), expected.numpy())
        BundleTrainTask(str(folder), {})(
            {"device": "cpu", "model": "pancreas", "max_epochs": 1, "val_split": 0.34, "multi_gpu": False}, store
        )
        states.append(served(folder))
    weights = [state["views.axial.fine.score_fr.weight"] for state in states]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])

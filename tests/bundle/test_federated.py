# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's client of federated training runs the bundle: two clients, a server that averages, two rounds."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from tests.bundle.test_train_bundle import BUNDLE, CONFIGS, TINY, write_case

FILES = [f"configs/{name}.json" for name in ("train", "three_views", "federated")]
OPTIONS: dict[str, Any] = {
    **{key: value for key, value in TINY.items() if key not in ("stages", "epochs", "warmup")},
    "views": ["axial"],
    "items_per_epoch": 24,
    "learning_rate": 0.03,
    "lr_factor": 1.0,
    "negative_fraction": 0.0,
    "max_rounds": 1,
    "rounds": 1,
    "holdout": 0,
}


def make_client(folder: Path, number: int) -> MonaiAlgo:
    """A client with cases of its own; the weights that evaluation would load fit no network."""
    data = folder / "data"
    data.mkdir(parents=True)
    cases = {
        "training": [write_case(data, f"train{i}", 10 * number + i) for i in range(2)],
        "test": [write_case(data, "test", 10 * number + 5)],
    }
    (data / "dataset.json").write_text(json.dumps(cases), encoding="utf-8")
    torch.save({"other": torch.zeros(1)}, folder / "other.pt")
    options = {**OPTIONS, "dataset_dir": str(data), "ckpt_path": str(folder / "other.pt")}
    client = MonaiAlgo(
        bundle_root=str(BUNDLE),
        local_epochs=3,
        config_train_filename=FILES,
        train_kwargs={**options, "output_dir": str(folder / "train")},
        config_evaluate_filename=[*FILES, "configs/evaluate.json"],
        eval_kwargs={**options, "output_dir": str(folder / "evaluate")},
    )
    with warnings.catch_warnings():  # that a bundle runs code
        warnings.simplefilter("ignore")
        client.initialize({ExtraItems.CLIENT_NAME: f"site{number}"})
    return client


def score(client: MonaiAlgo, weights: dict[str, torch.Tensor]) -> float:
    return float(client.evaluate(ExchangeObject(weights=weights)).metrics["val_mean_dice"])


@pytest.mark.parametrize("name", ["train", "inference", "multi_gpu_train"])
def test_what_runs_before_the_bundles_folder_is_known_needs_no_package(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MonaiAlgo tells a packed bundle of its folder after ``initialize``."""
    base = ["inference.json"] if name == "inference" else ["train.json"]
    files = [str(CONFIGS / file) for file in dict.fromkeys([*base, f"{name}.json"])]
    parser = ConfigParser()
    parser.read_config(files)
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted, *more: None)
    parts = parser["initialize"]
    assert not parser.get_parsed_content("has_package")
    assert parser.get_parsed_content("check") is None
    assert all("c2f_monai" not in str(part) or part["_disabled_"] == "$not @has_package" for part in parts)


def test_two_rounds_of_two_clients_make_one_better_model(tmp_path: Path) -> None:
    clients = [make_client(tmp_path / f"site{number}", number) for number in (1, 2)]
    weights = {key: value.clone() for key, value in clients[0].trainer.network.state_dict().items()}
    first = weights
    start = [score(client, first) for client in clients]
    rates = []
    for _ in range(2):
        answers = []
        for client in clients:
            client.train(ExchangeObject(weights=weights))
            answers.append(client.get_weights())
            rates.append(client.trainer.optimizer.param_groups[0]["lr"])
        assert {answer.weight_type for answer in answers} == {WeightType.WEIGHT_DIFF}
        change = {key: sum(answer.weights[key] for answer in answers) / len(answers) for key in weights}
        weights = {key: (value + change[key]).to(value.dtype) for key, value in weights.items()}
    end = [score(client, weights) for client in clients]
    again = [score(client, first) for client in clients]
    assert again == start
    assert max(start) < 0.2 and min(end) > max(0.4, *start)
    assert all(client.trainer.state.epoch == 6 for client in clients)
    # The same in every round, however many epochs the client has behind it.
    assert rates == [rates[0]] * 4
    assert {client.trainer.inferer.stage for client in clients} == {"joint"}

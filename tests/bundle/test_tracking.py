# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training under ``--tracking mlflow``: MONAI's own settings and handler, in front of a client that remembers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from monai.handlers import mlflow_handler

from tests.bundle.test_train_bundle import BUNDLE, CONFIGS, TINY, write_case

METRICS: list[tuple[str, float, int]] = []


class Client:
    """What ``MLFlowHandler`` asks of mlflow's client."""

    tracking_uri = ""

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.params: dict[str, str] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1", lifecycle_stage="active")

    def search_runs(self, experiment: str) -> list[Any]:
        return []

    def create_run(self, experiment_id: str, run_name: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id="run", status="RUNNING"))

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(data=SimpleNamespace(params=self.params))

    def log_batch(self, run_id: str, metrics: list[Any], params: list[Any], tags: list[Any]) -> None:
        # A number each, as the real client asks.
        METRICS.extend((key, float(value), step) for key, value, _, step in metrics)
        self.params |= dict(params)

    def log_artifact(self, run_id: str, path: str) -> None:
        assert Path(path).is_file()

    def set_terminated(self, run_id: str, status: str) -> None:
        pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    METRICS.clear()
    entities = SimpleNamespace(
        RunStatus=SimpleNamespace(to_string=str, FINISHED="FINISHED"),
        LifecycleStage=SimpleNamespace(ACTIVE="active"),
        Metric=lambda *values: values,
        Param=lambda *values: values,
    )
    monkeypatch.setattr(mlflow_handler, "mlflow", SimpleNamespace(MlflowClient=Client, entities=entities))


def train(tmp_path: Path) -> Path:
    """A tiny training with MONAI's settings of mlflow; its output folder."""
    data = tmp_path / "data"
    data.mkdir()
    cases = [write_case(data, f"train{i}", i) for i in range(3)]
    lists = {"training": cases[:2], "validation": cases[2:]}
    (data / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    options = TINY | {"views": ["axial"], "val_interval": 1, "stop_dice": None}
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / f"{name}.json") for name in ("train", "three_views")],
        logging_file=False,
        workflow_type="train",
        tracking="mlflow",
        bundle_root=str(BUNDLE),
        dataset_dir=str(data),
        output_dir=str(tmp_path / "out"),
        **options,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return tmp_path / "out"


def test_stages_losses_rates_and_the_dsc_of_every_round_are_tracked(client: None, tmp_path: Path) -> None:
    train(tmp_path)
    steps = {name: [step for key, _, step in METRICS if key == name] for name, _, _ in METRICS}
    assert steps["train_loss"] == list(range(1, 9))
    assert [value for key, value, _ in METRICS if key == "stage"] == [1, 2, 3, 4]
    assert steps["loss/axial/coarse"] == steps["learning rate/group 0"] == [1, 2, 3, 4]
    assert {"loss/axial/round 1", "val_mean_dice", "grid DSC coarse"} <= steps.keys()
    # In stage coarse there are no rounds; later the two of the inferer.
    assert steps["grid DSC coarse"] == [1, 2, 3, 4]
    assert steps["grid DSC round 1"] == steps["grid DSC round 2"] == [2, 3, 4]
    assert len(list((tmp_path / "out").glob("events.out.tfevents.*"))) == 1


def test_mlflow_itself_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MONAI's settings name a folder
    out = train(tmp_path)
    client = mlflow.tracking.MlflowClient(_address(out))
    (experiment,) = [one for one in client.search_experiments() if client.search_runs([one.experiment_id])]
    (run,) = client.search_runs([experiment.experiment_id])
    assert {"loss/axial/coarse", "loss/axial/round 1", "val_mean_dice", "stage", "grid DSC round 2"} <= set(
        run.data.metrics
    )
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "stage")] == [1, 2, 3, 4]


def _address(out: Path) -> str:
    """Where MONAI's settings keep runs: a database since MONAI 1.6, a folder before."""
    database = out / "mlruns.db"
    return f"sqlite:///{database}" if database.is_file() else (out / "mlruns").as_uri()

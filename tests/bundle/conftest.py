# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A tiny network, and the bundle run as its consumers run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from tests.processes import run_python

# A network of a few thousand weights on a coarse grid.
TINY = {
    "fcn_def#width": 2,
    # Score layers that start at zero would answer 0.5 everywhere, in any orientation.
    "fcn_def#score_init": "xavier",
    "fcn_def#fc_channels": 4,
    "pixdim": [6.0, 6.0, 6.0],
    "crop_multiple": 16,
    "min_size": 16,
    "max_rounds": 1,
    "progress": False,
}


def inference_files(bundle_root: Path) -> list[str]:
    """The inference of three views, in which an orientation that is mixed up shows."""
    return [str(bundle_root / "configs" / f"{name}.json") for name in ("inference", "three_views")]


@pytest.fixture(scope="session")
def bundle_root(project_root: Path) -> Path:
    """Folder of the bundle."""
    return project_root / "bundle"


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, bundle_root: Path) -> Path:
    """Random weights of the tiny network, which finds something, but not everything."""
    torch.manual_seed(3)
    parser = ConfigParser()
    parser.read_config(inference_files(bundle_root))
    parser["bundle_root"] = str(bundle_root)
    parser.update({key: value for key, value in TINY.items() if key.startswith("fcn_def")})
    state = parser.get_parsed_content("network_def").state_dict()
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def inference_workflow(bundle_root: Path, tiny_weights: Path) -> Callable[..., ConfigWorkflow]:
    """Make an initialized inference workflow with the tiny network; keywords override config ids."""

    def make(**override: Any) -> ConfigWorkflow:
        options: dict[str, Any] = {"bundle_root": str(bundle_root), "ckpt_path": str(tiny_weights), **TINY, **override}
        workflow = ConfigWorkflow(
            config_file=inference_files(bundle_root), workflow_type="infer", logging_file=False, **options
        )
        workflow.initialize()
        return workflow

    return make


@pytest.fixture(scope="session")
def run_bundle(project_root: Path, bundle_root: Path, tiny_weights: Path) -> Callable[..., CompletedProcess]:
    """Run ``python -m monai.bundle run`` on inference.json from a given working directory."""

    def run(cwd: Path, **override: Any) -> CompletedProcess:
        options = {"bundle_root": str(bundle_root), "ckpt_path": str(tiny_weights), **TINY, **override}
        command = ["-m", "monai.bundle", "run", "--config_file", str(inference_files(bundle_root))]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        env = os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
        return run_python(command, cwd, env)

    return run

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What docs/consumers.md shows is run as it stands there: parts of the package in the programs of others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.networks.nets import UNet

from c2f_monai.handlers import save_weights
from tests.bundle.volumes import make_volume, write_nifti

UNIT = {"b_min": 0, "b_max": 1, "clip": True}
EXACT = {"nearest_interp": False, "to_tensor": True}
BESIDE = {"separate_folder": False, "output_postfix": "seg"}


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs" / "consumers.md").read_text(encoding="utf-8")


def block(page: str, heading: str, language: str) -> str:
    """The first code block of a language under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, f"{heading} shows no {language}"
    return found[1]


def write_cases(folder: Path) -> None:
    for number in range(2):
        volume = make_volume((32, 28, 12), seed=number)
        write_nifti(folder / f"ct_{number}.nii.gz", volume)
        write_nifti(folder / f"label_{number}.nii.gz", (volume > 120).astype(np.uint8))


def test_two_unets_of_ones_own_are_evaluated(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path)
    torch.manual_seed(0)
    for name in ("coarse", "fine"):
        unet = UNet(spatial_dims=2, in_channels=3, out_channels=3, channels=(16, 32, 64), strides=(2, 2))
        save_weights(unet.state_dict(), tmp_path / f"{name}.pt")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(block(page, "My own two networks", "python"), "consumers.md", "exec"), scope)
    dice, reason = capsys.readouterr().out.split()[-2:]
    assert 0 < float(dice) < 1 and reason
    assert scope["evaluator"].state.iteration == 2
    assert scope["inferer"].records[0].fine_rounds > 0
    assert scope["evaluator"].network.views["axial"].coarse is scope["coarse"]


def other_bundle() -> dict[str, Any]:
    """The inference of a bundle as the zoo has them: a 3D UNet, a sliding window and its post-processing."""
    return {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "imports": ["$import torch", "$import glob", "$import os"],
        "network_def": {
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [4, 8],
            "strides": [2],
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, **UNIT},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in sorted(glob.glob(os.path.join(@bundle_root, 'ct_*.nii.gz')))]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", **EXACT},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@bundle_root", **BESIDE},
            ],
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def test_a_bundle_of_volumes_becomes_coarse_to_fine_by_two_ids(page: str, tmp_path: Path) -> None:
    write_cases(tmp_path)
    two_ids = block(page, "In an existing bundle", "json")
    assert sorted(json.loads(two_ids)) == ["inferer", "network_def"]
    (tmp_path / "inference.json").write_text(json.dumps(other_bundle()), encoding="utf-8")
    (tmp_path / "two_ids.json").write_text(two_ids, encoding="utf-8")
    workflow = ConfigWorkflow(
        config_file=[str(tmp_path / "inference.json"), str(tmp_path / "two_ids.json")],
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(tmp_path),
    )
    torch.manual_seed(1)
    workflow.initialize()
    workflow.run()
    parser = workflow.parser
    inner, network = parser.get_parsed_content("inferer").inferer, parser.get_parsed_content("network")
    assert inner.records[0].fine_rounds > 0
    case = parser.get_parsed_content("dataset")[0]
    expected = inner(case["image"][None], network.eval())[0, 0] > 0.5
    written = np.asarray(nib.load(tmp_path / "ct_0_seg.nii.gz").dataobj)
    assert 0 < expected.sum() < expected.numel()
    assert np.array_equal(written, expected.numpy())

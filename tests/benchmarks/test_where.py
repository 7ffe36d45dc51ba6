# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where an answer loses voxels, on masks that a reader can count."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.chapter.command import main
from benchmarks.chapter.where import box_misses, lost_voxels
from c2f_monai.apps.training_config import read_training_config
from tests.bundle.overlays import ROOT
from tests.bundle.volumes import write_dataset


def box(shape: tuple[int, int, int], rows: tuple[int, int], columns: tuple[int, int], slices: tuple[int, int]):
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns), slice(*slices)] = True
    return mask


def test_false_voxels_are_near_or_far() -> None:
    shape = (40, 10, 10)
    truth = box(shape, (0, 4), (0, 5), (0, 5))  # 100 voxels
    answer = box(shape, (1, 5), (0, 5), (0, 5))  # 75 of them, and 25 beside
    answer |= box(shape, (30, 32), (0, 5), (0, 5))  # 50 voxels, 54 mm and more away
    found = lost_voxels(answer, truth, (2.0, 1.0, 1.0))
    assert found["dsc"] == pytest.approx(100 * 2 * 75 / (150 + 100))
    assert found["dsc_without_far"] == pytest.approx(100 * 2 * 75 / (100 + 100))
    assert (found["far"], found["near"], found["missed"]) == (0.5, 0.25, 0.25)


def test_twenty_millimeters_go_by_the_voxel_size() -> None:
    shape = (40, 3, 3)
    truth, answer = box(shape, (0, 1), (0, 3), (0, 3)), box(shape, (15, 16), (0, 3), (0, 3))
    assert lost_voxels(answer, truth, (1.0, 1.0, 1.0))["far"] == 0.0
    assert lost_voxels(answer, truth, (1.5, 1.0, 1.0))["far"] == 1.0


def test_boxes_miss_slabs_and_voxels() -> None:
    shape = (20, 20, 10)
    truth = box(shape, (5, 15), (5, 15), (0, 10))
    answer = box(shape, (5, 10), (5, 15), (0, 5))  # one half of each slice, in one half of the slices
    # The slab of slice 5 still sees slice 4; those of 6 to 9 have no box.
    found = box_misses(answer, truth, axis=2, margin=0)
    assert found == {"slabs": 0.4, "voxels": (6 * 50 + 4 * 100) / 1000}
    # A margin of 5 covers the other half of the rows.
    assert box_misses(answer, truth, axis=2, margin=5) == {"slabs": 0.4, "voxels": 0.4}
    assert box_misses(answer, truth, axis=2, margin=5, reach=0)["slabs"] == 0.5
    assert box_misses(truth, truth, axis=0, margin=0) == {"slabs": 0.0, "voxels": 0.0}
    # The whole image hides nothing, where there is a box at all.
    assert box_misses(answer, truth, axis=2, margin=None) == box_misses(answer, truth, axis=2, margin=20)


def test_a_3d_network_draws_no_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = ["bundle/configs/three_views.json", "configs/baseline/unet3d.json"]
    parser = read_training_config([str(ROOT / "bundle/configs/train.json"), *configs], str(ROOT / "bundle"))
    network = parser.get_parsed_content("network_def")
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(0)
        list(network.parameters())[-1].fill_(100)  # every voxel is foreground
    torch.save(network.state_dict(), tmp_path / "model.pt")
    data = write_dataset(tmp_path / "data", cases=1)
    truth = nib.load(data / "labelsTs/case_0.nii.gz").get_fdata() > 0
    options = ["--option", "pixdim=None", "--option", "patch=[16, 16, 16]", "--split", "test", "--cases", "1"]
    where = ["where", "--weights", str(tmp_path / "model.pt"), "--dataset_dir", str(data), "--config", *configs]
    assert main([*where, *options]) == 0
    found = json.loads(capsys.readouterr().out)["mean"]
    assert list(found) == ["lost"]
    assert found["lost"]["missed"] == 0
    false = truth.size / truth.sum() - 1
    assert found["lost"]["near"] + found["lost"]["far"] == pytest.approx(false, rel=1e-3)

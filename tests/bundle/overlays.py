# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tiny runs of the bundle's configurations with overlays of ``configs/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow
from PIL import Image

from c2f_monai.data.description import write_description
from c2f_monai.data.slices import prepare_slices

ROOT = Path(__file__).resolve().parents[2]
#: Configurations by name: no two have the same.
CONFIGS = {path.stem: path for folder in ("configs", "bundle/configs") for path in (ROOT / folder).glob("**/*.json")}
SHAPE = (32, 28, 24)
NETWORK: dict[str, Any] = {
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "fcn_def#fc_kernel_size": 3,
    "fcn_def#padding": "same",
    # Score layers that start at zero would answer 0.5 everywhere.
    "fcn_def#score_init": "xavier",
    "crop_multiple": 16,
    "min_size": 32,
    "max_rounds": 1,
    "pixdim": None,
    "margin": 2,
}
ONE_STEP: dict[str, Any] = {
    "views": ["axial"],
    "train_amp_dtype": None,
    "rounds": 1,
    "batch_size": 2,
    "items_per_epoch": 2,
    "epochs": 1,
    "val_interval": 1,
    "min_pixels": 1,
    "slab_multiple": 32,
    "warmup": 0,
}


def write_slices(folder: Path, patients: int, side: int, folds: int) -> Path:
    """Data set of patients of two or three slices of (side, side) pixels: a bright square in a gray body."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    lines = ["file,patient,z_index0"]
    for patient in range(patients):
        for number in range(2 + patient % 2):
            rng = np.random.default_rng([patient, number])
            mask = np.zeros((side, side), np.uint8)
            top, left = rng.integers(side // 3 - 2, side // 2 + 2, 2)
            mask[top : top + 16, left : left + 16] = 1
            gray = np.zeros((side, side))
            gray[10:-10, 10:-10] = rng.normal(60, 8, (side - 20, side - 20))
            file = f"p{patient}_{number}.png"
            Image.fromarray((gray + 90 * mask).clip(0, 255).astype(np.uint8)).save(folder / "images" / file)
            Image.fromarray(mask).save(folder / "masks" / file)
            lines.append(f"{file},p{patient},{7 * number}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = [folder / name for name in ("images", "masks", "index.csv")]
    output = folder / "prepared"
    write_description(output, prepare_slices(*places, output, folds=folds, progress=False))
    return output


def write_organs(folder: Path) -> Path:
    """Organ 1 of 60 HU with a cyst 2 of 150 HU in it, in noise around -40 HU; a decoy like the cyst far away."""
    lists: dict[str, list[dict[str, str]]] = {}
    for split, count in (("training", 6), ("validation", 1), ("test", 2)):
        for i in range(count):
            rng = np.random.default_rng([len(split), i])
            x, y, z = rng.integers(4, 7, 3)
            label = np.zeros(SHAPE, np.uint8)
            label[x : x + 10, y : y + 8, z : z + 8] = 1
            label[x + 3 : x + 7, y + 2 : y + 6, z + 2 : z + 6] = 2
            image = rng.normal(-40, 5, SHAPE) + np.choose(label, [0, 100, 190])
            image[27:31, 22:26, 18:22] = 150
            item = {"image": f"{split}{i}.nii.gz", "label": f"{split}{i}_label.nii.gz"}
            for name, array in (("image", image.astype(np.int16)), ("label", label)):
                nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), folder / item[name])
            lists.setdefault(split, []).append(item)
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    return folder


def config_files(*names: str) -> list[str]:
    """Paths of configurations by name, of the bundle or of a folder of ``configs/``."""
    return [str(CONFIGS[name]) for name in names]


def run_bundle(files: tuple[str, ...], dataset: Path, output: Path, **override: Any) -> ConfigWorkflow:
    """Run a training, evaluation or inference with a tiny network; one step of training."""
    infer = files[0] == "inference"
    options = NETWORK | ({"progress": False} if infer else ONE_STEP)
    options |= {"bundle_root": str(ROOT / "bundle"), "dataset_dir": str(dataset), "output_dir": str(output)}
    flow = ConfigWorkflow(
        config_file=config_files(*files),
        meta_file=None,
        logging_file=False,
        workflow_type="infer" if infer else "train",
        **options | override,
    )
    flow.initialize()
    assert flow.check_properties() == []
    flow.run()
    flow.finalize()
    return flow

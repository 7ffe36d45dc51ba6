# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Train, evaluate and segment with the bundle, tiny, and print the versions that did it: python3.13 .ci/with_torch.py.

For any Python that has the package's requirements; the package and the bundle are those of the checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
#: A network of a few thousand weights, one epoch of each stage.
TINY = {
    "pixdim": None,
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "crop_multiple": 8,
    "min_size": 40,
    "margin": 2,
    "max_rounds": 2,
    "progress": False,
}
TRAINING = {
    "holdout": 0.5,
    "slab_multiple": 64,
    "min_pixels": 4,
    "batch_size": 2,
    "items_per_epoch": 4,
    "epochs": 2,
    "val_interval": 2,
    "warmup": 0,
    "stages": [{"stage": "coarse", "length": 1}, {"stage": "joint", "length": 1}],
}
PACKAGES = ("torch", "monai", "numpy", "pytorch-ignite", "scipy", "itk", "nibabel")


def write_data(folder: Path) -> None:
    """Three cases, an ellipsoid of 150 HU in noise around 0 each."""
    grid = np.stack(np.meshgrid(*map(np.arange, (24, 28, 20)), indexing="ij"), -1)
    inside = (((grid - (12, 14, 10)) / (6, 5, 4)) ** 2).sum(-1) <= 1
    for seed in range(3):
        image = np.random.default_rng(seed).normal(0, 30, inside.shape) + 150 * inside
        for name, voxels in ((f"{seed}", image.astype(np.int16)), (f"{seed}_label", inside.astype(np.uint8))):
            nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.5, 1.0])), folder / f"{name}.nii.gz")
    cases = [{"image": f"{seed}.nii.gz", "label": f"{seed}_label.nii.gz"} for seed in range(3)]
    lists = {"training": cases[:2], "test": cases[2:]}
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")


def run(folder: Path, *configs: str, **options: str) -> None:
    """The bundle, from another directory.

    Raises:
        RuntimeError: with what it said last, when it fails.
    """
    files = [str(ROOT / "bundle" / "configs" / f"{name}.json") for name in (*configs, "three_views")]
    tiny = folder / ("inference.json" if "inference" in configs else "training.json")
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--bundle_root", str(ROOT / "bundle")]
    command += ["--config_file", str([*files, str(tiny)])]
    command += [word for key, value in options.items() for word in (f"--{key}", value)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{configs} on Python {sys.version.split()[0]}: {done.stderr[-2000:]}")


def main() -> None:
    """Run all three in a folder of their own."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        (folder / "inference.json").write_text(json.dumps(TINY), encoding="utf-8")
        (folder / "training.json").write_text(json.dumps({**TINY, **TRAINING}), encoding="utf-8")
        run(folder, "train", dataset_dir=".", output_dir="run")
        run(folder, "train", "evaluate", dataset_dir=".", ckpt_path="run/model.pt", output_dir="scores")
        run(folder, "inference", input="2.nii.gz", ckpt_path="run/model.pt", output_dir="masks")
        if nib.load(folder / "masks" / "2_seg.nii.gz").shape != (24, 28, 20):
            raise RuntimeError("the mask is not on the grid of the image.")
        if len((folder / "scores" / "cases.csv").read_text(encoding="utf-8").splitlines()) < 2:
            raise RuntimeError("no case was scored.")
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    seconds = time.monotonic() - start
    print(f"Python {sys.version.split()[0]}: trained, evaluated and segmented in {seconds:.0f} s with {versions}")


if __name__ == "__main__":
    main()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's inference over a folder, with random weights of a tiny network: what bad inputs are given to."""

from __future__ import annotations

import atexit
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from c2f_monai.utils import bundle_root

from .tiny import TINY, remove

__all__ = ["SHAPE", "command_of", "good_volume", "mask_of", "rows_of", "segment", "weights"]

ROOT = Path(__file__).resolve().parents[2]
FILES = ("inference.json", "three_views.json")
NETWORK = ("fcn_def#width", "fcn_def#fc_channels")
#: Score layers that start at zero would answer 0.5 everywhere.
OPTIONS: dict[str, Any] = {
    **{key: TINY[key] for key in (*NETWORK, "pixdim", "views", "crop_multiple", "min_size", "max_rounds")},
    "fcn_def#score_init": "xavier",
    "progress": False,
    "device": "cpu",
}
SHAPE = (24, 20, 12)


def good_volume() -> np.ndarray:
    """A body of (24, 20, 12) with a bright blob, int16 HU."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    body = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    blob = 120.0 * np.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2) / 0.05)
    noise = np.random.default_rng(0).normal(0, 10, SHAPE)
    return np.round(body + blob + noise).astype(np.int16)


@lru_cache(maxsize=1)
def weights() -> Path:
    """Random weights that find something in the good volume, but not everything."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(remove, folder)
    torch.manual_seed(3)
    parser = ConfigParser()
    parser.read_config(_files())
    parser["bundle_root"] = str(bundle_root())
    parser.update({key: value for key, value in OPTIONS.items() if key.startswith("fcn_def") or key == "views"})
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
    (folder / "tiny.json").write_text(json.dumps(OPTIONS), encoding="utf-8")
    return folder / "model.pt"


def command_of(images: Path, output: Path, **options: Any) -> list[str]:
    """``monai.bundle run`` of the inference as a user gives it."""
    places = {"bundle_root": bundle_root(), "ckpt_path": weights(), "input": images, "output_dir": output}
    words = [text for key, value in (places | options).items() for text in (f"--{key}", str(value))]
    files = [*_files(), str(weights().with_name("tiny.json"))]
    return [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", str(files), *words]


def segment(images: Path, output: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends; its exit status and what it said."""
    command = command_of(images, output, **options)
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8", timeout=900, check=False
    )


def environment() -> dict[str, str]:
    """Variables of the command: one thread."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def rows_of(output: Path) -> list[dict[str, str]]:
    """Rows of cases.csv."""
    with (output / "cases.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mask_of(output: Path, case: str) -> np.ndarray:
    """The mask of a case."""
    stored: Any = nib.load(output / f"{case}_seg.nii.gz")
    return np.asarray(stored.dataobj)


def _files() -> Sequence[str]:
    return [str(bundle_root() / "configs" / name) for name in FILES]

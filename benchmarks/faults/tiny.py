# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's training, so small that it takes seconds: what faults are put into."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from tqdm import tqdm

from c2f_monai.data import write_phantom
from c2f_monai.utils import bundle_root

__all__ = ["change_volume", "data_set", "files_of", "in_child", "phantom", "remove", "save_volume", "state_of", "train"]

FILES = ("train.json", "three_views.json")
#: Ids of a training of four epochs of two iterations.
TINY: dict[str, Any] = {
    "pixdim": None,
    "views": ["axial"],
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "crop_multiple": 8,
    "min_size": 32,
    "slab_multiple": 32,
    "margin": 2,
    "min_pixels": 1,
    "batch_size": 2,
    "items_per_epoch": 4,
    "epochs": 4,
    "val_interval": 2,
    "warmup": 0,
    "max_rounds": 1,
    "holdout": 0.2,
    "keep_freed_memory": False,
}


def data_set(folder: Path) -> Path:
    """Four small phantoms to train on, one to validate and one to test."""
    return Path(shutil.copytree(phantom(), folder / "data"))


@lru_cache(maxsize=1)
def phantom() -> Path:
    """The phantom, made once."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(remove, folder)
    splits = {"training": 4, "validation": 1, "test": 1}
    return write_phantom(folder / "data", splits, size=(40, 40, 24), processes=1, progress=False)


def files_of(data: Path, split: str, index: int) -> tuple[Path, Path]:
    """Image and label of a case."""
    entry = json.loads((data / "dataset.json").read_text(encoding="utf-8"))[split][index]
    return data / entry["image"], data / entry["label"]


def change_volume(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace the voxels of a file by a function of them."""
    stored: Any = nib.load(path)
    save_volume(path, change(np.asarray(stored.dataobj).astype(np.float32)), stored.affine)


def save_volume(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    """Write a NIfTI file in the type of its voxels."""
    nib.save(nib.Nifti1Image(volume, affine), path)


def train(data: Path, output: Path, **options: Any) -> ConfigWorkflow:
    """Train through the bundle as ``monai.bundle run`` does, in this process."""
    root = bundle_root()
    flow = ConfigWorkflow(
        config_file=[str(root / "configs" / name) for name in FILES],
        meta_file=None,
        logging_file=False,
        workflow_type="train",
        **(TINY | {"bundle_root": str(root), "dataset_dir": str(data), "output_dir": str(output)} | options),
    )
    flow.initialize()
    flow.run()
    flow.finalize()
    return flow


def state_of(output: Path) -> Mapping[str, torch.Tensor]:
    """The chosen weights of a training."""
    return torch.load(output / "model.pt", weights_only=True)


def in_child(action: Callable[[], Any], log: Path) -> int:
    """Run something in a copy of this process, whose output goes to a file; its process's number, for who kills it.

    The copy ends with 0, or with 1 after an exception. It needs no import: a kill a second is possible.
    """
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        torch.set_num_threads(1)  # makes the pool of threads again, before two threads do so at once
        tqdm.set_lock(threading.RLock())  # copies share tqdm's own: one that is killed while it holds it stops the next
        signal.signal(signal.SIGINT, signal.default_int_handler)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(handle, stream)
        action()
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(status)


def remove(folder: Path) -> None:
    """Remove a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)

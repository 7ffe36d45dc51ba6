# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults in the data that a network is trained on: one bad case among good ones."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from c2f_monai.apps.cli import main as c2f

from .fault import Fault, expect, refused
from .tiny import change_volume, data_set, files_of, save_volume, train

__all__ = ["FAULTS"]

Change = Callable[[Path, Path], None]
PART = "labels and images of training"
NAMED = "refused before training, naming the file"


def _value(value: float, kind: type = np.float32) -> Change:
    """Some voxels of the label hold a value."""

    def change(image: Path, label: Path) -> None:
        def put(volume: np.ndarray) -> np.ndarray:
            volume[:3, 0, 0] = value
            return volume.astype(kind)

        change_volume(label, put)

    return change


def _scaled(image: Path, label: Path) -> None:
    change_volume(label, lambda volume: volume * np.float32(0.5))


def _image_as_label(image: Path, label: Path) -> None:
    shutil.copy(image, label)


def _constant(image: Path, label: Path) -> None:
    change_volume(image, lambda volume: np.full_like(volume, -1024))


def _image_value(value: float) -> Change:
    def change(image: Path, label: Path) -> None:
        def put(volume: np.ndarray) -> np.ndarray:
            volume[0, 0, :2] = value
            return volume

        change_volume(image, put)

    return change


def _shorter(image: Path, label: Path) -> None:
    change_volume(label, lambda volume: volume[:, :, :-1].astype(np.uint8))


def _moved(image: Path, label: Path) -> None:
    stored: Any = nib.load(label)
    affine = stored.affine.copy()
    affine[0, 3] += 5
    save_volume(label, np.asarray(stored.dataobj), affine)


def _cut(image: Path, label: Path) -> None:
    label.write_bytes(label.read_bytes()[: label.stat().st_size // 2])


def _gone(image: Path, label: Path) -> None:
    label.unlink()


def _two_channels(image: Path, label: Path) -> None:
    stored: Any = nib.load(image)
    save_volume(image, np.stack([np.asarray(stored.dataobj)] * 2, -1), stored.affine)


#: Name, change of one training case, and what the reason must say.
CASES: list[tuple[str, Change, str]] = [
    ('label holds 255 ("ignore")', _value(255), "holds 255 in 3 voxels"),
    ("label holds 255, 8 bits", _value(255, np.uint8), "holds 255 in 3 voxels"),
    ("label holds 3, which dataset.json does not name", _value(3), "holds 3 in 3 voxels"),
    ("label holds -1", _value(-1), "holds -1 in 3 voxels"),
    ("label holds 1000", _value(1000, np.int16), "holds 1000 in 3 voxels"),
    ("label holds 1.5", _value(1.5), "holds 1.5 in 3 voxels"),
    ("label holds 0.999", _value(0.999), "holds 0.999 in 3 voxels"),
    ("label holds NaN", _value(np.nan), "holds nan in 3 voxels"),
    ("label holds infinity", _value(np.inf), "holds inf in 3 voxels"),
    ("label scaled by 0.5", _scaled, "holds 0.5 in .* voxels"),
    ("image given as label", _image_as_label, "different values .* is it an image"),
    ("image of one value", _constant, "every voxel is -1024"),
    ("image holds NaN", _image_value(np.nan), "2 voxels are NaN or infinite"),
    ("image holds infinity", _image_value(np.inf), "2 voxels are NaN or infinite"),
    ("image of two channels", _two_channels, "training_001"),
    ("label one slice shorter", _shorter, "has the shape"),
    ("label 5 mm beside the image", _moved, "different grids: a corner differs by up to 5 mm"),
    ("half a label file", _cut, "training_001"),
    ("label file missing", _gone, "does not exist"),
]


def _trained(change: Change, pattern: str, folder: Path) -> str:
    data = data_set(folder)
    change(*files_of(data, "training", 1))
    return refused(partial(train, data, folder / "out"), pattern, folder)


def _checked(change: Change, folder: Path) -> str:
    """``c2f check --voxels`` names the case and ends with 1."""
    data = data_set(folder)
    change(*files_of(data, "training", 1))
    return _check(data, folder, "phantom_training_001")


def _check(data: Path, folder: Path, named: str) -> str:
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = c2f(["check", "--dataset-dir", str(data), "--voxels"])
    last = error.getvalue().strip().splitlines()[-1].replace(f"{folder}/", "") if error.getvalue() else ""
    expect(status == 1 and named in last and "Traceback" not in error.getvalue(), f"{status}: {last}")
    return f"1: {last}"


def _leak(split: str, folder: Path) -> str:
    data = data_set(folder)
    path = data / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content[split].append(content["training"][2])
    path.write_text(json.dumps(content), encoding="utf-8")
    return refused(partial(train, data, folder / "out"), f"under training and under '{split}'", folder)


def _copied(folder: Path) -> str:
    data = data_set(folder)
    shutil.copy(files_of(data, "training", 0)[0], files_of(data, "test", 0)[0])
    return _check(data, folder, "is the same file as")


FAULTS = [
    *(Fault(PART, n, NAMED, partial(_trained, c, p)) for n, c, p in CASES),
    *(Fault(PART, f"{n}: check --voxels", "1, naming the case", partial(_checked, c)) for n, c, _ in CASES),
    Fault(PART, "a training case is tested", "refused", partial(_leak, "test")),
    Fault(PART, "a training case is validated", "refused", partial(_leak, "validation")),
    Fault(PART, "a copy under another name is tested: check --voxels", "1", _copied),
]

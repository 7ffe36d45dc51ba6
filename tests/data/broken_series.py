# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the files of a series, for tests and for ``make faults``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.bundle.volumes import make_volume, write_dicom_series

SHAPE = (8, 7, 6)
LPS = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 1.25, -30], [0, 0, 0, 1]])


def remove_one(folder: Path) -> None:
    sorted(folder.iterdir())[3].unlink()


def cut_one(folder: Path) -> None:
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-40])


def double_one(folder: Path) -> None:
    shutil.copy(sorted(folder.iterdir())[1], folder / "copy.dcm")


def other_phase(folder: Path) -> None:
    add_slice(folder, np.ones((*SHAPE[:2], 1), np.int16), 1.25, **{"0020|0012": "2"})


def other_values(folder: Path) -> None:
    add_slice(folder, np.ones((*SHAPE[:2], 1), np.int16), 1.25)


def add_slice(folder: Path, values: np.ndarray, at: float, **tags: str) -> None:
    """One more slice, ``at`` mm from the first."""
    write_dicom_series(folder.parent / "other", values, LPS @ shift(2, at / 1.25), tags=tags)
    shutil.move(next((folder.parent / "other").iterdir()), folder / "added.dcm")


def move_last(folder: Path) -> None:
    sorted(folder.iterdir())[-1].unlink()
    write_dicom_series(folder.parent / "other", np.zeros((*SHAPE[:2], 1), np.int16), LPS @ shift(2, 5.3))
    shutil.move(next((folder.parent / "other").iterdir()), folder / "last.dcm")


def other_series(folder: Path) -> None:
    write_dicom_series(folder, np.zeros(SHAPE, np.int16), LPS @ shift(2, 6), series="1.2.3.5")


def other_size(folder: Path) -> None:
    write_dicom_series(folder.parent / "other", np.zeros((8, 9, 1), np.int16), LPS @ shift(2, 6))
    shutil.move(next((folder.parent / "other").iterdir()), folder / "big.dcm")


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def rewritten(folder: Path, **tags: str) -> None:
    for path in folder.iterdir():
        path.unlink()
    write_dicom_series(folder, make_volume(SHAPE), LPS, tags=tags)


def without(group: int, element: int) -> Callable[[Path], None]:
    """Hides an attribute by the next number, which means nothing: the writer does not leave it out."""

    def damage(folder: Path) -> None:
        for path in folder.iterdir():
            old, new = (group.to_bytes(2, "little") + n.to_bytes(2, "little") for n in (element, element + 3))
            content = path.read_bytes()
            assert old in content
            path.write_bytes(content.replace(old, new, 1))

    return damage


def other_modality(folder: Path) -> None:
    rewritten(folder, **{"0008|0060": "MR"})


def inverted(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"MONOCHROME2", b"MONOCHROME1"))


def two_acquisitions(folder: Path) -> None:
    """At half the distance, so that all distances are equal."""
    rewritten(folder, **{"0020|0012": "1"})
    write_dicom_series(folder.parent / "x", make_volume(SHAPE), LPS @ shift(2, 0.5), tags={"0020|0012": "2"})
    for path in (folder.parent / "x").iterdir():
        path.rename(folder / f"b{path.name}")


def scout(folder: Path) -> None:
    rewritten(folder, **{"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"})


def shift(axis: int, steps: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, 3] = steps
    return matrix

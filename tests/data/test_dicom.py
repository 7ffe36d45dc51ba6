# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Series as scanners write them, and series with each defect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.data import dicom
from c2f_monai.data.dicom import read_series
from tests.bundle.volumes import make_volume, write_dicom_series

SHAPE = (8, 7, 6)
LPS = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 1.25, -30], [0, 0, 0, 1]])
TILT = np.array([[1, 0, 0, 0], [0, 0.96, -0.28, 0], [0, 0.28, 0.96, 0], [0, 0, 0, 1]])
OBLIQUE = TILT @ LPS


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("rescale", [(1, -1024), (2, 0)])
def test_hu_and_geometry_of_a_series(tmp_path: Path, affine: np.ndarray, rescale: tuple[int, int]) -> None:
    hu = make_volume(SHAPE) // 2 * 2
    found = read_series(write_dicom_series(tmp_path / "s", hu, affine, rescale=rescale))
    assert found.hu.dtype == np.int16
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)


def test_slices_are_ordered_by_position_not_by_name(tmp_path: Path) -> None:
    hu = make_volume(SHAPE)
    folder = write_dicom_series(tmp_path / "s", hu, LPS)
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{(index * 5) % 6:03d}")  # another order, and no suffix
    found = read_series(folder)
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_allclose(found.affine, LPS, atol=1e-5)


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (LPS, "PLS"),  # numbers ascend with the positions: to the head
        (LPS @ np.diag([1, 1, -1, 1]), "PLI"),  # the first slice is the uppermost
        (LPS @ np.diag([-1, 1, 1, 1]), "PRS"),
    ],
)
def test_the_array_by_instance_numbers_is_told(tmp_path: Path, affine: np.ndarray, expected: str) -> None:
    found = read_series(write_dicom_series(tmp_path / "s", make_volume(SHAPE), affine))
    assert found.instance_axcodes == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [("1 2 3", "PLS"), ("9 5 2", "PLI"), ("1 3 2", ""), ("1 1 2", ""), ("1 x 3", ""), ("1  3", "")],
)
def test_instance_numbers_that_do_not_follow_the_positions_tell_nothing(numbers: str, expected: str) -> None:
    assert dicom._instance_axcodes(numbers.split(" "), LPS) == expected


def remove_one(folder: Path) -> None:
    sorted(folder.iterdir())[3].unlink()


def cut_one(folder: Path) -> None:
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-40])


def double_one(folder: Path) -> None:
    shutil.copy(sorted(folder.iterdir())[1], folder / "copy.dcm")


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


def shift(axis: int, steps: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, 3] = steps
    return matrix


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_one, r"a slice is missing between .*_0002.dcm and .*_0004.dcm: 2.5 mm apart, others 1.25 mm \(1 of 4"),
        (cut_one, "_0002.dcm cannot be read as DICOM"),
        (double_one, "are slices at the same position"),
        (move_last, "the spacing is unequal between .*_0004.dcm and last.dcm: 1.625 mm apart"),
        (other_series, r"1.2.3.5_0000.dcm is of another series than 1.2.3.4_0000.dcm"),
        (other_size, r"differs from .* in size, pixel spacing or orientation: \(\(8, 9\), .* and \(\(8, 7\)"),
        (empty, "holds 0 DICOM files; a volume needs at least 2"),
    ],
)
def test_broken_series_are_refused(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        read_series(folder)


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    for index in range(3):
        affine = LPS @ shift(2, index) @ shift(1, 0.5 * index)
        write_dicom_series(tmp_path / f"{index}", np.zeros((8, 7, 1), np.int16), affine)
        (tmp_path / "s").mkdir(exist_ok=True)
        shutil.move(next((tmp_path / f"{index}").iterdir()), tmp_path / "s" / f"{index}.dcm")
    with pytest.raises(ValueError, match=r"shifted by 0.4 mm from one to the next, as with a tilted gantry"):
        read_series(tmp_path / "s")

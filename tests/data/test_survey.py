# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers tell sizes along the body's axes, and every problem that training would stop at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from c2f_monai.data.readers import image_header
from c2f_monai.data.survey import CaseHeader, CaseVoxels, find_copies, read_headers, read_voxels
from tests.bundle.volumes import write_dicom_series, write_nifti

# Stored as slices, rows, columns: axes run to S, P and L.
SPL = np.array([[0, 0, -0.5, 3], [0, -0.6, 0, 4], [2.0, 0, 0, 5], [0, 0, 0, 1]])


def test_sizes_and_spacings_are_along_the_bodys_axes(tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 6, 8), np.int16), SPL)
    label = write_nifti(tmp_path / "l.nii.gz", np.zeros((4, 6, 8), np.uint8), SPL)
    (found,) = read_headers([{"image": str(image), "label": str(label)}])
    assert (found.name, found.problem, found.shape, found.orientation) == ("a", "", (8, 6, 4), "SPL")
    assert found.spacing == pytest.approx((0.5, 0.6, 2.0))
    assert (found.grid(None), found.grid([1.0, 0.6, 1.0])) == ((8, 6, 4), (5, 6, 7))


def test_problems_are_told_and_stop_nothing(tmp_path: Path) -> None:
    moved = SPL.copy()
    moved[0, 3] += 0.4
    image = str(write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 6, 8), np.int16), SPL))
    labels = {
        "small": str(write_nifti(tmp_path / "small.nii.gz", np.zeros((4, 6, 7), np.uint8), SPL)),
        "moved": str(write_nifti(tmp_path / "moved.nii.gz", np.zeros((4, 6, 8), np.uint8), moved)),
        "none": str(tmp_path / "none.nii.gz"),
    }
    (tmp_path / "bad.nii.gz").write_bytes(b"x")
    cases = [{"image": image, "label": label} for label in labels.values()]
    cases += [{"image": image}, {"image": str(tmp_path / "bad.nii.gz"), "label": labels["small"]}]
    problems = [header.problem for header in read_headers(cases)]
    for problem, part in zip(
        problems,
        ("small.nii.gz has the shape (4, 6, 7), but its image ", "by up to 0.4 mm", "none.nii.gz does not exist"),
        strict=False,
    ):
        assert part in problem
    assert problems[3] == "it has no label" and "bad.nii.gz cannot be read" in problems[4]
    assert read_headers(cases)[4] == CaseHeader("bad", problems[4])


def test_a_label_that_is_turned_or_stretched_is_not_on_the_images_grid(tmp_path: Path) -> None:
    """Both have as many voxels as the image and begin at its first one."""
    image = str(write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 6, 8), np.int16), SPL))
    stretched = SPL.copy()
    stretched[:3, 2] *= 1.2
    labels = [
        write_nifti(tmp_path / "turned.nii.gz", np.zeros((4, 8, 6), np.uint8), SPL),
        write_nifti(tmp_path / "stretched.nii.gz", np.zeros((4, 6, 8), np.uint8), stretched),
    ]
    first, second = (h.problem for h in read_headers([{"image": image, "label": str(label)} for label in labels]))
    assert f"{labels[0]} has the shape (4, 8, 6), but its image {image} (4, 6, 8)" in first
    # 0.2 of eight voxels of 0.5 mm.
    assert f"{labels[1]} and its image {image} lie on different grids: a corner differs by up to 0.8 mm" in second


@pytest.mark.parametrize("slices", [1, 4])
def test_a_dicom_folder_has_the_header_of_its_volume(tmp_path: Path, slices: int) -> None:
    affine = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 1.25, -30], [0, 0, 0, 1]])
    shape, found = image_header(write_dicom_series(tmp_path / "s", np.zeros((8, 7, slices), np.int16), affine))
    assert shape == (8, 7, slices)
    np.testing.assert_allclose(found[:, [0, 1, 3]], affine[:, [0, 1, 3]], atol=1e-5)
    if slices > 1:
        np.testing.assert_allclose(found[:, 2], affine[:, 2], atol=1e-5)


def test_voxels_are_counted_and_problems_stop_nothing(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 4), np.float32)
    array[0, 0] = [1, 1, 2, 0]
    case = {"image": str(write_nifti(tmp_path / "i.nii.gz", array)), "label": str(tmp_path / "l.nii.gz")}
    write_nifti(tmp_path / "l.nii.gz", array)
    assert read_voxels(case) == CaseVoxels({0: 21, 1: 2, 2: 1}, [])
    problem = f"{case['label']} holds 2 in 1 voxels, which is neither background (0) nor a known label (1)"
    assert read_voxels(case, known=[1]).problems == [problem]
    write_nifti(tmp_path / "l.nii.gz", array + np.float32(0.5))
    write_nifti(tmp_path / "i.nii.gz", np.full((2, 3, 4), np.nan, np.float32))
    found = read_voxels(case)
    assert found.counts == {0.5: 21, 1.5: 2, 2.5: 1}
    assert "holds 0.5 in 21 voxels, 1.5 in 2 voxels, 2.5 in 1 voxels" in found.problems[0]
    assert "24 voxels are NaN or infinite" in found.problems[1]
    (tmp_path / "l.nii.gz").write_bytes(b"x")
    assert "l.nii.gz cannot be read" in read_voxels(case).problems[0]


def test_copies_between_splits_are_found_by_their_bytes(tmp_path: Path) -> None:
    for name, content in {"a": b"one", "b": b"two", "c": b"one", "d": b"two"}.items():
        (tmp_path / name).write_bytes(content)
    of = {name: {"image": str(tmp_path / name)} for name in ("a", "b", "c", "d", "none")}
    splits = {"training": [of["a"], of["b"], of["d"], of["none"]], "test": [of["c"]]}
    assert find_copies(splits) == [(of["a"]["image"], of["c"]["image"])]

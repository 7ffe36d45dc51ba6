# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A small copy of the layout of the Pancreas-CT download."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from tests.bundle.volumes import write_dicom_series

SHAPE = (30, 30, 12)
# Columns to the patient's left, rows to posterior, slices upwards, as in the collection.
AFFINE = np.array([[-0.8, 0, 0, 12], [0, -0.8, 0, 9], [0, 0, 1.5, -200], [0, 0, 0, 1.0]])
RESCALE = (1, -1024)


def make_patient(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and mask: an organ in fat, and on the other side a larger one, into which a mirrored mask falls."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    hu = np.where((x - 15) ** 2 + (y - 15) ** 2 < 14**2, -100, -1000)
    mask = (abs(x - 10 - seed % 2) <= 4) & (abs(y - 11) <= 2) & (abs(z - 4) <= 2)
    mask |= (abs(x - 8) <= 1) & (abs(y - 14) <= 2) & (abs(z - 5) <= 1)
    hu[(x >= 16) & (abs(y - 15) <= 8) & (hu > -1000)] = 60
    hu[mask] = 90
    return (hu + rng.normal(0, 10, shape)).round().astype(np.int16), mask


def write_series(root: Path, number: int, hu: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write the slices of a case where the download has them."""
    folder = root / f"PANCREAS_{number:04d}" / f"1.3.6.1.4.{number}" / f"1.3.6.1.4.{number}.9"
    return write_dicom_series(folder, hu, affine, series=f"1.2.826.{number}", rescale=RESCALE)


def write_label(root: Path, number: int, mask: np.ndarray, affine: np.ndarray) -> Path:
    """Write a label in the folder that the archive packs apart."""
    folder = root / "TCIA_pancreas_labels"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"label{number:04d}.nii.gz"
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), path)
    return path


def write_case(root: Path, number: int, flip: tuple[int, ...] = (1,)) -> tuple[np.ndarray, np.ndarray]:
    """Write a case whose label is flipped along array axes, under a header that does not say so; HU and mask."""
    hu, mask = make_patient(number)
    write_series(root, number, hu)
    write_label(root, number, np.flip(mask, flip), np.diag([0.8, 0.8, 1.5, 1.0]) @ np.diag([-1.0, -1, 1, 1]))
    return hu, mask

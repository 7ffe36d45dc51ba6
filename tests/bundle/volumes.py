# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes for tests, written in the formats that users bring."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np


def make_volume(shape: Sequence[int] = (40, 36, 30), seed: int = 0) -> np.ndarray:
    """Return an int16 HU volume with structure at all scales: smooth blobs and noise."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    blob = 120.0 * np.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2) / 0.05)
    return np.round(body + blob + rng.normal(0, 10, shape)).astype(np.int16)


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI file; 2 mm voxels, RAS, when there is no affine."""
    nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine), path)
    return path


def itk_image(volume: np.ndarray, affine: np.ndarray) -> Any:
    """ITK image of an (H, W, D) array whose affine leads to RAS mm and has orthogonal columns."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(volume.T))
    image.SetSpacing([float(step) for step in spacing])
    image.SetOrigin([float(value) for value in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image


def write_dicom_series(
    folder: Path,
    volume: np.ndarray,
    affine: np.ndarray,
    series: str = "1.2.3.4",
    rescale: tuple[int, int] = (1, 0),
    tags: Mapping[str, str] | None = None,
) -> Path:
    """Write a CT series, one file for each slice along the last axis.

    Files store (HU - intercept) / slope, with ``rescale`` the slope and intercept. ``tags`` are further attributes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    rows = lps[:3, :2] / spacing[:2]
    image_type = itk.Image[itk.SS, 2]
    for index in range(volume.shape[2]):
        image = itk.image_from_array(np.ascontiguousarray(volume[:, :, index].T), ttype=image_type)
        image.SetSpacing([float(step) for step in spacing[:2]])
        position = lps[:3, 3] + index * lps[:3, 2]
        known = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0021": "20200101",
            "0008|0060": "CT",
            "0018|0050": f"{spacing[2]:.8g}",
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(f"{value:.8g}" for value in position),
            "0020|0037": "\\".join(f"{value:.8g}" for value in rows.T.ravel()),
            "0020|0052": "1.2.3.9",
            "0028|1052": str(rescale[1]),
            "0028|1053": str(rescale[0]),
        }
        dictionary = itk.MetaDataDictionary()
        for key, value in (known | dict(tags or {})).items():
            dictionary[key] = value
        image.SetMetaDataDictionary(dictionary)
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        writer = itk.ImageFileWriter[image_type].New(Input=image, FileName=str(folder / f"{series}_{index:04d}.dcm"))
        writer.SetImageIO(io)
        writer.UseInputMetaDataDictionaryOn()
        io.SetMetaDataDictionary(dictionary)
        writer.Update()
    return folder


def write_dataset(folder: Path, cases: int = 2, shape: Sequence[int] = (40, 36, 30)) -> Path:
    """Write a Decathlon-style data set with a test split of labeled cases in two groups."""
    (folder / "imagesTs").mkdir(parents=True)
    (folder / "labelsTs").mkdir()
    entries = []
    for index in range(cases):
        files = {"image": f"imagesTs/case_{index}.nii.gz", "label": f"labelsTs/case_{index}.nii.gz"}
        volume = make_volume(shape, seed=index)
        write_nifti(folder / files["image"], volume)
        write_nifti(folder / files["label"], (volume > 120).astype(np.uint8))
        entries.append({**files, "group": "plain" if index % 2 == 0 else "shifted"})
    (folder / "dataset.json").write_text(json.dumps({"training": [], "test": entries}), encoding="utf-8")
    return folder

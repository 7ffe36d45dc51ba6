# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What to segment: one file, a DICOM series, a folder of images or a split of a data set, checked by their headers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import itk
import nibabel as nib

from ..utils import IMAGE_SUFFIXES, case_name
from .datalist import load_datalist

__all__ = ["check_header", "list_inputs"]

_NIFTI = (".nii", ".nii.gz")


def list_inputs(
    path: str | os.PathLike[str] | None, dataset_dir: str | os.PathLike[str] = "", split: str = "test"
) -> list[dict[str, Any]]:
    """List the cases to segment, after a look at every header.

    Args:
        path: an image (NIfTI, NRRD, MHA, MHD), a folder of one DICOM series, or a folder of images or of such folders;
            None: the images of a split of ``dataset_dir``.
        dataset_dir: Decathlon-style data set, read only when ``path`` is None.
        split: its split.

    Returns:
        One dict for each case with the absolute path under "image".

    Raises:
        FileNotFoundError: when the path does not exist.
        ValueError: when it holds no image, an image is unreadable or not one 3D volume, or two cases share a name.
    """
    if path is None:
        cases = load_datalist(dataset_dir, split)
    else:
        place = Path(path).absolute()
        if not place.exists():
            raise FileNotFoundError(f"input {place} does not exist.")
        cases = [{"image": str(found)} for found in ([place] if place.is_file() else _in_folder(place))]
    names: dict[str, str] = {}
    for case in cases:
        name = case_name(case["image"])
        if name in names:
            raise ValueError(f"{names[name]} and {case['image']} would both be written as {name}: rename one.")
        names[name] = case["image"]
        check_header(case["image"])
    return cases


def check_header(path: str | os.PathLike[str]) -> None:
    """Refuse a file or DICOM folder that is not one readable 3D volume; no voxel is read.

    Raises:
        ValueError: naming the file.
    """
    try:
        shape = _series_shape(Path(path)) if Path(path).is_dir() else _file_shape(Path(path))
    except Exception as error:  # readers raise whatever their library does
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error
    # A trailing axis of length 1 is how some tools write a volume.
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ValueError(f"{path}: one 3D volume is needed, its shape is {shape}.")


def _in_folder(folder: Path) -> list[Path]:
    if _series(folder):
        return [folder]
    images = [entry for entry in sorted(folder.iterdir()) if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    series = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and _series(entry)]
    if not images + series:
        raise ValueError(f"input folder {folder} has no image ({', '.join(IMAGE_SUFFIXES)}) and no DICOM series.")
    return sorted(images + series)


def _series(folder: Path) -> list[str]:
    """Identifiers of the DICOM series directly in a folder."""
    if not any(entry.is_file() and not entry.name.lower().endswith(IMAGE_SUFFIXES) for entry in folder.iterdir()):
        return []
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    return list(names.GetSeriesUIDs())


def _series_shape(folder: Path) -> tuple[int, ...]:
    series = _series(folder)
    if len(series) != 1:
        raise ValueError(f"the folder has {len(series)} DICOM series, one is needed")
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    files = names.GetFileNames(series[0])
    return (*_itk_size(files[0])[:2], len(files))


def _file_shape(path: Path) -> tuple[int, ...]:
    if path.name.lower().endswith(_NIFTI):
        return tuple(int(n) for n in nib.load(path).shape)
    return _itk_size(path)


def _itk_size(path: str | Path) -> tuple[int, ...]:
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise ValueError("no reader knows its format")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return tuple(int(reader.GetDimensions(axis)) for axis in range(reader.GetNumberOfDimensions()))

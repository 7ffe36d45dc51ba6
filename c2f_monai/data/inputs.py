# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From what a user has - a file, a DICOM series, a folder, a data set - to a list of cases that are volumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from monai.data import Dataset, MetaTensor
from monai.transforms import LoadImage

from c2f_monai.data.datalist import load_datalist
from c2f_monai.utils import IMAGE_SUFFIXES, case_name

__all__ = ["READERS", "CaseDataset", "dicom_series", "list_inputs", "read_volume", "volume_header", "volume_shape"]

# MONAI tries the last one first: nibabel keeps affines that are not orthonormal, ITK reads all other formats.
READERS = ("ITKReader", "NibabelReader")


def list_inputs(
    path: str | os.PathLike[str] | None,
    dataset_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    fold: int | None = None,
) -> list[dict[str, Any]]:
    """List the cases to segment; their headers are read, so that a bad file is an error before any long work.

    Args:
        path: one image file, the folder of a DICOM series, a folder of image files and DICOM folders, or a
            Decathlon-style data set. None: the data set ``dataset_dir``.
        dataset_dir: Decathlon-style data set, used when there is no ``path``.
        split: split of a data set. Defaults to "test".
        fold: fold of a data set that the split "test" is; None: no cross-validation. Defaults to None.

    Returns:
        One dict for each case, with absolute paths: "image", and "label" and other keys where a data set has them.

    Raises:
        FileNotFoundError: When the input does not exist or holds no images.
        ValueError: When a file is not one 3D volume, image and label differ in shape, a folder holds several DICOM
            series, or two cases have the same name.
    """
    if path is None and dataset_dir is None:
        raise ValueError("give an input or a dataset_dir.")
    place = Path(os.path.abspath(os.path.expanduser(str(dataset_dir if path is None else path))))
    if not place.exists():
        raise FileNotFoundError(f"input {place} does not exist.")
    if path is None or (place / "dataset.json").is_file():
        cases = load_datalist(place, split, fold=fold)
    else:
        cases = [{"image": str(image)} for image in (_images_of(place) if place.is_dir() else [place])]
    _check_names([case["image"] for case in cases])
    for case in cases:
        shape = volume_shape(case["image"])
        if "label" in case and (label_shape := volume_shape(case["label"])) != shape:
            raise ValueError(f"{case['label']} has the shape {label_shape}, but its image {case['image']} {shape}.")
    return cases


def dicom_series(folder: str | os.PathLike[str]) -> list[str]:
    """Identifiers of the DICOM series in a folder, told apart as ``monai.data.ITKReader`` does."""
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # series date
    names.SetDirectory(str(folder))
    return [str(name) for name in names.GetSeriesUIDs()]


def volume_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Voxels along the axes of a volume, from its header alone; see :func:`volume_header`."""
    return volume_header(path)[0]


def volume_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.ndarray]:
    """Voxels along the axes of a volume and its affine, (4, 4) to RAS mm, from its header alone.

    A DICOM folder gives its number of files as the last length, and their mean distance as the step.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it cannot be read, has not three axes (further ones of length 1 aside), has several values in a
            voxel, or an affine that cannot be inverted.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"image {path} does not exist.")
    try:
        if os.path.isdir(path):
            return _dicom_header(path)
        nifti = str(path).lower().endswith((".nii", ".nii.gz"))
        shape, scalar, affine = _nifti_header(path) if nifti else _itk_header(path)
    except Exception as error:  # readers raise whatever their library does
        raise ValueError(f"{path} cannot be read as an image: {_reason(error)}") from error
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        size = "x".join(str(length) for length in shape)
        raise ValueError(f"{path} is a {len(shape)}D image of {size}, but a CT volume has three axes.")
    if not scalar:
        raise ValueError(f"{path} has several values in a voxel, but a CT has one.")
    if 0 in shape:
        raise ValueError(f"{path} has an empty axis, its shape is {shape}.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError(f"{path} has an affine that cannot be inverted: {affine[:3, :3].tolist()}.")
    return shape[:3], affine


def read_volume(path: str | os.PathLike[str]) -> MetaTensor:
    """Read a volume file or DICOM folder as (1, H, W, D) float32 in its own orientation.

    Raises:
        ValueError: When it cannot be read.
    """
    try:
        return LoadImage(reader=READERS, image_only=True, ensure_channel_first=True)(path)
    except Exception as error:  # readers raise whatever their library does
        raise ValueError(f"{path} cannot be read as a volume: {_reason(error)}") from error


class CaseDataset(Dataset):
    """MONAI's ``Dataset`` whose errors say in one line which file they are about.

    MONAI reports a failed transform as "applying transform <object>" and hides the reason in a chain of exceptions.

    Args:
        data: cases, each with the path of its "image".
        transform: preprocessing of a case.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Any = None) -> None:
        super().__init__(data, transform)

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            path, reason = str(self.data[index]["image"]), _reason(cause)
            raise ValueError(reason if path in reason else f"{path} cannot be used: {reason}") from error


def _images_of(folder: Path) -> list[Path]:
    visible = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    images = [entry for entry in visible if entry.is_file() and entry.name.lower().endswith(IMAGE_SUFFIXES)]
    if not images and dicom_series(folder):
        return [folder]
    series = [entry for entry in visible if entry.is_dir() and dicom_series(entry)]
    if not images and not series:
        raise FileNotFoundError(f"input {folder} holds no images ({', '.join(IMAGE_SUFFIXES)}) and no DICOM series.")
    return sorted(images + series)


def _check_names(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        name = case_name(path)
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} would both be written as {name}; rename one.")
        seen[name] = path


def _dicom_header(folder: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.ndarray]:
    series = dicom_series(folder)
    if len(series) != 1:
        raise ValueError(f"a folder must hold one DICOM series, it holds {len(series)}.")
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")
    names.SetDirectory(str(folder))
    files = names.GetFileNames(series[0])
    shape, scalar, affine = _itk_header(files[0])
    if not scalar:
        raise ValueError("it has several values in a voxel, but a CT has one.")
    if len(files) == 1:
        return (*shape, 1)[:3], affine
    affine[:3, 2] = (_itk_header(files[-1])[2][:3, 3] - affine[:3, 3]) / (len(files) - 1)
    return (*shape[:2], len(files)), affine


def _nifti_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], bool, np.ndarray]:
    image: Any = nib.load(path)
    kind = image.get_data_dtype()
    return tuple(image.shape), kind.fields is None and kind.kind in "iufb", np.asarray(image.affine)


def _itk_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], bool, np.ndarray]:
    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise ValueError("its format is not known.")
    io.SetFileName(str(path))
    io.ReadImageInformation()
    axes = range(io.GetNumberOfDimensions())
    affine = np.eye(4)
    for i in list(axes)[:3] if len(axes) >= 3 else []:
        affine[:3, i] = np.asarray(io.GetDirection(i), dtype=float)[:3] * io.GetSpacing(i)
        affine[i, 3] = io.GetOrigin(i)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's world is LPS
    return tuple(int(io.GetDimensions(i)) for i in axes), io.GetNumberOfComponents() == 1, affine


def _reason(error: BaseException) -> str:
    """One line of an exception's text: libraries put the place first and what happened last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

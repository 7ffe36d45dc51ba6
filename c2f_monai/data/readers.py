# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one reader of CT volumes and their labels, by format: a new format is one line in :data:`READERS`."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
from monai.config import DtypeLike
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage

from ..utils import IMAGE_SUFFIXES, root_cause

__all__ = [
    "READERS",
    "CTReader",
    "ImageFormats",
    "dicom_series",
    "image_header",
    "image_shape",
    "is_image_file",
    "read_image",
    "reason_of",
]


class ImageFormats(UserDict[str, Callable[[], ImageReader]]):
    """Maker of a MONAI image reader by the suffix of files; the maker under "" is for all others and for folders.

    A suffix that is new belongs to the names of images from then on: folders are searched for it, and it is no part of
    a case's name. A reader whose ``header(path)`` gives the shape, the number of values in a voxel and the affine
    is asked for them before any voxel is read; of another the whole image is read.

    Raises:
        ValueError: for a suffix that does not begin with a dot, or has capital letters: files are found by either.

    Examples:
        >>> formats = ImageFormats({"": ITKReader, ".nii": NibabelReader})
        >>> formats.reader_of("case.NII").__class__.__name__, formats.reader_of("folder").__class__.__name__
        ('NibabelReader', 'ITKReader')
    """

    def __setitem__(self, suffix: str, maker: Callable[[], ImageReader]) -> None:
        if suffix and (not suffix.startswith(".") or suffix != suffix.lower()):
            raise ValueError(f"a suffix must look like .nii.gz, in small letters, got {suffix!r}.")
        super().__setitem__(suffix, maker)
        if suffix and suffix not in IMAGE_SUFFIXES:
            IMAGE_SUFFIXES.append(suffix)

    def reader_of(self, path: str | os.PathLike[str]) -> ImageReader:
        """A reader for a file or folder, by the longest suffix that fits."""
        name = "" if os.path.isdir(path) else str(path).lower()
        return self[max((suffix for suffix in self if name.endswith(suffix)), key=len)]()


class _NiftiReader(NibabelReader):
    """MONAI's reader with the header alone; affines that are not orthonormal stay as they are."""

    def header(self, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
        """Shape, values in a voxel and affine."""
        image: Any = nib.load(path)
        kind = image.get_data_dtype()
        values = len(kind.fields) if kind.fields else 2 if kind.kind == "c" else 1  # colors, complex numbers
        return tuple(image.shape), values, np.asarray(image.affine)


class _ItkReader(ITKReader):
    """MONAI's reader with the header alone: files and DICOM series."""

    def header(self, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
        """Shape, values in a voxel and affine; a series gives its number of files, and their mean distance as step."""
        if not os.path.isdir(path):
            return _itk_header(path)
        series = dicom_series(path)
        if len(series) != 1:
            raise ValueError(f"a folder must hold one DICOM series, it holds {len(series)}.")
        files = _series_names(path).GetFileNames(series[0])
        shape, values, affine = _itk_header(files[0])
        if len(files) == 1:
            return (*shape, 1)[:3], values, affine
        affine[:3, 2] = (_itk_header(files[-1])[2][:3, 3] - affine[:3, 3]) / (len(files) - 1)
        return (*shape[:2], len(files)), values, affine


#: The formats; ``READERS[".xyz"] = XyzReader`` adds one, here or in a program that uses the package.
READERS = ImageFormats({".nii.gz": _NiftiReader, ".nii": _NiftiReader, "": _ItkReader})


class CTReader(ImageReader):
    """MONAI image reader of all formats in :data:`READERS`: ``LoadImaged(reader="c2f_monai.data.CTReader")``.

    Training, inference, scores and figures read with it, so that a file is the same volume everywhere. It keeps
    nothing between calls: threads may share it.
    """

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Yes: what has no reader of its own goes to ITK."""
        return True

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Any:
        """Open one image, or several that become channels; all by the format of the first."""
        names = [data] if isinstance(data, str | os.PathLike) else list(data)
        reader = READERS.reader_of(names[0])
        return reader, reader.read(data, **kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Voxels and metadata, "affine" to RAS mm among them, of what :meth:`read` gave."""
        reader, image = img
        array, meta = reader.get_data(image)
        # Files of the other byte order, which torch does not take.
        return array.astype(array.dtype.newbyteorder("="), copy=False), meta


def read_image(path: str | os.PathLike[str], dtype: DtypeLike = np.float32) -> MetaTensor:
    """Read a volume file or DICOM folder as (1, H, W, D) in its own orientation, with its affine to RAS mm.

    Args:
        path: the file or folder.
        dtype: of the result; None keeps the file's. Defaults to float32.

    Raises:
        ValueError: When it cannot be read.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.diag([2, 2, 5, 1])), folder / "ct.nii.gz")
        >>> volume = read_image(folder / "ct.nii.gz")
        >>> volume.shape, volume.dtype, volume.pixdim.tolist()
        (torch.Size([1, 4, 3, 2]), torch.float32, [2.0, 2.0, 5.0])
    """
    try:
        return LoadImage(image_only=True, dtype=dtype, ensure_channel_first=True)(path, reader=CTReader())
    except Exception as error:  # readers raise whatever their library does
        raise ValueError(f"{path} cannot be read as a volume: {reason_of(error)}") from None


def image_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Voxels along the axes of a volume, from its header alone; see :func:`image_header`.

    Examples:
        >>> path = getfixture("tmp_path") / "ct.nii.gz"
        >>> nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)), path)
        >>> image_shape(path)
        (4, 3, 2)
    """
    return image_header(path)[0]


def image_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.ndarray]:
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
        shape, values, affine = _header(path)
    except Exception as error:  # readers raise whatever their library does
        raise ValueError(f"{path} cannot be read as an image: {reason_of(error)}") from error
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        size = "x".join(str(length) for length in shape)
        raise ValueError(f"{path} is a {len(shape)}D image of {size}, but a CT volume has three axes.")
    if values != 1:
        raise ValueError(f"{path} has several values in a voxel, but a CT has one.")
    if 0 in shape:
        raise ValueError(f"{path} has an empty axis, its shape is {shape}.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError(f"{path} has an affine that cannot be inverted: {affine[:3, :3].tolist()}.")
    return shape[:3], affine


def is_image_file(path: str | os.PathLike[str]) -> bool:
    """Whether a visible file's name has the suffix of an image.

    Examples:
        >>> is_image_file("ct.NII.gz"), is_image_file("notes.txt"), is_image_file(".hidden.nii")
        (True, False, False)
    """
    name = Path(path).name.lower()
    return name.endswith(tuple(IMAGE_SUFFIXES)) and not name.startswith(".")


def dicom_series(folder: str | os.PathLike[str]) -> list[str]:
    """Identifiers of the DICOM series in a folder, told apart as ``monai.data.ITKReader`` does."""
    return [str(name) for name in _series_names(folder).GetSeriesUIDs()]


def reason_of(error: BaseException) -> str:
    """One line of the text of an exception's root cause: libraries put the place first and what happened last."""
    cause = root_cause(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


def _header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
    reader: Any = READERS.reader_of(path)
    if hasattr(reader, "header"):
        return reader.header(path)
    image = read_image(path, dtype=None)
    return tuple(image.shape[1:]), image.shape[0], np.asarray(image.affine, dtype=float)


def _series_names(folder: str | os.PathLike[str]) -> Any:
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # series date
    names.SetDirectory(str(folder))
    return names


def _itk_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
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
    return tuple(int(io.GetDimensions(i)) for i in axes), int(io.GetNumberOfComponents()), affine

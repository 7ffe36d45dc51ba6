# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one reader of CT volumes and their labels, by format: a new format is one line in :data:`READERS`."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage
from monai.utils import MetaKeys, SpaceKeys

from ..transforms import check_spacing
from ..utils import IMAGE_SUFFIXES, reason_of
from .dicom import HuVolume, read_series, series_header
from .dicom_files import is_dicom_place
from .itk_checks import check_data_files, itk_header
from .nifti_checks import check_nifti_size, checked_image, nifti_notes, nifti_problem, open_nifti

__all__ = [
    "READERS",
    "REVERSED",
    "CTReader",
    "ImageFormats",
    "ReversedReader",
    "image_header",
    "image_shape",
    "is_image_file",
    "read_image",
]

#: In the metadata of a volume: its axes are in the opposite order.
REVERSED = "reversed_axes"


class ImageFormats(UserDict[str, Callable[[], ImageReader]]):
    """Maker of a MONAI image reader by the suffix of files; the maker under "" is for all others. Folders are DICOM.

    A suffix that is new belongs to the names of images from then on: folders are searched for it, and it is no part of
    a case's name. A reader whose ``header(path)`` gives the shape, the number of values in a voxel and the affine
    is asked for them before any voxel is read; of another the whole image is read.

    Raises:
        ValueError: for a suffix that does not begin with a dot, or has capital letters: files are found by either.

    Examples:
        >>> formats = ImageFormats({"": ITKReader, ".nii": NibabelReader})
        >>> formats.reader_of("case.NII").__class__.__name__, formats.reader_of("case.mha").__class__.__name__
        ('NibabelReader', 'ITKReader')
    """

    def __setitem__(self, suffix: str, maker: Callable[[], ImageReader]) -> None:
        if suffix and (not suffix.startswith(".") or suffix != suffix.lower()):
            raise ValueError(f"a suffix must look like .nii.gz, in small letters, got {suffix!r}.")
        super().__setitem__(suffix, maker)
        if suffix and suffix not in IMAGE_SUFFIXES:
            IMAGE_SUFFIXES.append(suffix)

    def reader_of(self, path: str | os.PathLike[str]) -> ImageReader:
        """A reader for a file by the longest suffix that fits; a folder, or a series in one, is DICOM."""
        suffix = max((suffix for suffix in self if str(path).lower().endswith(suffix)), key=len)
        if os.path.isdir(path) or (not is_image_file(path) and is_dicom_place(path)):
            return _DicomReader()
        return self[suffix]()


class _NiftiReader(NibabelReader):
    """MONAI's reader with the header alone and its checks; affines that are not orthonormal stay as they are."""

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Any:
        """Open files, packed or not by their content; MONAI goes by the names."""
        self.filenames = [data] if isinstance(data, str | os.PathLike) else list(data)
        images = [open_nifti(name) for name in self.filenames]
        return images if len(images) > 1 else images[0]

    def header(self, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
        """Shape, values in a voxel and affine."""
        image = open_nifti(path)
        check_nifti_size(path, image)
        kind = image.get_data_dtype()
        values = len(kind.fields) if kind.fields else 2 if kind.kind == "c" else 1  # colors, complex numbers
        return tuple(image.shape), values, np.asarray(image.affine)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Voxels and metadata, "notes" and "problem" among them."""
        images = list(img) if isinstance(img, list | tuple) else [img]
        array, meta = super().get_data([checked_image(image.get_filename(), image) for image in images])
        meta["notes"] = "; ".join(nifti_notes(images[0]))
        meta["problem"] = nifti_problem(images[0].get_filename(), images[0])
        return array, meta


class _ItkReader(ITKReader):
    """MONAI's reader with the header alone."""

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Any:
        """Open files; the data that a header names are checked first."""
        for path in [data] if isinstance(data, str | os.PathLike) else data:
            check_data_files(path)
        return super().read(data, **kwargs)

    def header(self, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
        """Shape, values in a voxel and affine."""
        check_data_files(path)
        return itk_header(path)


class _DicomReader(ImageReader):
    """The strict reader of CT series as one of MONAI's, see :func:`c2f_monai.data.dicom.read_series`."""

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Yes: only what is DICOM comes here."""
        return True

    def header(self, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
        """Shape, values in a voxel and affine."""
        shape, affine = series_header(path)
        return shape, 1, affine

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> HuVolume:
        """Read one series."""
        (place,) = [data] if isinstance(data, str | os.PathLike) else data
        return read_series(place)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Voxels and metadata, "notes" among them."""
        meta = {
            MetaKeys.AFFINE: img.affine,
            MetaKeys.ORIGINAL_AFFINE: img.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.hu.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            MetaKeys.SPACE: SpaceKeys.RAS,
            "notes": "; ".join(img.notes),
        }
        return img.hu, {str(key): value for key, value in meta.items()}


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
        array, meta = self._voxels(img)
        return _last_axis_first(array), meta

    @staticmethod
    def _voxels(img: Any) -> tuple[np.ndarray, dict]:
        reader, image = img
        array, meta = reader.get_data(image)
        # Files of the other byte order, which torch does not take.
        return array.astype(array.dtype.newbyteorder("="), copy=False), meta


class ReversedReader(CTReader):
    """The same, but volumes whose first axis comes first in memory, as in NIfTI, are given as (D, W, H).

    MONAI's loader turns every array so that its last axis comes first, which takes a third of the time of reading.
    Such a volume has :data:`REVERSED` in its metadata; who permutes its axes back has it as the file has it.
    """

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Voxels and metadata."""
        array, meta = self._voxels(img)
        if not _is_first_axis_first(array) or isinstance(array, np.memmap):  # a file that is mapped may change
            return _last_axis_first(array), meta
        return array.T, {**meta, REVERSED: True}


def read_image(path: str | os.PathLike[str], dtype: DtypeLike = np.float32) -> MetaTensor:
    """Read a volume file or DICOM folder as (1, H, W, D) in its own orientation, with its affine to RAS mm.

    Args:
        path: the file or folder.
        dtype: of the result; None keeps the file's. Defaults to float32.

    Raises:
        ValueError: When it cannot be read.

    Examples:
        >>> import nibabel as nib
        >>> folder = getfixture("tmp_path")
        >>> nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.diag([2, 2, 5, 1])), folder / "ct.nii.gz")
        >>> volume = read_image(folder / "ct.nii.gz")
        >>> volume.shape, volume.dtype, volume.pixdim.tolist()
        (torch.Size([1, 4, 3, 2]), torch.float32, [2.0, 2.0, 5.0])
    """
    try:
        volume: MetaTensor = LoadImage(image_only=True, dtype=dtype, ensure_channel_first=True)(path, reader=CTReader())
        return volume
    except Exception as error:  # readers raise whatever their library does
        raise ValueError(f"{path} cannot be read as a volume: {reason_of(error)}") from None


def image_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Voxels along the axes of a volume, from its header alone; see :func:`image_header`.

    Examples:
        >>> import nibabel as nib
        >>> path = getfixture("tmp_path") / "ct.nii.gz"
        >>> nib.save(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)), path)
        >>> image_shape(path)
        (4, 3, 2)
    """
    return image_header(path)[0]


def image_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.ndarray]:
    """Voxels along the axes of a volume and its affine, (4, 4) to RAS mm, from its header alone.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it cannot be read, has not three axes (further ones of length 1 aside), has several values in a
            voxel, or an affine that cannot be inverted.
    """
    if not os.path.exists(path) and not is_dicom_place(path):
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
    check_spacing(str(path), affine, shape)
    return shape[:3], affine


def is_image_file(path: str | os.PathLike[str]) -> bool:
    """Whether a visible file's name has the suffix of an image.

    Examples:
        >>> is_image_file("ct.NII.gz"), is_image_file("notes.txt"), is_image_file(".hidden.nii")
        (True, False, False)
    """
    name = Path(path).name.lower()
    return name.endswith(tuple(IMAGE_SUFFIXES)) and not name.startswith(".")


def _last_axis_first(array: np.ndarray) -> np.ndarray:
    """A volume as torch keeps it; NIfTI has the first axis first, and NumPy turns that in four times the time."""
    if not _is_first_axis_first(array):
        return array
    height, width, depth = array.shape
    bits = torch.from_numpy(array.T.view(f"i{array.dtype.itemsize}"))
    # Two steps: torch turns matrices block by block, but not volumes.
    planes = bits.reshape(depth, width * height).t().contiguous()
    return planes.reshape(width, height, depth).transpose(0, 1).contiguous().numpy().view(array.dtype)


def _is_first_axis_first(array: np.ndarray) -> bool:
    usable = array.dtype.kind in "iuf" and array.dtype.itemsize in (1, 2, 4, 8) and array.flags.writeable
    return array.ndim == 3 and usable and array.flags.f_contiguous and not array.flags.c_contiguous


def _header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
    reader: Any = READERS.reader_of(path)
    if hasattr(reader, "header"):
        header: tuple[tuple[int, ...], int, np.ndarray] = reader.header(path)
        return header
    image = read_image(path, dtype=None)
    return tuple(image.shape[1:]), image.shape[0], np.asarray(image.affine, dtype=float)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Images that are in memory already, from nibabel, ITK, SimpleITK, NumPy or torch, as a reader would give them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import itk
import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from .readers import READERS, CTReader

__all__ = ["LoadVolumed", "is_path", "volume_of"]


def is_path(image: Any) -> bool:
    """Whether an image is still to be read from a file or folder."""
    return isinstance(image, str | os.PathLike)


def volume_of(image: Any, affine: Any = None) -> MetaTensor:
    """An image in memory as (1, H, W, D) in its own orientation and type, with its affine to RAS mm.

    Args:
        image: a nibabel, ITK or SimpleITK image; a MetaTensor of (H, W, D) or (1, H, W, D); or an array or tensor of
            these shapes, whose affine must be given.
        affine: (4, 4) from voxels to RAS mm, of an array or tensor; the other kinds bring their own.

    Raises:
        ValueError: for an array without an affine, or one that is not (4, 4).
        TypeError: for anything else.

    Examples:
        >>> volume = volume_of(np.zeros((4, 3, 2), np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
        >>> volume.shape, volume.dtype, volume.pixdim.tolist()
        (torch.Size([1, 4, 3, 2]), torch.int16, [2.0, 2.0, 5.0])
    """
    name = ""
    if isinstance(image, nib.spatialimages.SpatialImage):
        name = image.get_filename() or ""
        image, affine = np.asanyarray(image.dataobj), image.affine
    elif isinstance(image, itk.ImageBase):
        image, affine = _of_itk(image)
    elif type(image).__module__.startswith("SimpleITK"):
        image, affine = _of_itk(_itk_of_simpleitk(image))
    elif isinstance(image, MetaTensor):
        name = str(image.meta.get("filename_or_obj", ""))
        image, affine = image.as_tensor(), image.affine
    elif not isinstance(image, np.ndarray | torch.Tensor):
        raise TypeError(
            "an image must be a path, a nibabel, ITK or SimpleITK image, a MetaTensor, or an array with its affine, "
            f"got {type(image).__name__}."
        )
    if affine is None:
        raise ValueError("an array needs its affine, (4, 4) from voxels to RAS mm: give affine=.")
    matrix = torch.as_tensor(np.asarray(affine, dtype=np.float64))
    if tuple(matrix.shape) != (4, 4):
        raise ValueError(f"affine must be (4, 4), got the shape {tuple(matrix.shape)}.")
    values = torch.as_tensor(_native(image))
    values = values[None] if values.dim() == 3 else values
    return MetaTensor(values, affine=matrix, meta={"filename_or_obj": name, "original_channel_dim": 0})


class LoadVolumed(LoadImaged):
    """MONAI's ``LoadImaged`` by :class:`c2f_monai.data.CTReader` alone.

    It leaves alone what :func:`volume_of` has made of an image in memory. MONAI's own asks all readers that it knows
    once the given one has refused a file, and ITK's puts together any series.
    """

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Read the files."""
        if all(isinstance(data.get(key), MetaTensor) for key in self.keys):
            return dict(data)
        loaded: dict[Hashable, Any] = super().__call__(data, reader or CTReader())
        return loaded


def _native(image: Any) -> Any:
    """Arrays that torch does not take, of the other byte order, read-only or with a turned axis, as copies."""
    if isinstance(image, torch.Tensor):
        return image
    array = image.astype(image.dtype.newbyteorder("="), copy=False)
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def _of_itk(image: Any) -> tuple[np.ndarray, np.ndarray]:
    array, meta = READERS[""]().get_data(image)
    return array, np.asarray(meta["affine"])


def _itk_of_simpleitk(image: Any) -> Any:
    import SimpleITK  # an image of it is here, so it is installed; the package does not need it

    copy = itk.image_from_array(SimpleITK.GetArrayFromImage(image))
    copy.SetSpacing(image.GetSpacing())
    copy.SetOrigin(image.GetOrigin())
    size = image.GetDimension()
    copy.SetDirection(itk.matrix_from_array(np.reshape(image.GetDirection(), (size, size))))
    return copy

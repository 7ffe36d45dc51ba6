# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Images that are in memory already, from nibabel, ITK, SimpleITK, NumPy or torch, as a reader would give them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import itk
import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from .nifti_checks import nifti_notes, place_problem
from .readers import READERS, REVERSED, ReversedReader

__all__ = ["LoadVolumed", "check_own_grid", "is_path", "volume_of"]


def is_path(image: Any) -> bool:
    """Whether an image is still to be read from a file or folder."""
    return isinstance(image, str | os.PathLike)


def volume_of(image: Any, affine: Any = None, spacing: Sequence[float] | None = None) -> MetaTensor:
    """An image in memory as (1, H, W, D) in its own orientation and type, with its affine to RAS mm.

    Args:
        image: a nibabel, ITK or SimpleITK image; a MetaTensor of (H, W, D) or (1, H, W, D); or an array or tensor of
            these shapes, whose affine or spacing must be given. Further axes of length 1 at the end do not count.
        affine: (4, 4) from voxels to RAS mm, of an array or tensor; the other kinds bring their own.
        spacing: voxel size in mm along H, W and D, of an array or tensor whose axes run to the patient's right, front
            and head (RAS): a bare array says no directions. Others are turned first, or get an affine: a flipped
            volume has a flipped answer. The first voxel's center becomes the origin.

    Returns:
        MetaTensor. What is known to be wrong with its place is the "problem" in its metadata, for
        :func:`c2f_monai.transforms.check_volume`; "notes" are what a user should know, both as of a file.

    Raises:
        ValueError: for an array without affine and spacing, or with both; an affine that is not (4, 4); a spacing
            that is not three positive numbers; either one beside an image that brings its own.
        TypeError: for anything else.

    Examples:
        >>> volume = volume_of(np.zeros((4, 3, 2), np.int16), spacing=(2.0, 2.0, 5.0))
        >>> volume.shape, volume.dtype, volume.affine.diagonal().tolist()
        (torch.Size([1, 4, 3, 2]), torch.int16, [2.0, 2.0, 5.0, 1.0])
    """
    if not isinstance(image, np.ndarray | torch.Tensor) or isinstance(image, MetaTensor):
        check_own_grid(image, affine, spacing)
    meta = _known_of(image)
    if isinstance(image, nib.spatialimages.SpatialImage):
        image, affine = _of_nibabel(image), image.affine
    elif isinstance(image, itk.ImageBase):
        image, affine = _of_itk(image)
    elif type(image).__module__.startswith("SimpleITK"):
        image, affine = _of_itk(_itk_of_simpleitk(image))
    elif isinstance(image, MetaTensor):
        image, affine = image.as_tensor(), image.affine
    elif not isinstance(image, np.ndarray | torch.Tensor):
        raise TypeError(
            "an image must be a path, a nibabel, ITK or SimpleITK image, a MetaTensor, or an array with its affine "
            f"or spacing, got {type(image).__name__}."
        )
    matrix = torch.from_numpy(_matrix_of(affine, spacing))
    values = torch.as_tensor(_native(_without_ends(image)))
    values = values[None] if values.dim() == 3 else values
    return MetaTensor(values, affine=matrix, meta={**meta, "original_channel_dim": 0})


def check_own_grid(image: Any, affine: Any, spacing: Any) -> None:
    """Refuse an affine or a spacing beside an image that brings its own.

    Raises:
        ValueError: where one is given.
    """
    for name, value in (("affine", affine), ("spacing", spacing)):
        if value is not None:
            raise ValueError(f"{name} is of an array, but a {type(image).__name__} brings its own: leave it out.")


class LoadVolumed(LoadImaged):
    """MONAI's ``LoadImaged`` by :class:`c2f_monai.data.CTReader` alone.

    It leaves alone what :func:`volume_of` has made of an image in memory. MONAI's own asks all readers that it knows
    once the given one has refused a file, and ITK's puts together any series. Volumes of NIfTI lie in memory as in the
    file, their first axis first.
    """

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Read the files."""
        if all(isinstance(data.get(key), MetaTensor) for key in self.keys):
            return dict(data)
        loaded: dict[Hashable, Any] = super().__call__(data, reader or ReversedReader())
        for key in self.key_iterator(loaded):
            if isinstance(loaded[key], MetaTensor) and loaded[key].meta.pop(REVERSED, False):
                loaded[key] = loaded[key].permute(2, 1, 0)
        return loaded


def _known_of(image: Any) -> dict[str, str]:
    """What an image says of itself beside voxels and affine: its name, and what a reader of its file would find."""
    if isinstance(image, MetaTensor):
        known = {key: str(image.meta.get(key) or "") for key in ("filename_or_obj", "notes", "problem")}
    elif isinstance(image, nib.spatialimages.SpatialImage):
        known = {"filename_or_obj": image.get_filename() or ""}
    else:
        known = {"filename_or_obj": ""}
    if isinstance(image, nib.Nifti1Pair):  # the base of Nifti1Image and Nifti2Image
        known |= {"notes": "; ".join(nifti_notes(image)), "problem": place_problem(image)}
    return known


def _matrix_of(affine: Any, spacing: Any) -> np.ndarray:
    """(4, 4) float64 of what was given of an array."""
    if affine is None and spacing is None:
        raise ValueError(
            "an array needs its affine, (4, 4) from voxels to RAS mm, or its spacing in mm where its axes run to the "
            "patient's right, front and head: give affine= or spacing=."
        )
    if affine is not None and spacing is not None:
        raise ValueError("an array takes its affine or its spacing, and got both: an affine holds the spacing.")
    if affine is not None:
        matrix = np.array(affine, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError(f"affine must be (4, 4), got the shape {matrix.shape}.")
        return matrix
    steps = np.array(spacing, dtype=np.float64)
    if steps.shape != (3,) or not np.isfinite(steps).all() or steps.min() <= 0:
        raise ValueError(f"spacing must be three positive numbers, the mm along each axis, got {spacing}.")
    return np.diag([*steps, 1.0])


def _native(image: Any) -> Any:
    """Arrays that torch does not take, of the other byte order, read-only or with a turned axis, as copies."""
    if isinstance(image, torch.Tensor):
        return image
    array = image.astype(image.dtype.newbyteorder("="), copy=False)
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def _without_ends(image: Any, axes: int = 4) -> Any:
    """An array or tensor without axes of length 1 at its end; of four axes the first may be the channel."""
    while image.ndim > axes or (image.ndim == 4 and image.shape[0] != 1):
        if image.shape[-1] != 1:
            break
        image = image[..., 0]
    return image


def _of_nibabel(image: Any) -> np.ndarray:
    """Voxels (H, W, D), or of a fourth axis, such as time, as channels: in NIfTI the channel is never the first."""
    array = _without_ends(np.asanyarray(image.dataobj), axes=3)
    return np.moveaxis(array, 3, 0) if array.ndim == 4 else array


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

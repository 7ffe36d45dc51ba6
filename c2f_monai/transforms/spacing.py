# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Resampling to the working grid, the same grid however a volume is stored."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Spacingd
from monai.utils import TraceKeys
from scipy import ndimage

from .axis_resampling import AxisResample, resample_support

__all__ = ["ResampleToSpacingd", "SmoothForSpacingd", "working_shape"]

# Parts of a voxel below which a half counts as a half: affines are float32 in NIfTI, decimal text in DICOM.
_TOLERANCE = 1e-3
#: Standard deviations that a blur's kernel reaches.
_TRUNCATE = 4.0


def working_shape(shape: Sequence[int], spacing: Sequence[float], pixdim: Sequence[float]) -> tuple[int, ...]:
    """Voxels along each axis of the grid of ``pixdim`` that begins at the first voxel: extents rounded, halves up.

    Args:
        shape: voxels along each axis.
        spacing: voxel size in mm for each axis.
        pixdim: voxel size of the grid in mm; an axis keeps its size where it is not positive.

    Examples:
        >>> working_shape((512, 512, 100), (0.75, 0.75, 2.5), (2.0, 2.0, 2.0))
        (193, 193, 125)
    """
    steps = [(s / p) if p > 0 else 1.0 for s, p in zip(spacing, pixdim, strict=True)]
    return tuple(math.floor((n - 1) * step + 1.5 + _TOLERANCE) for n, step in zip(shape, steps, strict=True))


class SmoothForSpacingd(MapTransform):
    """Blurs a volume along the axes whose voxels are about to become larger.

    ``Spacingd`` takes samples: at half the resolution it passes over three of four pixels, and the noise of thin slices
    stays. A Gaussian of the variance of the mean over a new voxel, (f^2 - 1) / 12 pixels for voxels f times as large,
    makes the samples about such means.

    Args:
        keys: images (C, H, W, D), MetaTensors on the CPU.
        pixdim: voxel size of the grid in mm, (x, y, z); an axis is left alone where it is not positive.

    Examples:
        >>> noise = np.random.default_rng(0).normal(0, 100, (1, 64, 64, 4)).astype(np.int16)
        >>> volume = MetaTensor(torch.from_numpy(noise), affine=torch.diag(torch.tensor([0.8, 0.8, 3.0, 1.0])))
        >>> smooth = SmoothForSpacingd("image", pixdim=(1.6, 1.6, -1))({"image": volume})["image"]
        >>> smooth.dtype, round(float(smooth.float().std()))
        (torch.int16, 64)
    """

    def __init__(self, keys: KeysCollection, pixdim: Sequence[float]) -> None:
        super().__init__(keys)
        self.pixdim = tuple(float(size) for size in pixdim)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Returns:
            ``data`` with blurred images of the same type.

        Raises:
            ValueError: for an image without a voxel size.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._smooth(key, out[key])
        return out

    def _smooth(self, key: Hashable, volume: Any) -> torch.Tensor:
        if not isinstance(volume, MetaTensor):
            raise ValueError(f"{key} must be a MetaTensor to have a voxel size, got {type(volume).__name__}.")
        factors = [size / own for size, own in zip(self.pixdim, volume.pixdim.tolist(), strict=True)]
        sigmas = [math.sqrt(max(factor**2 - 1.0, 0.0) / 12.0) for factor in factors]
        wide = [int(_TRUNCATE * sigma + 0.5) > 0 for sigma in sigmas]  # else the kernel is one pixel, 1
        if not any(wide):
            return volume
        smooth: MetaTensor = volume.clone()
        voxels = smooth.as_tensor().numpy()  # the same memory
        for axis in (axis for axis in (1, 2, 3) if wide[axis - 1]):
            # A few slices at a time: a volume in float32 is too much beside one of 16 bits.
            for part in np.moveaxis(voxels, 3 if axis < 3 else 1, 0):
                _blur(part, axis if axis < 3 else 2, sigmas[axis - 1])
        return smooth


def _blur(part: np.ndarray, axis: int, sigma: float) -> None:
    """Blur in place."""
    blurred = ndimage.gaussian_filter1d(part, sigma, axis, output=np.float32, mode="nearest", truncate=_TRUNCATE)
    part[...] = np.rint(blurred) if np.issubdtype(part.dtype, np.integer) else blurred


class ResampleToSpacingd(Spacingd):
    """MONAI's ``Spacingd``, but files of the same volume give grids of the same shape.

    Where the extent is a whole number of voxels and a half (5 mm slices resampled to 2 mm), MONAI's rounding follows
    the last digits of the affine, so that an oblique or DICOM copy of a volume gets one slice more or less; and where
    they make the axes miss a right angle, its grid begins half a voxel elsewhere. This one begins at the first voxel,
    and interpolates along one axis after the other, see :func:`resample_axes`. Volumes must be in one orientation, and
    ``scale_extent`` False.

    Examples:
        >>> volume = MetaTensor(torch.zeros(1, 4, 4, 6), affine=torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0])))
        >>> ResampleToSpacingd("image", pixdim=(2, 2, 2))({"image": volume})["image"].shape
        torch.Size([1, 4, 4, 14])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = self.spacing_transform.sp_resample
        self._resample = self.spacing_transform.sp_resample = AxisResample(
            known.mode, known.padding_mode, known.align_corners, known.dtype, known.lazy
        )

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict[Hashable, torch.Tensor]:
        """Resample."""
        out = dict(data)
        options = (self.mode, self.padding_mode, self.align_corners, self.dtype)
        for key, mode, padding_mode, align_corners, dtype in self.key_iterator(out, *options):
            volume = out[key]
            if not isinstance(volume, MetaTensor):
                raise ValueError(f"{key} must be a MetaTensor to have a voxel size, got {type(volume).__name__}.")
            count = volume.ndim - 1
            spacing = volume.pixdim.tolist()
            pixdim = [float(p) for p in self.spacing_transform.pixdim]
            pixdim = pixdim * count if len(pixdim) == 1 else pixdim[:count]
            pixdim = [p if p > 0 else own for p, own in zip(pixdim, spacing, strict=True)]
            out[key] = self._resample(
                volume,
                dst_affine=_scaled(volume.affine, pixdim),
                spatial_size=working_shape(volume.shape[1:], spacing, pixdim),
                mode=mode,
                padding_mode=padding_mode,
                align_corners=align_corners,
                dtype=dtype,
                lazy=self.lazy if lazy is None else lazy,
            )
        return out

    def inverse(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Resample to the grid that a volume came from."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = _resample_back(self._resample, out[key])
        return out


def _scaled(affine: torch.Tensor, pixdim: Sequence[float]) -> torch.Tensor:
    """The affine of the grid that begins at the same voxel, with other voxel sizes along the same axes."""
    scaled = affine.clone()
    count = len(pixdim)
    sizes = torch.tensor(pixdim, dtype=affine.dtype, device=affine.device)
    scaled[:count, :count] *= sizes / affine[:count, :count].norm(dim=0)
    return scaled


def _resample_back(resample: AxisResample, volume: Any) -> torch.Tensor:
    """What ``resample.inverse`` gives, with less time and memory."""
    points = resample.points_back(volume)
    if points is None:
        return resample.inverse(volume)
    info = resample.pop_transform(volume)[TraceKeys.EXTRA_INFO]
    back: MetaTensor = MetaTensor(resample_support(volume.as_tensor(), points, info["mode"])).copy_meta_from(volume)
    back.affine = torch.as_tensor(info["src_affine"])
    return back

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Resampling to the working grid, the same grid however a volume is stored."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.networks.layers import gaussian_1d
from monai.transforms import MapTransform, Spacingd
from monai.utils import TraceKeys

from .axis_resampling import AxisResample, memory_order, resample_support

__all__ = ["ResampleToSpacingd", "SmoothForSpacingd", "working_shape"]

# Parts of a voxel below which a half counts as a half: affines are float32 in NIfTI, decimal text in DICOM.
_TOLERANCE = 1e-3
#: Standard deviations that a blur's kernel reaches.
_TRUNCATE = 4.0
#: Voxels that are blurred at a time.
_PIECE = 2**21


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
        >>> import numpy as np
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
        spacing = volume.pixdim.tolist()
        factors = [size / own if size > 0 else 1.0 for size, own in zip(self.pixdim, spacing, strict=True)]
        sigmas = [math.sqrt(max(factor**2 - 1.0, 0.0) / 12.0) for factor in factors]
        kernels = {axis: _kernel(sigma) for axis, sigma in enumerate(sigmas, start=1)}
        kernels = {axis: kernel for axis, kernel in kernels.items() if _changes(kernel, volume.dtype)}
        if not kernels:
            return volume
        smooth: MetaTensor = MetaTensor(_blurred(volume.as_tensor(), kernels)).copy_meta_from(volume)
        return smooth


def _blurred(volume: torch.Tensor, kernels: Mapping[int, list[float]]) -> torch.Tensor:
    """A volume (C, H, W, D), blurred along the axes of the kernels, one after the other."""
    result = torch.empty_like(volume)
    # As it lies in memory, the axis of the largest steps first, and in pieces that the processor's caches hold: a
    # volume in float32 is too much beside one of 16 bits.
    order = memory_order(volume)
    source, target = volume.permute(order), result.permute(order)
    length = source.shape[1]
    count, reach = max(1, _PIECE * length // max(volume.numel(), 1)), len(kernels.get(order[1], [1.0])) - 1
    for start in range(0, length, count):
        stop = min(start + count, length)
        part = _with_borders(source, 1, start - reach, stop + reach).float()
        for axis, kernel in kernels.items():
            along = order.index(axis)
            if along > 1:
                part = _with_borders(part, along, 1 - len(kernel), part.shape[along] + len(kernel) - 1)
            part = _convolved(part, along, kernel)
            if not volume.is_floating_point():
                part.round_()
        target[:, start:stop] = part
    return result


def _kernel(sigma: float) -> list[float]:
    """Weights of a Gaussian's middle and of the pixels to each side of it."""
    if int(_TRUNCATE * sigma + 0.5) < 1:
        return [1.0]
    weights = gaussian_1d(torch.tensor(sigma, dtype=torch.float64), _TRUNCATE, approx="sampled", normalize=True)
    return [float(weight) for weight in weights[len(weights) // 2 :]]


def _changes(kernel: list[float], dtype: torch.dtype) -> bool:
    """Whether a blur can change a voxel: whole numbers come back where the neighbors' share stays below a half."""
    if dtype.is_floating_point:
        return len(kernel) > 1
    limits = torch.iinfo(dtype)
    return 2.0 * sum(kernel[1:]) * (limits.max - limits.min) >= 0.5


def _with_borders(volume: torch.Tensor, axis: int, start: int, stop: int) -> torch.Tensor:
    """Part of an axis; what is asked for beyond the volume are copies of its border."""
    last = volume.shape[axis] - 1
    first, end = max(start, 0), min(stop - 1, last)
    inside = volume.narrow(axis, first, end + 1 - first)
    beyond = [(0, first - start), (last, stop - 1 - end)]
    if not any(count for _, count in beyond):
        return inside
    before, after = (
        volume.narrow(axis, edge, 1).expand([count if each == axis else -1 for each in range(volume.dim())])
        for edge, count in beyond
    )
    return torch.cat([before, inside, after], dim=axis)


def _convolved(wide: torch.Tensor, axis: int, kernel: list[float]) -> torch.Tensor:
    """Where the whole kernel lies in the volume: a symmetric one, given from its middle on."""
    reach = len(kernel) - 1
    length = wide.shape[axis] - 2 * reach
    result = wide.narrow(axis, reach, length) * kernel[0]
    for step, weight in enumerate(kernel[1:], start=1):
        for start in (reach - step, reach + step):
            result.add_(wide.narrow(axis, start, length), alpha=weight)
    return result


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

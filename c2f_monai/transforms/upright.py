# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes whose axes lie far from the body's: turned upright before anything else, and masks back."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from monai.utils import TraceKeys, ensure_tuple_rep

from .clip import HU_RANGE

__all__ = ["MAX_SHEAR", "MAX_TURN", "TurnUprightd", "axes_angles", "upright_grid"]

#: Degrees between an axis and the body's up to which the networks see a body as they know it: they are trained on
#: turns of 15 degrees, and the phantom's patients lie by up to 22 degrees askew in the world, along the file's axes.
MAX_TURN = 25.0
#: Degrees from a right angle between two axes that are the noise of a header, and no shear.
MAX_SHEAR = 0.5
#: Voxels that are resampled at once: their coordinates take three times their memory.
PART_VOXELS = 2**24


def axes_angles(affine: Any) -> tuple[float, float]:
    """How far a grid is turned and sheared.

    Args:
        affine: (4, 4) from voxels to RAS mm.

    Returns:
        Degrees between an axis and that of the body which is nearest to it, the largest of the three; and degrees by
        which two axes miss the right angle, the largest again.

    Examples:
        >>> turn, shear = axes_angles([[0, -0.5, 0, 0], [0.5, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
        >>> round(turn), round(shear)
        (0, 0)
    """
    axes = np.asarray(affine, dtype=float)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    turn = math.acos(min(1.0, float(np.abs(axes).max(axis=0).min())))
    shear = math.asin(min(1.0, float(np.abs(axes.T @ axes - np.eye(3)).max())))
    return math.degrees(turn), math.degrees(shear)


def upright_grid(affine: Any, shape: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The grid along R, A and S that covers a volume, with the voxel sizes of the volume's axes.

    Args:
        affine: (4, 4) from voxels to RAS mm, of a volume whose axes are nearest to R, A and S in this order.
        shape: voxels along each axis.

    Returns:
        (4, 4) affine and shape.

    Examples:
        >>> sheared = [[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
        >>> upright_grid(sheared, (4, 4, 5))[1]
        (4, 6, 5)
    """
    affine = np.asarray(affine, dtype=float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    corners = affine[:3, :3] @ ends + affine[:3, 3:]
    low, high = corners.min(axis=1), corners.max(axis=1)
    grid = np.diag([*spacing, 1.0])
    grid[:3, 3] = low
    return grid, tuple(int(math.ceil(n - 1e-3)) + 1 for n in (high - low) / spacing)


class TurnUprightd(MapTransform, InvertibleTransform):
    """Resample volumes along the body's axes where theirs are turned by more than 25 degrees, or sheared.

    Reconstructions along an organ and volumes of a tilted gantry show a body that no network has seen. Air is around
    the old volume in the new one. Other volumes stay as they are; the inverse leads masks back to the file's grid.

    Args:
        keys: MetaTensors (C, H, W, D), whose axes are nearest to R, A and S in this order.
        mode: interpolation of each key. Defaults to "bilinear", of HU; "nearest" takes the values for labels, and
            surrounds them by 0.
        allow_missing_keys: pass over keys that the data do not have. Defaults to False.

    Examples:
        >>> affine = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
        >>> volume = MetaTensor(torch.zeros(1, 4, 4, 5), affine=affine)
        >>> upright = TurnUprightd("image")({"image": volume})["image"]
        >>> upright.shape, float(upright[0, 0, 5, 0])
        (torch.Size([1, 4, 6, 5]), -1024.0)
    """

    def __init__(
        self, keys: KeysCollection, mode: str | Sequence[str] = "bilinear", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.resample = SpatialResample(padding_mode="zeros", align_corners=False, dtype=np.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Turn what needs it."""
        out = dict(data)
        for key, mode in self.key_iterator(out, self.mode):
            volume = out[key]
            turn, shear = axes_angles(volume.affine)
            turned = turn > MAX_TURN or shear > MAX_SHEAR
            info = {"turned": turned, "affine": volume.affine, "shape": tuple(volume.shape[1:]), "mode": mode}
            out[key] = self._turn(volume, mode) if turned else _same_voxels(volume)
            self.push_transform(out[key], extra_info=info)
        return out

    def _turn(self, volume: MetaTensor, mode: str) -> torch.Tensor:
        affine, shape = upright_grid(volume.affine, volume.shape[1:])
        outside = 0 if mode == "nearest" else HU_RANGE[0]
        # What is sampled outside of a volume is 0.
        shifted = volume.float() - outside
        turned = _resample_parts(self.resample, shifted, torch.as_tensor(affine), shape, mode=mode) + outside
        return turned if volume.dtype.is_floating_point else turned.round().to(volume.dtype)

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Back to the grids of the files; values outside of the upright one are 0."""
        out = dict(data)
        for key, _ in self.key_iterator(out, self.mode):
            info = self.pop_transform(out[key])[TraceKeys.EXTRA_INFO]
            if info["turned"]:
                out[key] = _resample_parts(self.resample, out[key], info["affine"], info["shape"], mode=info["mode"])
        return out


def _same_voxels(volume: MetaTensor) -> MetaTensor:
    """A tensor of the same memory, whose list of transforms is its own."""
    return MetaTensor(volume.as_tensor(), meta=volume.meta, applied_operations=list(volume.applied_operations))


def _resample_parts(
    resample: SpatialResample, volume: Any, affine: torch.Tensor, shape: Sequence[int], **options: Any
) -> torch.Tensor:
    """Resample a few slices along the first axis at a time, without a trace of it.

    Args:
        resample: MONAI's transform.
        volume: MetaTensor (C, H, W, D).
        affine: (4, 4) of the new grid.
        shape: voxels of the new grid.
        options: of ``resample``'s call.

    Returns:
        MetaTensor (C, *shape) float32.
    """
    rows = max(1, PART_VOXELS // math.prod(shape[1:]))
    result = torch.empty((volume.shape[0], *shape), dtype=torch.float32, device=volume.device)
    with resample.trace_transform(False):
        for start in range(0, shape[0], rows):
            stop = min(start + rows, shape[0])
            moved = affine.clone()
            moved[:3, 3] += start * affine[:3, 0]
            part: Any = SpatialResample.__call__(
                resample, volume, dst_affine=moved, spatial_size=(stop - start, *shape[1:]), **options
            )
            result[:, start:stop] = part.as_tensor()
    moved_volume: MetaTensor = MetaTensor(result).copy_meta_from(volume)
    moved_volume.affine = affine
    return moved_volume

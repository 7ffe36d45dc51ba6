# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What of a probability a mask on the file's grid depends on."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import MetaKeys

from ..utils import grow_bounds
from .axis_resampling import support_box

__all__ = ["KeepNearMaskd"]

#: Probability below the threshold from which rounding, of interpolation in float32, cannot reach it.
_MARGIN = 1e-3


class KeepNearMaskd(MapTransform):
    """Set probabilities to 0 that no voxel of the mask depends on: the inverse of the resampling leaves out zeros.

    A value between voxels is no greater than the greatest of them. So the mask on the file's grid depends on what
    reaches the threshold and on its neighbors, as far as a voxel of either grid is long; where nothing does, as where
    a network finds nothing, on no voxel at all. Masks stay the same, voxel for voxel.

    Args:
        keys: probabilities (K, H, W, D) on the working grid, MetaTensors that know the file's affine; others are left
            as they are.
        threshold: of the mask. Defaults to 0.5.

    Examples:
        >>> meta = {"original_affine": torch.eye(4)}
        >>> sure = MetaTensor(torch.full((1, 9, 9, 9), 0.1), affine=torch.eye(4), meta=meta)
        >>> sure[0, 4, 4, 4] = 0.9
        >>> int((KeepNearMaskd("pred")({"pred": sure})["pred"] > 0).sum())
        125
    """

    def __init__(self, keys: KeysCollection, threshold: float = 0.5) -> None:
        super().__init__(keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Set them."""
        out = dict(data)
        for key in self.key_iterator(out):
            volume = out[key]
            if isinstance(volume, MetaTensor) and volume.meta.get(MetaKeys.ORIGINAL_AFFINE) is not None:
                out[key] = self._kept(volume)
        return out

    def _kept(self, volume: MetaTensor) -> torch.Tensor:
        values = volume.as_tensor()
        kept = values.new_zeros(values.shape)
        box = support_box(values, self.threshold - _MARGIN)
        if box is not None:
            affine = np.asarray(volume.meta[MetaKeys.ORIGINAL_AFFINE], dtype=float)
            longest = float(np.linalg.norm(affine[:3, :3], axis=0).max())
            # One voxel of the working grid, and of a grid between where the file's axes are turned.
            reach = [1 + math.ceil(longest / size) for size in volume.pixdim.tolist()]
            near = (slice(None), *(slice(*side) for side in grow_bounds(box, reach, values.shape[1:])))
            kept[near] = values[near]
        result: MetaTensor = MetaTensor(kept).copy_meta_from(volume)
        return result

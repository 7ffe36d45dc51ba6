# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits of what a CT's voxels can say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["HU_RANGE", "ClipHUd"]

#: HU of scanners of 12 bits; whole numbers, which leave a volume its type.
HU_RANGE = (-1024, 3071)


class ClipHUd(MapTransform):
    """Clip CT volumes to -1024..3071 HU before anything is resampled.

    Interpolation and blur carry the values of metal (up to 30000 HU) and of the padding outside the field of view
    (down to -32768) into the tissue beside them. Air, soft tissue and bone lie inside the range and stay as they are.

    Args:
        keys: keys of the volumes in HU, of any type that holds the range.

    Examples:
        >>> volume = torch.tensor([-2000, -100, 30000], dtype=torch.int16)
        >>> ClipHUd("image")({"image": volume})["image"].tolist()
        [-1024, -100, 3071]
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clip."""
        out = dict(data)
        for key in self.key_iterator(out):
            low, high = HU_RANGE
            values = torch.as_tensor(out[key])
            if values.amin() < low or values.amax() > high:  # a volume of clinical size is copied only where it changes
                out[key] = out[key].clamp(low, high)
        return out

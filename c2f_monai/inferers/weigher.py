# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The saliency transformation on the crops of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..utils import Bounds, crop_boxes, slab_indices, to_slices
from .patches import Patch, bounds_in_view

if TYPE_CHECKING:
    from .views import VolumeInView

__all__ = ["Weigher"]


class Weigher:
    """
    What g makes of the prior [3.4]: it sees the map beyond the crop, as far as its kernels reach.

    Args:
        prior: (K, ...) the last round's map or mask.
        of: the volume in the view.
    """

    def __init__(self, prior: Patch, of: VolumeInView) -> None:
        self.values = to_slices(prior.values, of.axes)
        self.bounds = bounds_in_view(prior.bounds, of.axes, of.shape)
        self.count, *self.size = of.size
        self.caller, self.view = of.caller, of.view

    def __call__(self, centers: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Weights (B, in_slices, height, width) of the crops of slabs, zero beyond the slice.

        Args:
            centers: (B,) long, central slices.
            boxes: (B, 4) long, of one shape.
        """
        reach = self.caller.saliency_reach
        top, left, bottom, right = 0, 0, *self.size
        if reach >= 0:
            low, high = boxes[:, :2].amin(0) - reach, boxes[:, 2:].amax(0) + reach
            top, left = low.clamp_min(0).tolist()
            bottom, right = (min(int(end), length) for end, length in zip(high, self.size, strict=True))
        windows = slab_indices(centers, self.count, self.caller.slab.out_slices)
        seen = self._seen(windows, ((top, bottom), (left, right)))
        weights = self.caller.weights(seen.flatten(1, 2), self.view)
        return crop_boxes(weights, boxes - torch.tensor([top, left, top, left]))

    def _seen(self, windows: torch.Tensor, part: Bounds) -> torch.Tensor:
        """Slabs of the prior (B, K, out_slices, h, w) on a part of the slice."""
        (first, last), *plane = self.bounds
        shape = (len(windows), len(self.values), windows.shape[1], *(stop - start for start, stop in part))
        seen = torch.zeros(shape, dtype=self.values.dtype, device=self.values.device)
        common = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(plane, part, strict=True)]
        if any(stop <= start for start, stop in common):
            return seen
        source, target = (
            tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(common, frame, strict=True)) for frame in (plane, part)
        )
        inside = ((windows >= first) & (windows < last)).to(seen.device)
        index = (windows - first).clamp(0, last - first - 1).to(seen.device)
        values = self.values[:, index, source[0], source[1]].transpose(0, 1)
        seen[..., target[0], target[1]] = values * inside[:, None, :, None, None]
        return seen

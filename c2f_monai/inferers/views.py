# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One view of a volume through a part of the network: slabs and crops in batches, probabilities back in the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ..utils import (
    Part,
    View,
    add_crops,
    add_margins,
    add_slabs,
    boxes_from_projections,
    crop_boxes,
    default_slice_axes,
    extract_label_slabs,
    extract_slabs,
    from_slices,
    group_by_shape,
    grow_boxes,
    pad_to_multiple,
    scale_to_unit,
    slab_indices,
    to_slices,
    unwrap,
    window_count,
)

__all__ = ["CropRule", "NetworkCaller", "axes_of", "coarse_view", "fine_view", "slab_boxes"]


def axes_of(network: Any, view: View) -> list[int]:
    """Signed RAS axes of a view's slices, rows and columns: those that the network's weights carry, else the default.

    Raises:
        ValueError: when the network carries numbers that are no axes of this view.
    """
    own = getattr(getattr(getattr(unwrap(network), "views", None), view.value, None), "slice_axes", None)
    if own is None:
        return default_slice_axes(view)
    axes = [int(axis) for axis in own]
    if sorted(abs(axis) for axis in axes) != [1, 2, 3] or abs(axes[0]) != view.axis + 1:
        raise ValueError(f"slice_axes of the {view.value} view's weights are {axes}, which are no axes of such slices.")
    return axes


@dataclass(frozen=True)
class CropRule:
    """How a slab's crop is cut.

    Attributes:
        margin: frame around the minimal rectangle, pixels.
        multiple: sides of crops and whole slices are multiples of it.
        min_size: smallest side of a crop or whole slice, pixels.
        max_margin: instead of ``margin``, each of a box's four margins is uniform in {0..max_margin}; None for none.
    """

    margin: int = 20
    multiple: int = 16
    min_size: int = 0
    max_margin: int | None = None

    def margins(self, count: int) -> int | torch.Tensor:
        """The margin, or (count, 4) long drawn margins: the same for the same count, whatever ran before."""
        if self.max_margin is None:
            return self.margin
        return torch.randint(0, self.max_margin + 1, (count, 4), generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class NetworkCaller:
    """Calls a part of the network on its own device and precision.

    Attributes:
        network: CoarseToFineNet, scripted or wrapped.
        dtype: of images, saliency weights and probabilities: float64 for a float64 network, else float32.
        device: where the network is.
        amp_dtype: dtype of autocast around the convolutional networks; None for float32.
        pixels_per_batch: bound on slabs times height times width of a batch.
        window: HU window to clip and scale; None where the volume is in [0, 1].
    """

    network: Callable[..., torch.Tensor]
    dtype: torch.dtype
    device: torch.device
    amp_dtype: torch.dtype | None
    pixels_per_batch: int
    window: tuple[float, float] | None

    def image(self, x: torch.Tensor) -> torch.Tensor:
        """Network input of a piece of the volume, on the network's device."""
        x = x.to(self.device)
        return x.to(self.dtype) if self.window is None else scale_to_unit(x, self.window, self.dtype)

    def probability(self, x: torch.Tensor, part: Part, view: View) -> torch.Tensor:
        """Probabilities (B, K * depth, h, w) of slabs or crops (B, 3, h, w)."""
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=self.amp_dtype is not None):
            logits = self.network(x, part.value, view.value)
        return torch.sigmoid(logits.to(self.dtype))

    def weights(self, prior: torch.Tensor, view: View) -> torch.Tensor:
        """Weights (B, 3, h, w) of whole slabs of the prior (B, K * depth, h, w)."""
        return self.network(prior.to(self.device), Part.SALIENCY.value, view.value)

    def batches(self, count: int, pixels: int) -> Iterator[tuple[int, int]]:
        """Start and end of batches of slabs of so many pixels each, at least one slab a batch."""
        size = max(1, self.pixels_per_batch // max(pixels, 1))
        for start in range(0, count, size):
            yield start, min(start + size, count)


def coarse_view(
    volume: torch.Tensor, view: View, caller: NetworkCaller, classes: int, depth: int, rule: CropRule
) -> torch.Tensor:
    """Coarse probability of every slice of one view [3.3.2].

    Args:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        view: the view.
        caller: the network.
        classes: K.
        depth: slices that a slab predicts.
        rule: whole slices are zero-padded at their end to its multiples and smallest size.

    Returns:
        (K, H, W, D) on the volume's device: sums over the slabs that cover a slice, by their fixed count.
    """
    axes = axes_of(caller.network, view)
    slices = to_slices(volume, axes)
    n, height, width = slices.shape
    total = torch.zeros((classes, n, height, width), dtype=caller.dtype, device=volume.device)
    for start, end in caller.batches(n, height * width):
        # Neighbouring slabs share slices: scale each slice once, then stack.
        low, high = max(start - 1, 0), min(end + 1, n)
        piece = caller.image(slices[low:high])
        slabs = extract_slabs(piece, torch.arange(start - low, end - low, device=piece.device), depth)
        probability = caller.probability(pad_to_multiple(slabs, rule.multiple, rule.min_size), Part.COARSE, view)
        centers = torch.arange(start, end, device=volume.device)
        add_slabs(total, probability[..., :height, :width].to(volume.device), centers, depth)
    total /= window_count(n, depth, volume.device)[None, :, None, None]
    return from_slices(total, axes)


def slab_boxes(mask: torch.Tensor, axes: list[int], depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimal rectangle of each slab's foreground, over its slices and all classes.

    Args:
        mask: (K, H, W, D) bool.
        axes: signed axes of the view's slices, rows and columns.
        depth: slices of a slab that count.

    Returns:
        centers (N,) long of the slabs with foreground and their boxes (N, 4) long, on the CPU.
    """
    slices = to_slices(mask.any(dim=0), axes)
    rows, columns = slices.any(dim=2).cpu(), slices.any(dim=1).cpu()
    window = slab_indices(torch.arange(rows.shape[0]), rows.shape[0], depth)
    boxes, found = boxes_from_projections(rows[window].any(dim=1), columns[window].any(dim=1))
    centers = torch.nonzero(found).flatten()
    return centers, boxes[centers]


def fine_view(
    volume: torch.Tensor,
    prior: torch.Tensor | None,
    mask: torch.Tensor,
    view: View,
    caller: NetworkCaller,
    classes: int,
    depth: int,
    rule: CropRule,
) -> torch.Tensor:
    """Fine probability of one view: each slab with foreground, cropped around it [3.3.2, 3.4].

    Args:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        prior: (K, H, W, D) what the saliency transformation sees; None where there is none.
        mask: (any, H, W, D) bool, what the boxes are taken around.
        view: the view.
        caller: the network.
        classes: K.
        depth: slices that a slab predicts.
        rule: margin and growth of the boxes.

    Returns:
        (K, H, W, D) on the volume's device, zero outside the ungrown boxes.
    """
    axes = axes_of(caller.network, view)
    slices = to_slices(volume, axes)
    n, height, width = slices.shape
    total = torch.zeros((classes, n, height, width), dtype=caller.dtype, device=volume.device)
    prior_slices = None if prior is None else to_slices(prior, axes)
    centers, boxes = slab_boxes(mask, axes, depth)
    inner = add_margins(boxes, rule.margins(len(boxes)), (height, width))
    grown = grow_boxes(inner, (height, width), rule.multiple, rule.min_size)
    limit = grown.new_tensor([height, width, height, width])
    for shape, group in group_by_shape(grown):
        # Whole slabs are gathered before they are cropped, so they bound the batch.
        pixels = max(shape[0] * shape[1], height * width)
        for start, end in caller.batches(len(group), pixels):
            index = group[start:end]
            slabs = extract_slabs(slices, centers[index].to(volume.device), depth)
            # Zeros beyond a slice that is smaller than its crop are zeros of the scaled image, not 0 HU.
            real = caller.image(crop_boxes(slabs, grown[index].minimum(limit)))
            crops = F.pad(real, (0, shape[1] - real.shape[-1], 0, shape[0] - real.shape[-2]))
            if prior_slices is not None:
                seen = extract_label_slabs(prior_slices, centers[index].to(prior_slices.device), depth)
                # g sees the whole slab and is cropped afterwards: near the crop's border it depends on what is beyond.
                crops = crops * crop_boxes(caller.weights(seen, view), grown[index])
            probability = caller.probability(crops, Part.FINE, view).to(volume.device)
            add_crops(total, probability, centers[index], grown[index], inner[index], depth)
    total /= window_count(n, depth, volume.device)[None, :, None, None]
    return from_slices(total, axes)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One view of a volume through a part of the network: slabs and crops in batches, probabilities back in the volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..utils import (
    Part,
    View,
    add_crops,
    add_margins,
    boxes_from_projections,
    crop_boxes,
    default_slice_axes,
    from_slices,
    group_by_shape,
    grow_boxes,
    padded_side,
    slab_indices,
    sum_windows,
    to_slices,
    unwrap,
    window_count,
)
from .network_caller import NetworkCaller
from .patches import Bounds, Patch, bounds_in_view

__all__ = ["CropRule", "axes_of", "coarse_view", "fine_view", "slab_boxes"]


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
        margin: frame around the minimal rectangle, pixels; None for the whole slice.
        multiple: sides of crops and whole slices are multiples of it.
        min_size: smallest side of a crop or whole slice, pixels.
        max_margin: instead of ``margin``, each of a box's four margins is uniform in {0..max_margin}; None for none.
    """

    margin: int | None = 20
    multiple: int = 16
    min_size: int = 0
    max_margin: int | None = None

    def reach(self, shape: Sequence[int]) -> int:
        """The largest margin in a volume of a shape."""
        largest = self.margin if self.max_margin is None else self.max_margin
        return max(shape) if largest is None else largest

    def margins(self, count: int) -> int | torch.Tensor | None:
        """The margin (None: the whole slice), or (count, 4) long drawn ones, the same for a count in every run."""
        if self.max_margin is None:
            return self.margin
        return torch.randint(0, self.max_margin + 1, (count, 4), generator=torch.Generator().manual_seed(0))

    def side(self, length: int) -> int:
        """Padded side of a whole slice."""
        return padded_side(length, self.multiple, self.min_size)


def _slices_of(volume: torch.Tensor, axes: list[int], low: int, high: int) -> torch.Tensor:
    """Slices ``low`` to ``high`` of a view, (n, h, w); only they are copied where an axis is turned round."""
    axis = abs(axes[0]) - 1
    start = low if axes[0] > 0 else volume.shape[axis] - high
    return to_slices(volume.narrow(axis, start, high - low), axes)


def coarse_view(
    volume: torch.Tensor, view: View, caller: NetworkCaller, classes: int, depth: int, rule: CropRule
) -> Iterator[tuple[int, torch.Tensor]]:
    """Coarse probability of one view [3.3.2], a few slices at a time: each is complete when its last slab has run.

    Args:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        view: the view.
        caller: the network.
        classes: K.
        depth: slices that a slab predicts.
        rule: whole slices are zero-padded at their end to its multiples and smallest size.

    Yields:
        where along the view's axis the slices lie, and their probabilities (K, ...) in the volume's orientation: sums
        over the slabs that cover a slice, by their fixed count. Every slice comes once.
    """
    axes = axes_of(caller.network, view)
    n, height, width = (volume.shape[abs(axis) - 1] for axis in axes)
    canvas, reach = (rule.side(height), rule.side(width)), depth // 2
    count = window_count(n, depth, volume.device)[:, None, None]
    beyond = torch.zeros((reach, classes * depth, height, width), dtype=caller.dtype, device=volume.device)
    # Slabs whose slices wait for the next batch; before the first slice and behind the last there is no slab.
    waiting = beyond
    for start, end in caller.batches(n, canvas[0] * canvas[1]):
        slabs = _whole_slabs(volume, axes, caller, (start, end), depth, canvas)
        found = caller.probability(slabs, Part.COARSE, view)[..., :height, :width].to(volume.device)
        block = torch.cat([waiting, found, beyond] if end == n else [waiting, found])
        first = start + reach - len(waiting)
        sums = sum_windows(block.unflatten(1, (classes, depth)))
        sums = sums / count[first : first + sums.shape[1]]
        waiting = block[-2 * reach :].clone() if reach else beyond
        yield (first if axes[0] > 0 else n - first - sums.shape[1]), from_slices(sums, axes)


def _whole_slabs(
    volume: torch.Tensor,
    axes: list[int],
    caller: NetworkCaller,
    batch: tuple[int, int],
    depth: int,
    canvas: tuple[int, int],
) -> torch.Tensor:
    """Slabs of a run of centers, (B, 3, *canvas), zero beyond the slice, on the network's device."""
    (start, end), reach, n = batch, depth // 2, volume.shape[abs(axes[0]) - 1]
    low, high = max(start - reach, 0), min(end + reach, n)
    # Neighboring slabs share slices: each is scaled once. Edge slices are repeated as indices, not as copies.
    piece = caller.image(_slices_of(volume, axes, low, high))
    height, width = piece.shape[1:]
    shape = (end - start, 3, *canvas)
    slabs = torch.zeros(shape, dtype=piece.dtype, device=piece.device).to(memory_format=torch.channels_last)
    index = slab_indices(torch.arange(start, end, device=piece.device), n, depth) - low
    for channel in range(3):
        slabs[:, channel, :height, :width] = piece[index[:, channel if depth == 3 else 0]]
    return slabs


def slab_boxes(mask: Patch, axes: list[int], shape: tuple[int, ...], depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimal rectangle of each slab's foreground, over its slices and all classes.

    Args:
        mask: of bool values.
        axes: signed axes of the view's slices, rows and columns.
        shape: (H, W, D) of the volume.
        depth: slices of a slab that count.

    Returns:
        centers (N,) long of the slabs with foreground and their boxes (N, 4) long, on the CPU.
    """
    flat = to_slices(mask.values.any(dim=0), axes)
    (first, last), (top, _), (left, _) = bounds_in_view(mask.bounds, axes, shape)
    reach, n = depth // 2, int(shape[abs(axes[0]) - 1])
    centers = torch.arange(max(first - reach, 0), min(last + reach, n))
    window = slab_indices(centers, n, depth) - first
    outside = (window < 0) | (window >= last - first)
    window = window.clamp(0, last - first - 1)
    rows, columns = ((flat.any(dim=axis).cpu()[window] & ~outside[..., None]).any(dim=1) for axis in (2, 1))
    boxes, found = boxes_from_projections(rows, columns)
    return centers[found], boxes[found] + torch.tensor([top, left, top, left])


def fine_view(
    volume: torch.Tensor,
    prior: Patch | None,
    mask: Patch,
    view: View,
    caller: NetworkCaller,
    classes: int,
    depth: int,
    rule: CropRule,
    bounds: Bounds,
) -> torch.Tensor:
    """Fine probability of one view: each slab with foreground, cropped around it [3.3.2, 3.4].

    Args:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        prior: (K, ...) what the saliency transformation sees; None where there is none.
        mask: (any, ...) bool, what the boxes are taken around; not empty.
        view: the view.
        caller: the network.
        classes: K.
        depth: slices that a slab predicts.
        rule: margin and growth of the boxes.
        bounds: the mask's, grown by the rule's reach and at least ``depth - 1``: beyond them the answer is zero.

    Returns:
        (K, h, w, d) on these bounds, in the volume's orientation and on its device; zero outside the ungrown boxes.
    """
    axes, shape = axes_of(caller.network, view), tuple(volume.shape)
    n, height, width = (shape[abs(axis) - 1] for axis in axes)
    region = bounds_in_view(bounds, axes, shape)
    origin = (region[0][0], region[1][0], region[2][0])
    sides = [stop - start for start, stop in region]
    total = torch.zeros((classes, *sides), dtype=caller.dtype, device=volume.device)
    centers, boxes = slab_boxes(mask, axes, shape, depth)
    inner = add_margins(boxes, rule.margins(len(boxes)), (height, width))
    grown = grow_boxes(inner, (height, width), rule.multiple, rule.min_size)
    weigher = None if prior is None else _Weigher(prior, axes, shape, caller, view)
    for side, group in group_by_shape(grown):
        for start, end in caller.batches(len(group), side[0] * side[1]):
            index = group[start:end]
            windows = slab_indices(centers[index], n, depth)
            crops = caller.image(_crops(volume, axes, windows, grown[index], side, caller))
            if weigher is not None:
                crops *= weigher(windows, grown[index])
            probability = caller.probability(crops, Part.FINE, view).to(volume.device)
            add_crops(total, probability, centers[index], grown[index], inner[index], depth, origin)
    total /= window_count(n, depth, volume.device)[region[0][0] : region[0][1], None, None]
    return from_slices(total, axes)


def _crops(
    volume: torch.Tensor,
    axes: list[int],
    windows: torch.Tensor,
    boxes: torch.Tensor,
    side: tuple[int, int],
    caller: NetworkCaller,
) -> torch.Tensor:
    """Crops (B, 3, *side) of the volume, not yet scaled; a box may reach beyond its slice."""
    low, high = int(windows.min()), int(windows.max()) + 1
    slices = _slices_of(volume, axes, low, high)
    crops = caller.blank((len(boxes), 3, *side), volume.device)
    for crop, own, (top, left, bottom, right) in zip(crops, windows - low, boxes.tolist(), strict=True):
        part = slices[own.to(volume.device), top:bottom, left:right]
        crop[:, : part.shape[1], : part.shape[2]] = part
    return crops


class _Weigher:
    """What g makes of the prior [3.4]: it sees the map beyond the crop, as far as its kernels reach."""

    def __init__(
        self, prior: Patch, axes: list[int], shape: tuple[int, ...], caller: NetworkCaller, view: View
    ) -> None:
        self.values = to_slices(prior.values, axes)
        self.bounds = bounds_in_view(prior.bounds, axes, shape)
        self.size = tuple(shape[abs(axis) - 1] for axis in axes[1:])
        self.caller, self.view = caller, view
        #: pixels that a weight depends on around its own; a g that does not say it sees whole slices.
        self.reach = int(getattr(unwrap(caller.network), "saliency_reach", -1))

    def __call__(self, windows: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Weights (B, 3, height, width) of the crops of slabs, zero beyond the slice.

        Args:
            windows: (B, depth) long, slices of each slab.
            boxes: (B, 4) long, of one shape.
        """
        top, left, bottom, right = 0, 0, *self.size
        if self.reach >= 0:
            low, high = boxes[:, :2].amin(0) - self.reach, boxes[:, 2:].amax(0) + self.reach
            top, left = low.clamp_min(0).tolist()
            bottom, right = (min(int(end), length) for end, length in zip(high, self.size, strict=True))
        seen = self._seen(windows, ((top, bottom), (left, right)))
        weights = self.caller.weights(seen.flatten(1, 2), self.view)
        return crop_boxes(weights, boxes - torch.tensor([top, left, top, left]))

    def _seen(self, windows: torch.Tensor, part: Bounds) -> torch.Tensor:
        """Slabs of the prior (B, K, depth, h, w) on a part of the slice."""
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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume along one view through a network: slabs and crops go in, in batches, probabilities come back in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..utils import (
    Bounds,
    Part,
    View,
    add_crops,
    add_margins,
    boxes_from_projections,
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
from .patches import Patch, bounds_in_view
from .weigher import Weigher

__all__ = ["CropRule", "VolumeInView", "axes_of", "slab_boxes"]


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
        bridge: networks of one slice also answer in gaps of the mask of at most so many slices.
    """

    margin: int | None
    multiple: int
    min_size: int
    max_margin: int | None
    bridge: int

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


def slab_boxes(
    mask: Patch, axes: list[int], shape: tuple[int, ...], in_slices: int, bridge: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimal rectangle of each slab's foreground, over all its slices and all classes [3.3.2].

    Args:
        mask: of bool values; not empty.
        axes: signed axes of the view's slices, rows and columns.
        shape: (H, W, D) of the volume.
        in_slices: slices of a slab.
        bridge: slices without foreground, at most so many in a row, that lie between two with it get the box around
            both of these. Slabs of several slices see foreground there as it is: no effect. Defaults to 0.

    Returns:
        centers (N,) long of the slabs with foreground, in ascending order, and their boxes (N, 4) long, on the CPU.
    """
    flat = to_slices(mask.values.any(dim=0), axes)
    (first, last), (top, _), (left, _) = bounds_in_view(mask.bounds, axes, shape)
    reach, n = in_slices // 2, int(shape[abs(axes[0]) - 1])
    centers = torch.arange(max(first - reach, 0), min(last + reach, n))
    window = slab_indices(centers, n, in_slices) - first
    outside = (window < 0) | (window >= last - first)
    window = window.clamp(0, last - first - 1)
    rows, columns = ((flat.any(dim=axis).cpu()[window] & ~outside[..., None]).any(dim=1) for axis in (2, 1))
    boxes, found = boxes_from_projections(rows, columns)
    centers, boxes = centers[found], boxes[found] + torch.tensor([top, left, top, left])
    return _bridged(centers, boxes, bridge) if bridge and in_slices == 1 else (centers, boxes)


def _bridged(centers: torch.Tensor, boxes: torch.Tensor, bridge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices (N,) in ascending order and their boxes (N, 4), with those of gaps of at most ``bridge`` slices."""
    steps = centers.diff()
    # Each slice stands for itself and, where the gap to the next one is short, for the slices of the gap.
    counts = torch.cat([torch.where(steps <= bridge + 1, steps, 1), steps.new_ones(1)])
    source = torch.arange(len(centers)).repeat_interleave(counts)
    beyond = torch.arange(len(source)) - (counts.cumsum(0) - counts)[source]
    after = source + (beyond > 0)
    low, high = (pick(boxes[source], boxes[after]) for pick in (torch.minimum, torch.maximum))
    return centers[source] + beyond, torch.cat([low[:, :2], high[:, 2:]], dim=1)


@dataclass(frozen=True)
class VolumeInView:
    """A volume, or a part of one, seen along one view by a network.

    Attributes:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        view: the view.
        caller: the network, which tells classes and slab spec.
        rule: how crops are cut and whole slices padded.
    """

    volume: torch.Tensor
    view: View
    caller: NetworkCaller
    rule: CropRule

    @cached_property
    def axes(self) -> list[int]:
        """Signed axes of slices, rows and columns."""
        return axes_of(self.caller.network, self.view)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(H, W, D)."""
        return tuple(self.volume.shape)

    @cached_property
    def size(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        n, height, width = (self.shape[abs(axis) - 1] for axis in self.axes)
        return n, height, width

    def coarse(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Coarse probability [3.3.2], a few slices at a time: each is complete when its last slab has run.

        Yields:
            where along the view's axis the slices lie, and their probabilities (K, ...) in the volume's orientation:
            sums over the slabs that predict a slice, by their fixed count. Every slice comes once.
        """
        (n, height, width), slab, device = self.size, self.caller.slab, self.volume.device
        canvas, reach = (self.rule.side(height), self.rule.side(width)), slab.out_reach
        count = window_count(n, slab.out_slices, device)[:, None, None]
        shape = (reach, slab.out_channels(self.caller.classes), height, width)
        beyond = torch.zeros(shape, dtype=self.caller.dtype, device=device)
        # Slabs whose slices wait for the next batch; before the first slice and behind the last there is no slab.
        waiting = beyond
        for start, end in self.caller.batches(n, canvas[0] * canvas[1]):
            slabs = self._whole_slabs(start, end, canvas)
            found = self.caller.probability(slabs, Part.COARSE, self.view)[..., :height, :width].to(device)
            block = found if not reach else torch.cat([waiting, found, beyond] if end == n else [waiting, found])
            first = start + reach - len(waiting)
            if len(block) < slab.out_slices:
                waiting = block
                continue
            sums = sum_windows(block.unflatten(1, (self.caller.classes, slab.out_slices)))
            sums = sums / count[first : first + sums.shape[1]] if reach else sums
            waiting = block[-2 * reach :].clone() if reach else beyond
            yield (first if self.axes[0] > 0 else n - first - sums.shape[1]), from_slices(sums, self.axes)

    def fine(self, prior: Patch | None, mask: Patch, bounds: Bounds) -> torch.Tensor:
        """Fine probability: each slab with foreground, cropped around it [3.3.2, 3.4].

        Args:
            prior: (K, ...) what the saliency transformation sees; None where there is none.
            mask: (any, ...) bool, what the boxes are taken around; not empty.
            bounds: the mask's, grown by what a round may reach beyond it: outside them the answer is zero.

        Returns:
            (K, h, w, d) on these bounds, in the volume's orientation and on its device; zero outside the ungrown boxes.
        """
        (n, height, width), slab, caller = self.size, self.caller.slab, self.caller
        region = bounds_in_view(bounds, self.axes, self.shape)
        origin = (region[0][0], region[1][0], region[2][0])
        sides = [stop - start for start, stop in region]
        total = torch.zeros((caller.classes, *sides), dtype=caller.dtype, device=self.volume.device)
        centers, boxes = slab_boxes(mask, self.axes, self.shape, slab.in_slices, self.rule.bridge)
        inner = add_margins(boxes, self.rule.margins(len(boxes)), (height, width))
        grown = grow_boxes(inner, (height, width), self.rule.multiple, self.rule.min_size)
        weigher = None if prior is None else Weigher(prior, self)
        for side, group in group_by_shape(grown):
            for start, end in caller.batches(len(group), side[0] * side[1]):
                index = group[start:end]
                crops = caller.image(self._crops(centers[index], grown[index], side))
                if weigher is not None:
                    crops *= weigher(centers[index], grown[index])
                probability = caller.probability(crops, Part.FINE, self.view).to(self.volume.device)
                add_crops(total, probability, centers[index], grown[index], inner[index], slab.out_slices, origin)
        total /= window_count(n, slab.out_slices, self.volume.device)[region[0][0] : region[0][1], None, None]
        return from_slices(total, self.axes)

    def _slices(self, low: int, high: int) -> torch.Tensor:
        """Slices ``low`` to ``high``, (n, h, w); only they are copied where an axis is turned round."""
        axis = abs(self.axes[0]) - 1
        start = low if self.axes[0] > 0 else self.shape[axis] - high
        return to_slices(self.volume.narrow(axis, start, high - low), self.axes)

    def _whole_slabs(self, start: int, end: int, canvas: tuple[int, int]) -> torch.Tensor:
        """Slabs of a run of centers, (B, in_slices, *canvas), zero beyond the slice, on the network's device."""
        slab, n = self.caller.slab, self.size[0]
        low, high = max(start - slab.in_reach, 0), min(end + slab.in_reach, n)
        # Neighboring slabs share slices: each is scaled once. Edge slices are repeated as indices, not as copies.
        piece = self.caller.image(self._slices(low, high).contiguous())
        height, width = piece.shape[1:]
        if slab.in_slices == 1 and (height, width) == canvas:
            return piece[:, None]
        shape = (end - start, slab.in_slices, *canvas)
        slabs = torch.zeros(shape, dtype=piece.dtype, device=piece.device).to(memory_format=torch.channels_last)
        index = slab_indices(torch.arange(start, end, device=piece.device), n, slab.in_slices) - low
        for channel in range(slab.in_slices):
            slabs[:, channel, :height, :width] = piece[index[:, channel]]
        return slabs

    def _crops(self, centers: torch.Tensor, boxes: torch.Tensor, side: tuple[int, int]) -> torch.Tensor:
        """Crops (B, in_slices, *side) of the volume, not yet scaled; a box may reach beyond its slice."""
        in_slices = self.caller.slab.in_slices
        windows = slab_indices(centers, self.size[0], in_slices)
        low, high = int(windows.min()), int(windows.max()) + 1
        slices = self._slices(low, high)
        crops = self.caller.blank((len(boxes), in_slices, *side), self.volume.device)
        for crop, own, (top, left, bottom, right) in zip(crops, windows - low, boxes.tolist(), strict=True):
            part = slices[own.to(self.volume.device), top:bottom, left:right]
            crop[:, : part.shape[1], : part.shape[2]] = part
        return crops

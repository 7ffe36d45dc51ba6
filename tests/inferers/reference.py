# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop written as plainly as possible: one slab at a time, float64, no batches, no shared code.

It follows the published algorithm and the crop rule, not the package's implementation, and serves to check it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass
class Settings:
    """What the loop can be told; the names are the inferer's."""

    views: tuple[str, ...] = ("sagittal", "coronal", "axial")
    coarse_fusion: str = "mean"
    fine_fusion: str = "mean"
    prior: str = "probability"
    margin: int = 20
    crop_multiple: int = 16
    min_size: int = 0
    stop: float = 0.95
    max_rounds: int = 10
    component_fraction: float = 0.0
    bridge: int = 0


def dice(a: np.ndarray, b: np.ndarray) -> float:
    size = int(a.sum()) + int(b.sum())
    return 1.0 if size == 0 else 2.0 * int(np.logical_and(a, b).sum()) / size


def neighbors(center: int, n: int, count: int) -> list[int]:
    """Slices of a slab; the edge slice is repeated beyond the ends."""
    positions = [center + step for step in range(-(count - 1) // 2, (count - 1) // 2 + 1)]
    return [min(max(position, 0), n - 1) for position in positions]


def image_slab(slices: np.ndarray, center: int, count: int) -> np.ndarray:
    """(count, h, w) input of a network."""
    return np.stack([slices[i] for i in neighbors(center, len(slices), count)])


def rectangle(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Smallest rectangle (top, bottom, left, right), half-open, around the foreground of an (h, w) mask."""
    points = np.argwhere(mask)
    if len(points) == 0:
        return None
    (top, left), (last_row, last_column) = points.min(axis=0), points.max(axis=0)
    return int(top), int(last_row) + 1, int(left), int(last_column) + 1


def around_gap(masks: np.ndarray, center: int, bridge: int) -> tuple[int, int, int, int] | None:
    """Rectangle around the nearest foreground of (n, h, w) before and behind a slice in a short gap; None elsewhere."""
    present = [position for position, mask in enumerate(masks) if mask.any()]
    before, behind = [p for p in present if p < center], [p for p in present if p > center]
    if not before or not behind or behind[0] - before[-1] > bridge + 1:
        return None
    return rectangle(masks[before[-1]] | masks[behind[0]])


def grow(low: int, high: int, length: int, multiple: int, min_size: int) -> tuple[int, int]:
    """One side of a box, raised to a multiple evenly and shifted inward; beyond the slice only if that is too short."""
    wanted = max(high - low, min_size)
    while wanted % multiple != 0:
        wanted += 1
    start = low - (wanted - (high - low)) // 2
    while start + wanted > length:
        start -= 1
    start = max(start, 0)
    return start, start + wanted


def padded(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Zeros at the end of the last two axes."""
    out = np.zeros((*x.shape[:-2], height, width))
    out[..., : x.shape[-2], : x.shape[-1]] = x
    return out


def run(module: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """One slab (C, h, w) through a network."""
    with torch.no_grad():
        return module(torch.from_numpy(x.copy())[None])[0].numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def cover(n: int, predicted: int) -> np.ndarray:
    """How many slabs predict each slice."""
    count = np.zeros(n)
    for center in range(n):
        for position in range(n):
            count[position] += 2 * abs(position - center) < predicted
    return count


def add_slab(total: np.ndarray, slab: np.ndarray, center: int, predicted: int) -> None:
    """Add (K * predicted, h, w) to (K, n, h, w); what lies beyond the ends is dropped."""
    for k in range(total.shape[0]):
        for s in range(predicted):
            position = center + s - predicted // 2
            if 0 <= position < total.shape[1]:
                total[k, position] += slab[k * predicted + s]


def coarse_map(
    volume: np.ndarray, networks: torch.nn.Module, view: str, classes: int, slab: tuple[int, int], s: Settings
):
    """Coarse probability (K, H, W, D) of one view."""
    slices = np.moveaxis(volume, AXES[view], 0)
    n, height, width = slices.shape
    total = np.zeros((classes, n, height, width))
    for center in range(n):
        _, high = grow(0, height, 0, s.crop_multiple, s.min_size)
        _, wide = grow(0, width, 0, s.crop_multiple, s.min_size)
        x = padded(image_slab(slices, center, slab[0]), high, wide)
        add_slab(total, sigmoid(run(networks.coarse, x))[:, :height, :width], center, slab[1])
    total /= cover(n, slab[1])[None, :, None, None]
    return np.moveaxis(total, 1, AXES[view] + 1)


def fine_map(
    volume: np.ndarray,
    prior: np.ndarray,
    mask: np.ndarray,
    networks: torch.nn.Module,
    view: str,
    slab: tuple[int, int],
    s: Settings,
) -> np.ndarray:
    """Fine probability (K, H, W, D) of one view, given what g sees and the mask that makes the boxes."""
    axis = AXES[view]
    slices = np.moveaxis(volume, axis, 0)
    priors = np.moveaxis(prior, axis + 1, 1)
    masks = np.moveaxis(mask, axis + 1, 1)
    classes, n, height, width = priors.shape
    total = np.zeros(priors.shape)
    for center in range(n):
        box = rectangle(masks[:, neighbors(center, n, slab[0])].any(axis=(0, 1)))
        if box is None and slab[0] == 1:
            box = around_gap(masks.any(axis=0), center, s.bridge)
        if box is None:
            continue
        top, bottom = max(box[0] - s.margin, 0), min(box[1] + s.margin, height)
        left, right = max(box[2] - s.margin, 0), min(box[3] + s.margin, width)
        row, row_end = grow(top, bottom, height, s.crop_multiple, s.min_size)
        column, column_end = grow(left, right, width, s.crop_multiple, s.min_size)
        x = image_slab(slices, center, slab[0])
        if networks.saliency is not None:
            seen = np.concatenate([priors[k, neighbors(center, n, slab[1])] for k in range(classes)])
            x = x * run(networks.saliency, seen)
        crop = padded(x[:, row:row_end, column:column_end], row_end - row, column_end - column)
        answer = sigmoid(run(networks.fine, crop))
        whole = np.zeros((classes * slab[1], height, width))
        whole[:, top:bottom, left:right] = answer[:, top - row : bottom - row, left - column : right - column]
        add_slab(total, whole, center, slab[1])
    total /= cover(n, slab[1])[None, :, None, None]
    return np.moveaxis(total, 1, axis + 1)


def fuse(maps: list[np.ndarray], fusion: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability and mask."""
    mean = sum(maps) / len(maps)
    if fusion == "mean":
        return mean, mean >= 0.5
    votes = sum((one >= 0.5).astype(int) for one in maps)
    return mean, votes > len(maps) / 2


def drop_components(mask: np.ndarray, fraction: float) -> np.ndarray:
    """Remove 6-connected components smaller than a fraction of the largest; not where half of the volume is set."""
    if fraction == 0 or mask.sum() * 2 >= mask.size:
        return mask
    components, left = [], {tuple(point) for point in np.argwhere(mask).tolist()}
    while left:
        queue, component = [left.pop()], []
        while queue:
            point = queue.pop()
            component.append(point)
            for axis in range(3):
                for step in (-1, 1):
                    other = tuple(p + step * (a == axis) for a, p in enumerate(point))
                    if other in left:
                        left.remove(other)
                        queue.append(other)
        components.append(component)
    kept = np.zeros_like(mask)
    for component in components:
        if len(component) >= fraction * max(len(c) for c in components):
            kept[tuple(np.array(component).T)] = True
    return kept


class Reference:
    """The loop on one (H, W, D) volume in [0, 1] with a CoarseToFineNet, whose parts it calls one slab at a time."""

    def __init__(self, network: torch.nn.Module, settings: Settings) -> None:
        self.network = copy.deepcopy(network).double().eval()
        self.settings = settings
        self.slab = (network.in_slices, network.out_slices)

    def coarse(self, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """P(0), Z(0) and the views' maps."""
        net, s = self.network, self.settings
        maps = [coarse_map(volume, net.views[view], view, net.out_channels, self.slab, s) for view in s.views]
        return *fuse(maps, s.coarse_fusion), maps

    def fine(self, volume: np.ndarray, prior: np.ndarray, mask: np.ndarray):
        """One round from P(t-1) and Z(t-1): unfiltered P(t), filtered Z(t) and the views' maps."""
        net, s = self.network, self.settings
        seen = mask.astype(float) if s.prior == "mask" else prior
        maps = [fine_map(volume, seen, mask, net.views[view], view, self.slab, s) for view in s.views]
        probability, raw = fuse(maps, s.fine_fusion)
        mask = np.stack([drop_components(one, s.component_fraction) for one in raw])
        self.removed = raw & ~mask
        return probability, mask, maps

    def loop(self, volume: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
        """The masks Z(0), Z(1), ... and the d(1), d(2), ... (of several classes the smallest)."""
        probability, mask, _ = self.coarse(volume)
        masks, changes = [mask], []
        for _ in range(self.settings.max_rounds):
            if not mask.any():
                break
            probability, new, _ = self.fine(volume, probability, mask)
            changes.append(min(dice(a, b) for a, b in zip(mask, new, strict=False)))
            mask = new
            masks.append(mask)
            if changes[-1] >= self.settings.stop:
                break
        return masks, changes

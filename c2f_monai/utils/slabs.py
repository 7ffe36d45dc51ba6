# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slices, slabs and back: how a volume is cut for a 2D network [3.3.1].

A view's slices are ``volume.movedim(view.axis, 0)``: (n, h, w). The slab of slice c holds the slices c-1, c, c+1 as
three channels; at the ends of the volume the edge slice is repeated::

    slices   0   1   2   3
    slab 0  [0   0   1]            the first channel repeats the edge: its output is discarded
    slab 1      [0   1   2]
    slab 3              [2   3   3]

``depth`` is the number of slices a slab predicts: 3, or 1 for the single-slice variant (the slice in all three
channels, one output).
"""

from __future__ import annotations

import torch

__all__ = [
    "add_crops",
    "add_slabs",
    "check_depth",
    "extract_label_slabs",
    "extract_slabs",
    "slab_indices",
    "sum_windows",
    "window_count",
]


def check_depth(depth: int) -> int:
    """Return ``depth``.

    Raises:
        ValueError: when it is neither 3 nor 1.
    """
    if depth not in (1, 3):
        raise ValueError(f"depth must be 3 (slabs of three slices) or 1 (single slices), got {depth}.")
    return depth


def slab_indices(centers: torch.Tensor, n: int, depth: int = 3) -> torch.Tensor:
    """Slices of each slab, clamped at the ends of the volume.

    Args:
        centers: (N,) long, central slices.
        n: number of slices of the view.
        depth: 3 or 1.

    Returns:
        (N, depth) long.
    """
    reach = depth // 2
    offsets = torch.arange(-reach, reach + 1, device=centers.device)
    return (centers[:, None] + offsets[None, :]).clamp(0, n - 1)


def extract_slabs(slices: torch.Tensor, centers: torch.Tensor, depth: int = 3) -> torch.Tensor:
    """Input slabs, always of three channels.

    Args:
        slices: (n, h, w).
        centers: (N,) long.
        depth: 3, or 1 for the central slice in all three channels.

    Returns:
        (N, 3, h, w).
    """
    slabs = slices[slab_indices(centers, slices.shape[0], depth)]
    return slabs if depth == 3 else slabs.expand(-1, 3, -1, -1)


def extract_label_slabs(labels: torch.Tensor, centers: torch.Tensor, depth: int = 3) -> torch.Tensor:
    """Slabs of K maps, class-major: channel k * depth + s is class k in the slab's slice s.

    Args:
        labels: (K, n, h, w), labels or probabilities.
        centers: (N,) long.
        depth: 3 or 1.

    Returns:
        (N, K * depth, h, w).
    """
    slabs = labels[:, slab_indices(centers, labels.shape[1], depth)]  # (K, N, depth, h, w)
    return slabs.transpose(0, 1).flatten(1, 2)


def window_count(n: int, depth: int = 3, device: torch.device | None = None) -> torch.Tensor:
    """Fixed number of slabs that cover each slice: 3, 2 at the first and last, 1 where there is one slice.

    Slabs that were not run count all the same, with probability 0.

    Args:
        n: number of slices.
        depth: 3 or 1 (every slice is covered once).
        device: where the result lives.

    Returns:
        (n,) float32.
    """
    count = torch.full((n,), float(depth), device=device)
    if depth == 3:
        count[0] -= 1.0
        count[-1] -= 1.0
    return count


def add_slabs(total: torch.Tensor, slabs: torch.Tensor, centers: torch.Tensor, depth: int = 3) -> torch.Tensor:
    """Add slab probabilities to the slices they belong to, in place; channels of repeated edges are discarded.

    The order of addition is fixed (by channel, then by the order of ``centers``), so sums do not depend on batching.

    Args:
        total: (K, n, h, w) sums, changed in place.
        slabs: (N, K * depth, h, w), class-major.
        centers: (N,) long, no duplicates.
        depth: 3 or 1.

    Returns:
        ``total``.
    """
    classes, n = total.shape[:2]
    by_class = slabs.unflatten(1, (classes, depth)).transpose(0, 1)  # (K, N, depth, h, w)
    for channel in range(depth):
        index = centers + channel - depth // 2
        inside = (index >= 0) & (index < n)
        # Within one channel the slices are all different: index_add_ never sums two slabs in an undefined order.
        total.index_add_(1, index[inside], by_class[:, inside, channel])
    return total


def sum_windows(slabs: torch.Tensor) -> torch.Tensor:
    """Sum what consecutive slabs say of the slices that all their windows are there for.

    Args:
        slabs: (N + 2, K, 3, h, w) of the centers c - 1 to c + N, or (N, K, 1, h, w) of c to c + N - 1.

    Returns:
        (K, N, h, w), the slices c to c + N - 1.
    """
    if slabs.shape[2] == 1:
        return slabs[:, :, 0].transpose(0, 1)
    # One order of addition, that of add_slabs: sums do not depend on how slabs were batched.
    return (slabs[2:, :, 0] + slabs[1:-1, :, 1]).add_(slabs[:-2, :, 2]).transpose(0, 1)


def add_crops(
    total: torch.Tensor,
    crops: torch.Tensor,
    centers: torch.Tensor,
    boxes: torch.Tensor,
    inner: torch.Tensor,
    depth: int = 3,
    origin: tuple[int, int, int] = (0, 0, 0),
) -> torch.Tensor:
    """Add crop probabilities to the slices they belong to, in place, at a cost that does not grow with the slices.

    Args:
        total: (K, n, h, w) sums on a part of the volume, changed in place; what lies before or behind its slices is
            dropped.
        crops: (N, K * depth, height, width), class-major.
        centers: (N,) long, central slices.
        boxes: (N, 4) long, the grown boxes that the crops were taken from.
        inner: (N, 4) long, the ungrown boxes, inside ``total``: what lies outside them is dropped.
        depth: 3 or 1.
        origin: slice, row and column of the volume at which ``total`` begins.

    Returns:
        ``total``.
    """
    classes, n = total.shape[:2]
    by_class = crops.unflatten(1, (classes, depth))
    rows = zip(by_class, centers.tolist(), boxes.tolist(), inner.tolist(), strict=True)
    for crop, center, box, keep in rows:
        top, left, bottom, right = keep
        part = crop[..., top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
        place = (slice(top - origin[1], bottom - origin[1]), slice(left - origin[2], right - origin[2]))
        first = center - depth // 2 - origin[0]
        low, high = max(first, 0), min(first + depth, n)
        if low < high:
            total[:, low:high, place[0], place[1]] += part[:, low - first : high - first]
    return total

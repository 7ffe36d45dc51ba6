# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slices, slabs and back: how a volume is cut for a 2D network [3.3.1].

A view's slices are ``volume.movedim(view.axis, 0)``: (n, h, w). The slab of slice c holds c and its neighbors as
channels; at the ends of the volume the edge slice is repeated. With three slices::

    slices   0   1   2   3
    slab 0  [0   0   1]            the first channel repeats the edge: its output is discarded
    slab 1      [0   1   2]
    slab 3              [2   3   3]

How many slices go in and how many come out is a :py:class:`SlabSpec`, which the network carries. Of five slices in and
three out the outer two are context::

    slab 2  [0  (1   2   3)  4]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

__all__ = [
    "DEFAULT_SLAB",
    "SLICES_KEY",
    "SlabSpec",
    "add_crops",
    "add_slabs",
    "extract_label_slabs",
    "extract_slabs",
    "slab_indices",
    "sum_windows",
    "window_count",
]


#: Entry of a data set's case, key of its description and of an image's metadata, that says that a volume is a stack of
#: single slices, whose neighbors are none in the body.
SLICES_KEY = "slices"


@dataclass(frozen=True)
class SlabSpec:
    """How many neighboring slices a network sees, and for how many of them it answers [3.3.1].

    A network gets ``in_slices`` channels and gives ``out_slices`` maps for each class, those of the slab's central
    slices. The saliency transformation sees the ``out_slices`` maps of each class and weights the ``in_slices``
    channels. The paper: 3 and 3; 1 and 1 is the single-slice variant.

    Args:
        in_slices: slices in a slab, odd.
        out_slices: slices that a slab predicts, odd and at most ``in_slices``.

    Raises:
        ValueError: for numbers that are not odd and positive, or more slices out than in.

    Example:
        >>> from c2f_monai.utils import SlabSpec
        >>> SlabSpec()
        SlabSpec(in_slices=3, out_slices=3)
        >>> SlabSpec(in_slices=5, out_slices=3).out_channels(classes=2)
        6
    """

    in_slices: int = 3
    out_slices: int = 3

    def __post_init__(self) -> None:
        for name in ("in_slices", "out_slices"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
                raise ValueError(f"{name} must be a positive odd number, such as 1, 3 or 5, got {value!r}.")
        if self.out_slices > self.in_slices:
            raise ValueError(
                f"out_slices must be at most in_slices, got {self.out_slices} and {self.in_slices}: a slab predicts "
                "slices that it holds."
            )

    @classmethod
    def of(cls, network: Any) -> SlabSpec:
        """What a network carries: its ``slab``, or its ``in_slices`` and ``out_slices``, as a scripted one has them."""
        own = getattr(network, "slab", None)
        return own if isinstance(own, cls) else cls(int(network.in_slices), int(network.out_slices))

    @property
    def in_reach(self) -> int:
        """Slices before, and behind, the central one that a slab holds."""
        return self.in_slices // 2

    @property
    def out_reach(self) -> int:
        """Slices before, and behind, the central one that a slab predicts."""
        return self.out_slices // 2

    def out_channels(self, classes: int) -> int:
        """Maps that a network of so many classes gives for a slab."""
        return classes * self.out_slices


#: The paper's slabs: three slices in, three out.
DEFAULT_SLAB = SlabSpec()


def slab_indices(centers: torch.Tensor, n: int, count: int) -> torch.Tensor:
    """Slices of each slab, clamped at the ends of the volume.

    Args:
        centers: (N,) long, central slices.
        n: number of slices of the view.
        count: slices of a slab, odd: those that go in, or those that it predicts.

    Returns:
        (N, count) long.
    """
    reach = count // 2
    offsets = torch.arange(-reach, reach + 1, device=centers.device)
    return (centers[:, None] + offsets[None, :]).clamp(0, n - 1)


def extract_slabs(slices: torch.Tensor, centers: torch.Tensor, in_slices: int) -> torch.Tensor:
    """Input slabs.

    Args:
        slices: (n, h, w).
        centers: (N,) long.
        in_slices: slices of a slab.

    Returns:
        (N, in_slices, h, w).
    """
    return slices[slab_indices(centers, slices.shape[0], in_slices)]


def extract_label_slabs(labels: torch.Tensor, centers: torch.Tensor, out_slices: int) -> torch.Tensor:
    """Slabs of K maps, class-major: channel k * out_slices + s is class k in the slab's predicted slice s.

    Args:
        labels: (K, n, h, w), labels or probabilities.
        centers: (N,) long.
        out_slices: slices that a slab predicts.

    Returns:
        (N, K * out_slices, h, w).
    """
    slabs = labels[:, slab_indices(centers, labels.shape[1], out_slices)]  # (K, N, out_slices, h, w)
    return slabs.transpose(0, 1).flatten(1, 2)


def window_count(n: int, out_slices: int, device: torch.device | None = None) -> torch.Tensor:
    """Fixed number of slabs that predict each slice: of three slices 3, 2 at the first and last, 1 where there is one.

    Slabs that were not run count all the same, with probability 0.

    Args:
        n: number of slices.
        out_slices: slices that a slab predicts.
        device: where the result lives.

    Returns:
        (n,) float32.
    """
    index = torch.arange(n, device=device)
    first, last = (index - out_slices // 2).clamp(min=0), (index + out_slices // 2).clamp(max=n - 1)
    return (last - first + 1).to(torch.float32)


def add_slabs(total: torch.Tensor, slabs: torch.Tensor, centers: torch.Tensor, out_slices: int) -> torch.Tensor:
    """Add slab probabilities to the slices they belong to, in place; channels of repeated edges are discarded.

    The order of addition is fixed (by channel, then by the order of ``centers``), so sums do not depend on batching.

    Args:
        total: (K, n, h, w) sums, changed in place.
        slabs: (N, K * out_slices, h, w), class-major.
        centers: (N,) long, no duplicates.
        out_slices: slices that a slab predicts.

    Returns:
        ``total``.
    """
    classes, n = total.shape[:2]
    by_class = slabs.unflatten(1, (classes, out_slices)).transpose(0, 1)  # (K, N, out_slices, h, w)
    for channel in range(out_slices):
        index = centers + channel - out_slices // 2
        inside = (index >= 0) & (index < n)
        # Within one channel the slices are all different: index_add_ never sums two slabs in an undefined order.
        total.index_add_(1, index[inside], by_class[:, inside, channel])
    return total


def sum_windows(slabs: torch.Tensor) -> torch.Tensor:
    """Sum what consecutive slabs say of the slices that all their windows are there for.

    Args:
        slabs: (N + 2 * reach, K, out_slices, h, w) of the centers c - reach to c + N - 1 + reach, where reach is
            ``out_slices // 2``.

    Returns:
        (K, N, h, w), the slices c to c + N - 1.
    """
    windows = slabs.shape[2]
    count = len(slabs) - windows + 1
    # One order of addition, that of add_slabs: sums do not depend on how slabs were batched.
    total = slabs[windows - 1 :, :, 0]
    for channel in range(1, windows):
        start = windows - 1 - channel
        own = slabs[start : start + count, :, channel]
        total = total + own if channel == 1 else total.add_(own)
    return total.transpose(0, 1)


def add_crops(
    total: torch.Tensor,
    crops: torch.Tensor,
    centers: torch.Tensor,
    boxes: torch.Tensor,
    inner: torch.Tensor,
    out_slices: int,
    origin: tuple[int, int, int] = (0, 0, 0),
) -> torch.Tensor:
    """Add crop probabilities to the slices they belong to, in place, at a cost that does not grow with the slices.

    Args:
        total: (K, n, h, w) sums on a part of the volume, changed in place; what lies before or behind its slices is
            dropped.
        crops: (N, K * out_slices, height, width), class-major.
        centers: (N,) long, central slices.
        boxes: (N, 4) long, the grown boxes that the crops were taken from.
        inner: (N, 4) long, the ungrown boxes, inside ``total``: what lies outside them is dropped.
        out_slices: slices that a slab predicts.
        origin: slice, row and column of the volume at which ``total`` begins.

    Returns:
        ``total``.
    """
    classes, n = total.shape[:2]
    by_class = crops.unflatten(1, (classes, out_slices))
    rows = zip(by_class, centers.tolist(), boxes.tolist(), inner.tolist(), strict=True)
    for crop, center, box, keep in rows:
        top, left, bottom, right = keep
        part = crop[..., top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
        place = (slice(top - origin[1], bottom - origin[1]), slice(left - origin[2], right - origin[2]))
        first = center - out_slices // 2 - origin[0]
        low, high = max(first, 0), min(first + out_slices, n)
        if low < high:
            total[:, low:high, place[0], place[1]] += part[:, low - first : high - first]
    return total

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slabs for training: which slices, in which order and with which margins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Compose
from monai.utils import convert_to_tensor
from numpy.lib.stride_tricks import sliding_window_view
from torch.utils.data import Dataset

from ..utils import (
    DEFAULT_SLAB,
    DEFAULT_WINDOW,
    SlabSpec,
    View,
    check_window,
    default_slice_axes,
    extract_label_slabs,
    extract_slabs,
    from_slices,
    scale_to_unit,
    slice_axes_of_views,
    to_slices,
)
from .disk_cache import DiskVolume
from .slab_draws import draw_fallback_box, draw_margins, slice_threshold
from .slices import check_single_slices
from .volume_cache import CachedVolume, load_volumes

__all__ = ["SlabCollate", "SlabDataset"]

#: What an item holds of each view; the first two are slabs.
ITEM_KEYS = ("image", "label", "margins", "fallback", "case", "seed")


class _ViewIndex:
    """Slices of one view: those to train on and those of slabs without target, as (case, slice) rows."""

    def __init__(
        self,
        volumes: Sequence[CachedVolume | DiskVolume],
        view: View,
        slab: SlabSpec,
        min_pixels: int | None,
        fraction: float | None,
    ) -> None:
        counts = [volume.counts(view) for volume in volumes]
        threshold = slice_threshold(counts, min_pixels, fraction)
        self.positive = np.concatenate([self._rows(case, c >= threshold) for case, c in enumerate(counts)])
        if not len(self.positive):
            raise ValueError(
                f"no {view} slice of the {len(volumes)} training cases has {threshold} target pixels "
                f"(the most is {max(int(c.max()) for c in counts)}): lower min_pixels or check label_value."
            )
        padded = [np.pad(c, slab.in_reach, mode="edge") for c in counts]
        self.negative = np.concatenate(
            [self._rows(case, sliding_window_view(c, slab.in_slices).sum(axis=1) == 0) for case, c in enumerate(padded)]
        )

    @staticmethod
    def _rows(case: int, keep: np.ndarray) -> np.ndarray:
        slices = np.flatnonzero(keep)
        return np.stack([np.full_like(slices, case), slices], axis=1)


class SlabDataset(Dataset):
    """
    Slabs of all views for one training step: item i of an epoch holds one slab of each view.

    Every case is read once and kept on the working grid, int16 HU and uint8 label, so drawing a slab costs a copy of
    its slices: in memory (3 bytes a voxel: 60 cases of 512x512x300 take 14 GB, the phantom at 2 mm less than 100 MB)
    or, with ``cache_dir``, on disk (9 bytes a voxel for three views), where the next run finds it.
    Each view passes through a permutation of its slices before a slice comes again. All draws of item i depend on
    (seed, epoch, i) and the view only: not on workers, processes, other views or what was drawn before.

    Args:
        data: dictionaries with "image" and "label".
        transform: deterministic preprocessing, giving "image" (1, H, W, D) in HU, RAS, and "label" (K, H, W, D).
        views: views to draw.
        items_per_epoch: items in an epoch; None is one pass over the slices of the view that has most.
        rounds: T, the number of margins drawn for an item.
        window: HU window.
        slab: how many slices a slab holds and predicts, as of the network.
        min_pixels: a slice is trained on when its target has at least so many pixels (100 in the paper), counted on
            the working grid and on these cases only; None takes every slice with target.
        fraction: instead, the share of the slices with target to keep.
        negative_fraction: share of the slabs that is drawn from those without target.
        margin: pixels of the working grid around a crop's box; None takes the whole slice for the box.
        max_margin: largest jittered margin; None is twice the margin.
        fixed_margin_probability: probability that a round's margins are not jittered.
        augmentation: MONAI dictionary transforms of "image" (in_slices, h, w) in [0, 1] and "label"
            (K * out_slices, h, w).
        seed: of all draws.
        workers: threads that read the volumes.
        progress: show a bar while reading.
        cache_dir: folder of the cache on disk, see :py:class:`c2f_monai.data.DiskCache`; None keeps all in memory.
        slice_axcodes: for each view the axis codes of slices, rows and columns that the network's weights expect, as
            ``slice_axcodes`` of the network; None for slices of a RAS volume as it is.

    Raises:
        OSError: when the disk has no room for the cache.
        ValueError: for no cases, cases whose label has another shape, labels without any foreground, no slice with
            enough target, slabs of several slices where cases are stacks of single ones, or arguments out of range.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        views: Sequence[str] = tuple(View),
        items_per_epoch: int | None = None,
        rounds: int = 1,
        window: tuple[float, float] = DEFAULT_WINDOW,
        slab: SlabSpec = DEFAULT_SLAB,
        min_pixels: int | None = 100,
        fraction: float | None = None,
        negative_fraction: float = 0.0,
        margin: int | None = 20,
        max_margin: int | None = None,
        fixed_margin_probability: float = 0.5,
        augmentation: Callable | None = None,
        seed: int = 0,
        workers: int = 2,
        progress: bool = True,
        cache_dir: str | None = None,
        slice_axcodes: Mapping[str, str] | None = None,
    ) -> None:
        for name, value in (
            ("negative_fraction", negative_fraction),
            ("fixed_margin_probability", fixed_margin_probability),
        ):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {value}.")
        if (margin is not None and margin < 0) or (max_margin is not None and max_margin < 0):
            raise ValueError(f"margins must not be negative, got margin {margin} and max_margin {max_margin}.")
        check_single_slices(data, slab.in_slices)
        self.views = [View(view) for view in views]
        axes = {} if slice_axcodes is None else slice_axes_of_views(slice_axcodes, self.views)
        self.axes = {view: axes.get(view.value, default_slice_axes(view)) for view in self.views}
        self.window = check_window(window)
        self.rounds, self.slab, self.seed = rounds, slab, seed
        self.margin, self.max_margin, self.fixed_probability = margin, max_margin, fixed_margin_probability
        self.negative_fraction = negative_fraction
        self.augmentation = augmentation
        self.epoch = 1
        self.data = data
        self.volumes = load_volumes(data, transform, workers, progress, cache_dir, self.views)
        if not any(volume.counts(self.views[0]).any() for volume in self.volumes):
            raise ValueError(
                f"no label of the {len(self.volumes)} training cases (first: {self.volumes[0].name}) has any "
                "foreground: check label_value."
            )
        self.index = {view: _ViewIndex(self.volumes, view, slab, min_pixels, fraction) for view in self.views}
        longest = max(len(index.positive) for index in self.index.values())
        self.items_per_epoch = longest if items_per_epoch is None else items_per_epoch
        self._orders: dict[View, tuple[int, np.ndarray]] = {}

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch (from 1) whose items are drawn; call it before the loader's workers start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.items_per_epoch

    def __getitem__(self, index: int) -> dict[str, dict[str, torch.Tensor]]:
        """
        Returns:
            for each view "image" (in_slices, h, w) float32 in [0, 1], "label" (K * out_slices, h, w) float32, "margins"
            (T, 4) and "fallback" (4,) long, the box of a slab that has neither truth nor prediction, "case" (2,) long,
            the case's place in ``volumes`` and the slice, and "seed" () long, of what the batch's augmentation draws.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        item: dict[str, dict[str, torch.Tensor]] = {key: {} for key in ITEM_KEYS}
        for view in self.views:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch, index, view.axis]))
            case, center = self._draw_slice(rng, view, index)
            slab = self._slab(rng, self.volumes[case], view, center)
            for key, value in slab.items():
                item.setdefault(key, {})[view.value] = value
            height, width = slab["image"].shape[-2:]
            margins = self._margins(rng, max(height, width))
            item["margins"][view.value] = torch.from_numpy(margins)
            item["fallback"][view.value] = torch.from_numpy(draw_fallback_box(rng, (height, width)))
            item["case"][view.value] = torch.tensor([case, center])
            item["seed"][view.value] = torch.tensor(int(rng.integers(2**31)))
        return item

    def _margins(self, rng: np.random.Generator, whole: int) -> np.ndarray:
        """(T, 4) margins; those of a whole slice reach over its longer side and are not jittered."""
        if self.margin is None:
            return draw_margins(rng, self.rounds, whole, None, 1.0)
        return draw_margins(rng, self.rounds, self.margin, self.max_margin, self.fixed_probability)

    def _draw_slice(self, rng: np.random.Generator, view: View, index: int) -> tuple[int, int]:
        slices = self.index[view]
        if rng.random() < self.negative_fraction and len(slices.negative):
            row = slices.negative[rng.integers(len(slices.negative))]
        else:
            passes, place = divmod((self.epoch - 1) * len(self) + index, len(slices.positive))
            row = slices.positive[self._order(view, passes)[place]]
        return int(row[0]), int(row[1])

    def _order(self, view: View, passes: int) -> np.ndarray:
        """The permutation of one pass over the slices of a view; the latest is kept."""
        known = self._orders.get(view)
        if known is None or known[0] != passes:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, passes, view.axis]))
            known = (passes, rng.permutation(len(self.index[view].positive)))
            self._orders[view] = known
        return known[1]

    def _slab(
        self, rng: np.random.Generator, volume: CachedVolume | DiskVolume, view: View, center: int
    ) -> dict[str, torch.Tensor]:
        slab = self._cut(volume, view, center)
        if self.augmentation is not None:
            if isinstance(self.augmentation, Compose):
                self.augmentation.set_random_state(seed=int(rng.integers(2**31)))
            # Plain tensors: metadata would be carried through every operation of the networks.
            slab = {key: convert_to_tensor(value, track_meta=False) for key, value in self.augmentation(slab).items()}
        return slab | {"image": slab["image"].clamp(0.0, 1.0), "label": (slab["label"] > 0.5).float()}

    def _cut(self, volume: CachedVolume | DiskVolume, view: View, center: int) -> dict[str, torch.Tensor]:
        """Image in [0, 1] and label of the slab around a slice, before augmentation."""
        # Only the slab's own slices are read; at the ends of the volume they are fewer, and the edge is repeated.
        reach = self.slab.in_reach
        start = max(center - reach, 0)
        image, label = volume.slices(view, start, min(center + reach + 1, volume.shape[view.axis]))
        hu = extract_slabs(image, torch.tensor([center - start]), self.slab.in_slices)[0]
        return {
            "image": scale_to_unit(self._turned(hu, view), self.window),
            "label": self._predicted(label, center - start, view),
        }

    def _predicted(self, channels: torch.Tensor, center: int, view: View) -> torch.Tensor:
        """(K * out_slices, h, w) float32 slab of (K, n, h, w) around one of its n slices."""
        slices = self.slab.out_slices
        slab = extract_label_slabs(channels, torch.tensor([center]), slices)[0].float()
        return self._turned(slab.unflatten(0, (-1, slices)), view).flatten(0, 1)

    def _turned(self, slab: torch.Tensor, view: View) -> torch.Tensor:
        """A slab (..., s, h, w) with slices, rows and columns as the network's weights expect them."""
        return to_slices(from_slices(slab, default_slice_axes(view)), self.axes[view])


class SlabCollate:
    """
    Batch of items whose slabs differ in size: each view's slabs lie at the top left of a canvas of zeros.

    The canvas is only storage: "size" keeps each slab's own height and width, which the unrolled inferer goes by.

    Args:
        multiple: sides of the canvas are multiples of it.
    """

    def __init__(self, multiple: int = 16) -> None:
        self.multiple = multiple

    def __call__(self, items: Sequence[Mapping[str, Mapping[str, torch.Tensor]]]) -> dict[str, dict[str, torch.Tensor]]:
        """
        Returns:
            for each view "image" (B, in_slices, h, w), "label" (B, K * out_slices, h, w), "margins" (B, T, 4),
            "fallback" (B, 4), "case" (B, 2), "seed" (B,) and "size" (B, 2).
        """
        batch: dict[str, dict[str, torch.Tensor]] = {key: {} for key in (*ITEM_KEYS, "size")}
        for view in items[0]["image"]:
            sizes = torch.tensor([item["image"][view].shape[-2:] for item in items])
            canvas = ((sizes.amax(0) + self.multiple - 1) // self.multiple * self.multiple).tolist()
            for key in ("image", "label"):
                batch[key][view] = torch.stack([self._place(item[key][view], canvas) for item in items])
            for key in ITEM_KEYS[2:]:
                batch[key][view] = torch.stack([item[key][view] for item in items])
            batch["size"][view] = sizes
        return batch

    @staticmethod
    def _place(x: torch.Tensor, canvas: Sequence[int]) -> torch.Tensor:
        return F.pad(x, (0, canvas[1] - x.shape[-1], 0, canvas[0] - x.shape[-2]))

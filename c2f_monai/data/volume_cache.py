# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training volumes, in memory or in a cache on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from tqdm import tqdm

from ..utils import View
from .disk_cache import DiskCache, DiskVolume, count_target

__all__ = ["CachedVolume", "load_volumes"]

INT16 = (-32768.0, 32767.0)


@dataclass(frozen=True)
class CachedVolume:
    """One case on the working grid, in memory.

    Attributes:
        name: the image's path, for messages.
        image: (H, W, D) int16 HU, RAS.
        label: (K, H, W, D) uint8 in {0, 1}.
    """

    name: str
    image: torch.Tensor
    label: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, D)."""
        return tuple(self.image.shape)

    def counts(self, view: View) -> np.ndarray:
        """Target pixels in each slice of a view, (n,)."""
        return count_target(self.label, view)

    def slices(self, view: View, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices ``start`` to ``stop`` of a view: (n, h, w) int16 HU and (K, n, h, w) uint8 label."""
        return self.image.movedim(view.axis, 0)[start:stop], self.label.movedim(view.axis + 1, 1)[:, start:stop]


def _plain(x: Any) -> torch.Tensor:
    """A tensor without metadata."""
    return torch.as_tensor(x.as_tensor() if hasattr(x, "as_tensor") else x)


def _load(case: Mapping[str, Any], transform: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> CachedVolume:
    loaded = transform(case)
    image, label = _plain(loaded["image"]), _plain(loaded["label"])
    name = str(case["image"])
    if image.dim() != 4 or image.shape[0] != 1:
        raise ValueError(f"{name}: expected one 3D image of shape (1, H, W, D), got {tuple(image.shape)}.")
    if image.shape[1:] != label.shape[1:]:
        raise ValueError(
            f"{name}: the image has shape {tuple(image.shape[1:])} but its label {case['label']} has "
            f"{tuple(label.shape[1:])}: they must lie on the same grid."
        )
    return CachedVolume(
        name, image[0].round().clamp(*INT16).to(torch.int16).contiguous(), (label > 0.5).to(torch.uint8).contiguous()
    )


def load_volumes(
    data: Sequence[Mapping[str, Any]],
    transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    workers: int = 2,
    progress: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
    views: Sequence[View] = tuple(View),
) -> list[CachedVolume] | list[DiskVolume]:
    """Read each case once, in threads, and keep it as int16 HU and uint8 labels: 3 bytes for each voxel.

    With a cache on disk only cases that it does not hold are read, and nothing stays in memory. The processes of a
    distributed run share it: each begins with cases of its own.

    Args:
        data: dictionaries with "image" and "label".
        transform: deterministic; gives "image" (1, H, W, D) in HU and "label" (K, H, W, D) in {0, 1}.
        workers: threads that read.
        progress: show a bar.
        cache_dir: folder of the cache on disk; None keeps the volumes in memory.
        views: views whose slabs will be read from the cache.

    Raises:
        ValueError: without cases, or naming the case whose image and label do not fit each other.
        OSError: when the disk has no room for the cache.
    """
    if not data:
        raise ValueError("no training cases: the data list is empty.")
    if cache_dir is None:
        return _in_threads(lambda case: _load(case, transform), data, workers, progress)
    cache = DiskCache(cache_dir, transform, views)
    volumes = {index: cache.get(case) for index, case in enumerate(data)}
    missing = _own_first([index for index, volume in volumes.items() if volume is None])

    def make(index: int, more: int = 0) -> DiskVolume:
        known = cache.get(data[index])  # another process may have made it meanwhile
        if known is not None:
            return known
        loaded = _load(data[index], transform)
        return cache.put(data[index], loaded.image, loaded.label, more)

    if missing:
        # The first case, alone, tells what all need. Later the other processes have taken room, and work.
        volumes[missing[0]] = make(missing[0], more=len(missing) - 1)
        volumes.update(zip(missing[1:], _in_threads(make, missing[1:], workers, progress), strict=True))
    return [volume for index in range(len(data)) if (volume := volumes[index]) is not None]


def _in_threads(work: Callable[[Any], Any], items: Sequence[Any], workers: int, progress: bool) -> list[Any]:
    pool = ThreadPoolExecutor(max_workers=max(workers, 1))
    try:
        return list(tqdm(pool.map(work, items), total=len(items), desc="reading volumes", disable=not progress))
    finally:  # after an error the rest is not read
        pool.shutdown(cancel_futures=True)


def _own_first(indices: list[int]) -> list[int]:
    """The cases of this process before those of the others, which make them at the same time."""
    rank, processes = idist.get_rank(), idist.get_world_size()
    return sorted(indices, key=lambda index: (index % processes - rank) % processes)

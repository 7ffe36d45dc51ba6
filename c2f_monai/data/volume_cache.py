# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training volumes in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

__all__ = ["CachedVolume", "load_volumes"]

INT16 = (-32768.0, 32767.0)


@dataclass(frozen=True)
class CachedVolume:
    """One case on the working grid.

    Attributes:
        name: the image's path, for messages.
        image: (H, W, D) int16 HU, RAS.
        label: (K, H, W, D) uint8 in {0, 1}.
    """

    name: str
    image: torch.Tensor
    label: torch.Tensor


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
) -> list[CachedVolume]:
    """Read each case once, in threads, and keep it as int16 HU and uint8 labels: 3 bytes for each voxel.

    Args:
        data: dictionaries with "image" and "label".
        transform: deterministic; gives "image" (1, H, W, D) in HU and "label" (K, H, W, D) in {0, 1}.
        workers: threads that read.
        progress: show a bar.

    Raises:
        ValueError: without cases, or naming the case whose image and label do not fit each other.
    """
    if not data:
        raise ValueError("no training cases: the data list is empty.")
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        loaded = pool.map(lambda case: _load(case, transform), data)
        return list(tqdm(loaded, total=len(data), desc="reading volumes", disable=not progress))

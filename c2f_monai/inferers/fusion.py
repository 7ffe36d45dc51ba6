# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the views' probabilities [3.3.2, 3.4]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from ..utils import Fusion

__all__ = ["check_fusion", "fuse", "move_to_mask"]


def check_fusion(fusion: str | Sequence[str]) -> tuple[Fusion, Fusion]:
    """Fusion of the coarse stage and of the fine rounds, from one name or a pair.

    Raises:
        ValueError: for unknown names or another number of them.
    """
    pair = (fusion, fusion) if isinstance(fusion, str) else tuple(fusion)
    if len(pair) != 2 or any(name not in list(Fusion) for name in pair):
        raise ValueError(f"fusion must be one of {[f.value for f in Fusion]} or a pair of them, got {fusion!r}.")
    return Fusion(pair[0]), Fusion(pair[1])


def fuse(
    maps: Iterable[torch.Tensor], count: int, fusion: Fusion, threshold: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse the views' probabilities, one view in memory at a time.

    Mean: foreground where the mean reaches the threshold. Vote: foreground where more than half of the views reach
    it; a tie is background. The probability is the mean under both.

    Args:
        maps: ``count`` tensors (K, H, W, D).
        count: number of views.
        fusion: mean or vote.
        threshold: probability at and above which a voxel is foreground.

    Returns:
        mean probability (K, H, W, D) and mask (K, H, W, D) bool.
    """
    total: torch.Tensor | None = None
    votes: torch.Tensor | None = None
    for values in maps:
        total = values.clone() if total is None else total.add_(values)
        if fusion == Fusion.VOTE:
            says = (values >= threshold).to(torch.uint8)
            votes = says if votes is None else votes.add_(says)
    assert total is not None
    mean = total.div_(count)
    if votes is None:
        return mean, mean >= threshold
    return mean, votes * 2 > count


def move_to_mask(probability: torch.Tensor, mask: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Move probabilities to the side of the threshold on which the mask is: a vote may differ from the mean.

    Args:
        probability: (K, H, W, D).
        mask: (K, H, W, D) bool.
        threshold: probability at and above which a voxel is foreground.

    Returns:
        (K, H, W, D), ``mask == (result >= threshold)``, unchanged where they agree already.
    """
    edge = torch.tensor(threshold, dtype=probability.dtype)
    below = torch.nextafter(edge, torch.tensor(-math.inf, dtype=probability.dtype)).item()
    return torch.where(mask, probability.clamp_min(threshold), probability.clamp_max(below))

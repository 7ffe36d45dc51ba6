# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the views' probabilities [3.3.2, 3.4]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch

from ..utils import Fusion

__all__ = ["ViewFusion", "check_fusion", "check_mask_arguments", "move_to_mask"]


def check_fusion(fusion: str | Sequence[str]) -> tuple[Fusion, Fusion]:
    """Fusion of the coarse stage and of the fine rounds, from one name or a pair.

    Raises:
        ValueError: for unknown names or another number of them.
    """
    pair = (fusion, fusion) if isinstance(fusion, str) else tuple(fusion)
    if len(pair) != 2 or any(name not in list(Fusion) for name in pair):
        raise ValueError(f"fusion must be one of {[f.value for f in Fusion]} or a pair of them, got {fusion!r}.")
    return Fusion(pair[0]), Fusion(pair[1])


def check_mask_arguments(threshold: float, component_fraction: float) -> None:
    """What turns a probability into a mask.

    Raises:
        ValueError: for a threshold outside (0, 1) or a fraction outside [0, 1].
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}.")
    if not 0.0 <= component_fraction <= 1.0:
        raise ValueError(f"component_fraction must lie in [0, 1], got {component_fraction}.")


class ViewFusion:
    """
    Fuses the views' probabilities on a part of a volume, as they come.

    Mean: foreground where the mean reaches the threshold. Vote: foreground where more than half of the views reach
    it; a tie is background. The probability is the mean under both.

    Args:
        shape: (K, H, W, D) of the part.
        count: number of views.
        fusion: mean or vote.
        threshold: probability at and above which a voxel is foreground.
        dtype: of the probabilities.
        device: where they are.
        axis: 0, 1 or 2, the axis along which slices come: their sum lies in memory slice by slice. Defaults to 0.
    """

    def __init__(
        self,
        shape: Sequence[int],
        count: int,
        fusion: Fusion,
        threshold: float = 0.5,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        axis: int = 0,
    ) -> None:
        self.count, self.threshold = count, threshold
        rest = [length for i, length in enumerate(shape[1:]) if i != axis]
        slices = torch.zeros((shape[0], shape[axis + 1], *rest), dtype=dtype, device=device)
        self.total = slices.movedim(1, axis + 1)
        self.votes = torch.zeros_like(self.total, dtype=torch.uint8) if fusion == Fusion.VOTE else None

    def add(self, values: torch.Tensor, axis: int = 0, start: int = 0) -> None:
        """Add what one view says of some slices.

        Args:
            values: (K, H, W, D), shorter along one axis where they are not all slices.
            axis: 0, 1 or 2, this axis.
            start: the first of the slices.
        """
        length = values.shape[axis + 1]
        self.total.narrow(axis + 1, start, length).add_(values)
        if self.votes is not None:
            self.votes.narrow(axis + 1, start, length).add_(values >= self.threshold)

    def result(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean probability (K, H, W, D) and mask (K, H, W, D) bool, when every view has been added.

        Raises:
            ValueError: for a probability that is NaN, which would count as background.
        """
        mean = self.total.div_(self.count)
        if mean.sum().isnan():  # of numbers in [0, 1]: NaN only where one of them is
            raise ValueError(
                "the network's output is NaN, in which nothing can be found: its weights or this precision "
                "(amp_dtype) do not fit the image."
            )
        return mean, (mean >= self.threshold if self.votes is None else self.votes * 2 > self.count)


def move_to_mask(probability: torch.Tensor, mask: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Move probabilities, in place, to the side of the threshold on which the mask is: a vote may differ from the mean.

    Args:
        probability: (..., K, H, W, D), changed where it does not agree with the mask.
        mask: of the same shape, bool.
        threshold: probability at and above which a voxel is foreground.

    Returns:
        ``probability``, with ``mask == (probability >= threshold)``.
    """
    edge = torch.tensor(threshold, dtype=probability.dtype)
    below = torch.nextafter(edge, torch.tensor(-math.inf, dtype=probability.dtype)).item()
    # Slice by slice: volumes of clinical size are not copied. Indexed, as a flat copy would take the change.
    for index in product(*map(range, mask.shape[:-2])):
        values = probability[index]
        values.copy_(torch.where(mask[index], values.clamp_min(threshold), values.clamp_max(below)))
    return probability

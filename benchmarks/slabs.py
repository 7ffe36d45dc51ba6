# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slabs to time training on, without a data set."""

from __future__ import annotations

from typing import Any

import torch

from c2f_monai.utils import DEFAULT_SLAB, SlabSpec

__all__ = ["slabs_of"]

MARGIN = 20


def slabs_of(
    count: int,
    size: tuple[int, int],
    slab: SlabSpec = DEFAULT_SLAB,
    rounds: int = 1,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Images, targets and draws of the unrolled inferer for the axial view: a disc of a fifth of the shorter side."""
    rows, columns = torch.meshgrid(*(torch.arange(n, device=device) - n / 2 for n in size), indexing="ij")
    disc = (rows**2 + columns**2 <= (min(size) / 5) ** 2).float().expand(count, slab.out_slices, *size)
    draws = {
        "size": torch.tensor([size]).expand(count, 2),
        "margins": torch.full((count, rounds, 4), MARGIN),
        "fallback": torch.tensor([[0, 0, *size]]).expand(count, 4),
    }
    return {"axial": torch.rand(count, slab.in_slices, *size, device=device)}, {"axial": disc}, {"axial": draws}

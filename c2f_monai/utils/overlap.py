# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlap of binary masks."""

from __future__ import annotations

import torch

__all__ = ["dice_coefficient", "dice_of_counts"]


def dice_coefficient(a: torch.Tensor, b: torch.Tensor, empty: float = 1.0) -> float:
    """DSC(A, B) = 2|A & B| / (|A| + |B|) of two binary masks of the same shape.

    Args:
        a: boolean mask, any shape.
        b: boolean mask, same shape as ``a``.
        empty: value when both masks are empty (1 between rounds of the loop; evaluation may choose another).
            Exactly one empty mask gives 0.

    Raises:
        ValueError: when the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"masks must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    a, b = a.bool(), b.bool()
    return dice_of_counts(int((a & b).sum()), int(a.sum()) + int(b.sum()), empty)


def dice_of_counts(both: int, sizes: int, empty: float = 1.0) -> float:
    """DSC of two masks from the voxels that both hold and the sum of their sizes; ``empty`` where this is 0."""
    return 2.0 * both / sizes if sizes else empty

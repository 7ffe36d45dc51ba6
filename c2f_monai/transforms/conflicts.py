# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Voxels that several organs claim [3.6]."""

from __future__ import annotations

import torch

__all__ = ["resolve_conflicts"]


def resolve_conflicts(confidence: torch.Tensor, claims: torch.Tensor) -> torch.Tensor:
    """Leave each voxel to the class that claims it with the largest confidence; of equal ones to the first [3.6].

    Claim and confidence are two things: under vote a class may claim a voxel with a mean below one half, and lose it
    to another that does so with a larger one.

    Args:
        confidence: (K, H, W, D) mean of the views' probabilities, at least 0, under vote too.
        claims: (K, H, W, D) bool, the classes' masks.

    Returns:
        (K, H, W, D) bool, of each voxel's claims one or none.

    Raises:
        ValueError: When the shapes differ.
    """
    if confidence.shape != claims.shape:
        raise ValueError(f"confidence and claims differ in shape, {tuple(confidence.shape)} and {tuple(claims.shape)}.")
    best = confidence.masked_fill(~claims, -1.0).argmax(dim=0, keepdim=True)
    winners = torch.zeros_like(claims).scatter_(0, best, True)
    return winners & claims

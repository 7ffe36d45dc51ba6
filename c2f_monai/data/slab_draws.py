# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn for a training slab, and which slices there are to draw from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["draw_fallback_box", "draw_margins", "slice_threshold"]


def slice_threshold(counts: Sequence[np.ndarray], min_pixels: int | None, fraction: float | None) -> int:
    """Target pixels from which a slice is trained on [3.3.2].

    Args:
        counts: for each training case (n,) target pixels of its slices.
        min_pixels: the threshold itself (the paper: 100); None is 1 unless ``fraction`` is given.
        fraction: instead, the share of the slices with target to keep, those with most of it (the original code:
            0.98). Ties are kept.

    Raises:
        ValueError: when both are given or one is out of range.
    """
    if min_pixels is not None and fraction is not None:
        raise ValueError(f"give min_pixels or fraction, not both: got {min_pixels} and {fraction}.")
    if min_pixels is not None and min_pixels < 1:
        raise ValueError(f"min_pixels must be at least 1, got {min_pixels}.")
    if fraction is None:
        return 1 if min_pixels is None else min_pixels
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}.")
    present = np.sort(np.concatenate([c[c > 0] for c in counts]))
    kept = max(int(np.floor(len(present) * fraction)), 1)
    return int(present[-kept]) if len(present) else 1


def draw_margins(
    rng: np.random.Generator, rounds: int, margin: int, max_margin: int | None, fixed_probability: float
) -> np.ndarray:
    """Jittered margins of each round's crop, in pixels.

    With ``fixed_probability`` all four are ``margin``, else each is uniform in {0..max_margin}. The original code:
    margin 20, max_margin 40, 0.5; the paper's step-wise fine stage: max_margin 60, 0.

    Returns:
        (rounds, 4) int64: top, left, bottom, right.
    """
    drawn = rng.integers(0, (2 * margin if max_margin is None else max_margin) + 1, size=(rounds, 4))
    fixed = rng.random(rounds) < fixed_probability
    return np.where(fixed[:, None], margin, drawn)


def draw_fallback_box(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A box with sides of 1/8 to 1/2 of the slice, for slabs that have neither truth nor prediction.

    Returns:
        (4,) int64: top, left, bottom, right.
    """
    sides = [int(rng.integers(max(length // 8, 1), max(length // 2, 1) + 1)) for length in size]
    starts = [int(rng.integers(0, length - side + 1)) for length, side in zip(size, sides, strict=True)]
    return np.array([starts[0], starts[1], starts[0] + sides[0], starts[1] + sides[1]], dtype=np.int64)

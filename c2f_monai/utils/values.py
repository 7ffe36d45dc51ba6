# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Values: Hounsfield units to network input, overlap of masks."""

from __future__ import annotations

import torch

__all__ = ["DEFAULT_WINDOW", "check_window", "dice_coefficient", "dice_of_counts", "scale_to_unit"]

#: HU window of the paper's code [3.3.1].
DEFAULT_WINDOW = (-100.0, 240.0)


def check_window(window: tuple[float, float]) -> tuple[float, float]:
    """Return ``window`` as two floats.

    Raises:
        ValueError: when it is not two increasing numbers.

    Examples:
        >>> check_window([-100, 240])
        (-100.0, 240.0)
    """
    if len(window) != 2 or not float(window[0]) < float(window[1]):
        raise ValueError(f"window must be two increasing HU values (low, high), got {window!r}.")
    return float(window[0]), float(window[1])


def scale_to_unit(
    x: torch.Tensor, window: tuple[float, float] = DEFAULT_WINDOW, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Clip HU to a window and scale it to [0, 1]; no mean subtraction [3.3.1].

    Args:
        x: intensities in HU, any shape and dtype.
        window: (low, high) in HU.
        dtype: of the result.

    Returns:
        tensor of the same shape.

    Examples:
        >>> scale_to_unit(torch.tensor([-1000, -100, 70, 3000], dtype=torch.int16))
        tensor([0.0000, 0.0000, 0.5000, 1.0000])
    """
    low, high = window
    # One new float tensor, then in place: volumes of clinical size exist once, not three times.
    return x.to(dtype, copy=True).clamp_(low, high).sub_(low).div_(high - low)


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

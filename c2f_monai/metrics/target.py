# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be measured of a target that was found, without a truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..utils import foreground_box

__all__ = ["target_statistics"]


def target_statistics(
    mask: np.ndarray, image: np.ndarray, spacing: Sequence[float], volume: float | None = None
) -> dict[str, Any]:
    """Volume, gray values, place and cut of a target.

    Args:
        mask: (H, W, D), the target where it is above 0.
        image: (H, W, D) HU on the same grid.
        spacing: voxel size in mm along H, W, D.
        volume: of a voxel in mm^3, where axes are not at right angles. Defaults to None: the product of ``spacing``.

    Returns:
        ``ml``; ``mean_hu`` and ``std_hu``; ``box``, the first and the next-to-last voxel along each axis, half-open;
        ``box_mm``, its sides; and ``in_field_fraction``, the share of the target's surface that does not lie on the
        border of the volume: below 1 the field of view cuts the target. All but ``ml`` are None for an empty mask.

    Raises:
        ValueError: when mask and image differ in shape.

    Examples:
        >>> mask = np.zeros((4, 4, 4), np.uint8)
        >>> mask[:2, 1:3, 1:3] = 1
        >>> found = target_statistics(mask, np.full(mask.shape, 90), (1.0, 1.0, 2.0))
        >>> found["ml"], found["mean_hu"], found["box"], found["box_mm"]
        (0.016, 90.0, [[0, 2], [1, 3], [1, 3]], [2.0, 2.0, 4.0])
        >>> found["in_field_fraction"]
        0.8
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask and image must have one shape, got {mask.shape} and {image.shape}.")
    target = np.ascontiguousarray(mask > 0)
    box = foreground_box(torch.from_numpy(target))
    ml = float(target.sum() * (np.prod(spacing) if volume is None else volume) / 1000.0)
    if box is None:
        return {"ml": ml} | dict.fromkeys(("mean_hu", "std_hu", "box", "box_mm", "in_field_fraction"))
    place = tuple(slice(*side) for side in box)
    values = image[place][target[place]].astype(np.float64)
    return {
        "ml": ml,
        "mean_hu": float(values.mean()),
        "std_hu": float(values.std()),
        "box": [[int(low), int(high)] for low, high in box],
        "box_mm": [float((high - low) * step) for (low, high), step in zip(box, spacing, strict=True)],
        "in_field_fraction": _in_field_fraction(target, spacing),
    }


def _in_field_fraction(target: np.ndarray, spacing: Sequence[float]) -> float:
    """Share of the surface, by area, that does not lie on the border of the volume."""
    inside = border = 0.0
    for axis in range(3):
        area = float(np.prod([step for other, step in enumerate(spacing) if other != axis]))
        lines = np.moveaxis(target, axis, 0)
        border += area * float(lines[0].sum() + lines[-1].sum())
        inside += area * float((lines[1:] != lines[:-1]).sum())
    return inside / (inside + border)

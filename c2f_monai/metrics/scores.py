# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one case: a predicted mask against its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance

from ..data.readers import read_image
from ..transforms import check_whole_values, select_label
from ..utils import check_one_grid, dice_coefficient, foreground_box, reason_of, voxel_volume

__all__ = ["CaseScore", "hausdorff95", "read_mask", "score_files", "score_masks"]


@dataclass(frozen=True)
class CaseScore:
    """Scores of one case. ``None`` stands for a score that does not exist.

    Attributes:
        dsc: Dice-Sorensen coefficient; None when both masks are empty, a case to be reported apart.
        hd95: 95th percentile of the symmetric surface distance in mm; None when a mask is empty.
        voxels: foreground voxels of the prediction.
        label_voxels: foreground voxels of the truth.
        ml: volume of the prediction in milliliters.
        held: all values of the label file, the background's too; none of masks in memory.
        predicted: likewise of the prediction's file.
    """

    dsc: float | None
    hd95: float | None
    voxels: int
    label_voxels: int
    ml: float
    held: frozenset[float] = field(default=frozenset(), repr=False)
    predicted: frozenset[float] = field(default=frozenset(), repr=False)


def hausdorff95(pred: torch.Tensor, label: torch.Tensor, spacing: Sequence[float]) -> float | None:
    """95 % Hausdorff distance of two boolean (H, W, D) masks; the larger of the two directed percentiles.

    Args:
        pred: prediction.
        label: truth.
        spacing: voxel size in mm for each axis.

    Returns:
        The distance in mm, None when one of the masks is empty.
    """
    bounds = foreground_box(pred | label)
    if bounds is None or not (pred.any() and label.any()):
        return None
    box = tuple(slice(*side) for side in bounds)
    distance = compute_hausdorff_distance(
        pred[box][None, None], label[box][None, None], include_background=True, percentile=95, spacing=list(spacing)
    )
    return float(distance)


def score_masks(
    pred: torch.Tensor, label: torch.Tensor, spacing: Sequence[float], volume: float | None = None
) -> CaseScore:
    """Score a boolean (H, W, D) prediction against the truth on the same grid.

    Args:
        pred: prediction.
        label: truth, of the same shape.
        spacing: voxel size in mm for each axis.
        volume: of a voxel in mm^3, where axes are not at right angles. Defaults to None: the product of ``spacing``.

    Raises:
        ValueError: When the shapes differ.

    Examples:
        >>> pred, label = torch.zeros(2, 8, 8, 8, dtype=torch.bool)
        >>> pred[2:6, 2:6, 2:6] = label[2:6, 2:6, 3:7] = True
        >>> score_masks(pred, label, spacing=(1.0, 1.0, 2.0))
        CaseScore(dsc=0.75, hd95=2.0, voxels=64, label_voxels=64, ml=0.128)
    """
    if pred.shape != label.shape:
        raise ValueError(f"prediction and label differ in shape, {tuple(pred.shape)} and {tuple(label.shape)}.")
    voxels, label_voxels = int(pred.sum()), int(label.sum())
    return CaseScore(
        dsc=dice_coefficient(pred, label) if voxels + label_voxels else None,
        hd95=hausdorff95(pred, label, spacing),
        voxels=voxels,
        label_voxels=label_voxels,
        ml=voxels * (float(np.prod(spacing)) if volume is None else volume) / 1000,
    )


def read_mask(path: str | Path, values: Sequence[int] = (1,)) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a mask file of any format in :data:`c2f_monai.data.READERS`.

    Args:
        path: the file.
        values: label values that are foreground. Defaults to 1 alone.

    Returns:
        The boolean (H, W, D) mask and its (4, 4) affine to RAS millimetres.

    Raises:
        ValueError: When the file cannot be read, is not one 3D volume, or holds values that no label map has.
    """
    image, _ = _read_label_map(path)
    return _foreground(image, values)


def _read_label_map(path: str | Path) -> tuple[Any, dict[float, int]]:
    """A (1, H, W, D) label map, and the voxels of each of its values."""
    try:
        image: Any = read_image(path, dtype=None)
    except ValueError as error:
        raise ValueError(f"cannot read the mask {path}: {reason_of(error)}") from error
    channels, *shape = image.shape
    if len(shape) != 3 or channels != 1:
        size = (*shape, channels) if channels != 1 else tuple(shape)
        raise ValueError(f"{path} is not a 3D mask: its shape is {size}.")
    if image.dtype != torch.uint8:
        image = image.float()  # as training reads them: a scale factor leaves 1.00000006 of a 1
    return image, check_whole_values(image)


def _foreground(image: Any, values: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The boolean (H, W, D) mask of some label values, and its affine."""
    return select_label(image.as_tensor(), values)[0].bool(), torch.as_tensor(image.affine, dtype=torch.float64)


def score_files(pred: str | Path, label: str | Path, values: Sequence[int] = (1,)) -> CaseScore:
    """Score a mask file against a label file on the same grid.

    Args:
        pred: predicted mask.
        label: truth.
        values: label values that are foreground, in both files. Defaults to 1 alone.

    Raises:
        ValueError: When a file cannot be read, or shape or affine (beyond half a voxel at any corner) differ.
    """
    answer, predicted = _read_label_map(pred)
    mask, affine = _foreground(answer, values)
    image, held = _read_label_map(label)
    truth, truth_affine = _foreground(image, values)
    if mask.shape != truth.shape:
        raise ValueError(f"{pred} and {label} differ in shape, {tuple(mask.shape)} and {tuple(truth.shape)}.")
    check_one_grid(f"{pred} and {label}", truth_affine, affine, truth.shape)
    spacing = truth_affine[:3, :3].norm(dim=0)
    found = score_masks(mask, truth, spacing.tolist(), voxel_volume(truth_affine))
    return replace(found, held=frozenset(held), predicted=frozenset(predicted))

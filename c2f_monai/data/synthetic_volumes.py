# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume of synthetic CT: a deformed label map around the target, painted and resampled."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from ..transforms import RandSyntheticCT, ResampleToSpacingd, check_whole_values
from .anatomies import Anatomy, body_by_hu, body_by_labels, deform, tissues_of
from .readers import read_image
from .volume_header import checked_header

__all__ = ["TargetLostError", "check_extent", "draw_until_held", "draw_volume"]

#: mm along the body that a deformation may carry in from beyond the ends of a volume.
_BEYOND = 30.0
#: Draws of a volume until one holds the target; small ones get lost between the voxels of a deformed map.
_TRIES = 10


class TargetLostError(ValueError):
    """The label map holds the target, what was drawn from it does not: another seed may do."""


def draw_volume(
    anatomy: Anatomy, names: Mapping[int, str], target: int, seed: int, spacing: float = 2.0, extent: float = 220.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CT and its label; the same arguments give the same voxels.

    Args:
        anatomy: to draw from.
        names: organ by label value.
        target: label value of the target.
        seed: of all draws.
        spacing: voxel size in mm.
        extent: mm along the body, around the target.

    Returns:
        image (H, W, D) int16 HU, RAS; label of the same shape, uint8, 1 in the target, which it holds; affine (4, 4).

    Raises:
        TargetLostError: when the label map holds the target, and what this seed makes of it does not.
        ValueError: when the file is no label map, does not say where it lies, does not hold the target, holds a value
            without a name, or has slices that the extent does not span.
    """
    tissues, added = tissues_of(names)
    rng = np.random.default_rng(seed)
    upright = Orientation(axcodes="RAS", labels=None)
    check_extent(anatomy, extent)
    stored: Any = upright(_read_labels(anatomy, names, target))
    steps = stored.pixdim.tolist()
    labels = stored[0].numpy().astype(np.uint8)
    part = _around(labels == target, steps[2], extent + 2 * _BEYOND, rng)
    labels = labels[..., part]
    if anatomy.image is None:
        labels = body_by_labels(labels, steps, added, rng)
    else:
        scan = np.asarray(upright(read_image(anatomy.image))[0])[..., part]
        labels = body_by_hu(labels, scan, added)
    labels = deform(labels, seed)
    if not (labels == target).any():
        raise _lost(anatomy, seed)
    labels = labels[..., _around(labels == target, steps[2], extent, rng)]
    affine = torch.diag(torch.tensor([*steps, 1.0], dtype=torch.float64))
    whole = MetaTensor(torch.from_numpy(np.ascontiguousarray(labels))[None], affine=affine)
    image = RandSyntheticCT(tissues).set_random_state(seed)(whole)
    item: dict[Any, torch.Tensor] = {
        "image": image,
        "label": MetaTensor((whole.as_tensor() == target).float(), affine=affine),
    }
    drawn = ResampleToSpacingd(("image", "label"), (spacing,) * 3, mode="bilinear")(item)
    hu = np.rint(drawn["image"][0].numpy()).astype(np.int16)
    label = (drawn["label"][0].numpy() > 0.5).astype(np.uint8)
    if not label.any():
        raise _lost(anatomy, seed)
    return hu, label, np.diag([spacing, spacing, spacing, 1.0])


def draw_until_held(
    place: str, anatomy: Anatomy, names: Mapping[int, str], target: int, spacing: float, extent: float
) -> tuple[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A volume that holds the target and its seed: the first of those of a place in the data set that does."""
    for attempt in range(_TRIES):
        seed = zlib.crc32((f"{place} {attempt}" if attempt else place).encode()) >> 1
        try:
            return seed, draw_volume(anatomy, names, target, seed, spacing, extent)
        except TargetLostError:
            continue
    raise TargetLostError(
        f"{anatomy.labels}: each of {_TRIES} draws has lost the target, which is too small for a deformed map or for "
        f"voxels of {spacing:g} mm, or is in parts further apart than {extent:g} mm: give a smaller --spacing or a "
        "larger --extent, or take the label map out of --labels."
    )


def check_extent(anatomy: Anatomy, extent: float) -> None:
    """Refuse a label map of too few slices in the extent to be a volume, by its header."""
    _, affine = checked_header(anatomy.labels)
    upward = nib.io_orientation(affine)[:, 0].tolist().index(2)
    step = float(np.linalg.norm(affine[:3, upward]))
    if round(extent / step) < 2:
        raise ValueError(
            f"--extent must span two slices or more of {anatomy.labels}, which are {step:.4g} mm apart, "
            f"got {extent:g} mm."
        )


def _lost(anatomy: Anatomy, seed: int) -> TargetLostError:
    return TargetLostError(f"{anatomy.labels}: a draw of the seed {seed} has lost the target: take another seed.")


def _read_labels(anatomy: Anatomy, names: Mapping[int, str], target: int) -> MetaTensor:
    """A label map, (1, H, W, D) float32, all of whose values have names."""
    labels = read_image(anatomy.labels)
    held = check_whole_values(labels)
    if strange := sorted(held.keys() - {0, *names}):  # before a cast wraps what is above 255
        told = ", ".join(f"{value:g}" for value in strange)
        raise ValueError(f"{anatomy.labels} holds the label values {told}, which have no name: add them to --names.")
    if target not in held:
        raise ValueError(f"{anatomy.labels} does not hold the target: take it out of --labels.")
    return labels


def _around(mask: np.ndarray, step: float, extent: float, rng: np.random.Generator) -> slice:
    """Slices around the target, its middle up to a tenth of the extent from theirs."""
    found = np.flatnonzero(mask.any(axis=(0, 1)))
    middle = (found[0] + found[-1]) / 2 + rng.uniform(-0.1, 0.1) * extent / step
    start = max(0, round(middle - extent / step / 2))
    return slice(start, min(mask.shape[2], start + round(extent / step)))

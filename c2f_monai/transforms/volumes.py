# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of volumes, and the type that they are kept in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..utils import SLICES_KEY, check_one_grid
from .upright import MAX_SHEAR, MAX_TURN, axes_angles

__all__ = ["CheckSameGridd", "CheckVolumed", "CompactDtyped", "check_spacing", "check_volume", "source_of"]


def source_of(volume: torch.Tensor) -> str:
    """The file that a volume was read from, "volume" when it carries no file name: for messages."""
    name = volume.meta.get("filename_or_obj") if isinstance(volume, MetaTensor) else None
    return str(name) if name else "volume"


#: mm that a CT's voxels are long.
SPACING_MM = (0.2, 10.0)
#: HU that a CT shows somewhere in air or lung, and that no voxel is beyond, metal included.
_LOW_HU, _LARGEST_HU = -200, 100_000
#: Values without one below 0 and with one above this are those of a scanner's file before its rescale.
_UNSCALED = 1000


def check_spacing(name: str, affine: Any, shape: Sequence[int]) -> None:
    """Refuse voxels that no CT has.

    Args:
        name: of the image, for the message.
        affine: (4, 4) to RAS mm.
        shape: voxels along the axes; the step along an axis of one voxel is not looked at.

    Raises:
        ValueError: for a side outside 0.2 to 10 mm.
    """
    low, high = SPACING_MM
    sides = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
    if any(length > 1 and not low <= side <= high for side, length in zip(sides, shape, strict=False)):
        told = " x ".join(f"{side:.4g}" for side in sides)
        raise ValueError(f"{name} has voxels of {told} mm, but those of a CT measure {low:g} to {high:g} mm.")


def check_volume(volume: torch.Tensor) -> list[str]:
    """Refuse what cannot be segmented as one CT.

    Args:
        volume: (1, H, W, D) image.

    Returns:
        What a user should know of it: no voxel below -200 HU, axes that are turned or not at right angles.

    Raises:
        ValueError: When it has another number of axes or channels, an empty axis, voxels that are NaN or infinite,
            beyond 100000 HU or those of a scanner before their rescale, voxels outside 0.2 to 10 mm, or a "problem" in
            its metadata, which its reader has found.

    Examples:
        >>> check_volume(torch.full((1, 2, 2, 2), torch.nan))
        Traceback (most recent call last):
        ValueError: volume: 8 voxels are NaN or infinite; replace them, for instance by -1024 HU.
    """
    name, shape = source_of(volume), tuple(volume.shape)
    if len(shape) != 4:
        raise ValueError(f"{name}: one 3D volume is needed, its shape without the channel is {shape[1:]}.")
    if shape[0] != 1:
        raise ValueError(f"{name}: one channel is needed, it has {shape[0]}.")
    if 0 in shape:
        raise ValueError(f"{name}: no axis may be empty, its shape is {shape[1:]}.")
    # One slice at a time: isfinite on a whole volume makes several copies of it.
    real = volume.is_floating_point()  # whole numbers are finite
    bad = sum(int((~torch.isfinite(image)).sum()) for image in torch.as_tensor(volume)[0].unbind(0)) if real else 0
    if bad:
        raise ValueError(f"{name}: {bad} voxels are NaN or infinite; replace them, for instance by -1024 HU.")
    if isinstance(volume, MetaTensor):
        if problem := volume.meta.get("problem"):
            raise ValueError(f"{name} cannot be used: {problem}")
        check_spacing(name, volume.affine, shape[1:])
    return [*_check_values(name, volume), *_axes(volume)]


def _check_values(name: str, volume: torch.Tensor) -> list[str]:
    values = torch.as_tensor(volume)
    low, high = float(values.amin()), float(values.amax())
    if max(-low, high) > _LARGEST_HU:
        raise ValueError(f"{name} holds values from {low:.4g} to {high:.4g}, which are no HU.")
    if low >= 0 and high > _UNSCALED:
        raise ValueError(
            f"{name} holds values from {low:g} to {high:g}, none below 0: it is no CT in HU; perhaps its rescale "
            "intercept, such as -1024, was lost."
        )
    return [f"no voxel below {_LOW_HU}: is this in HU?"] if low > _LOW_HU else []


def _axes(volume: torch.Tensor) -> list[str]:
    if not isinstance(volume, MetaTensor):
        return []
    turn, shear = axes_angles(volume.affine)
    notes = [f"axes turned by {turn:.0f} degrees"] if turn > MAX_TURN else []
    return [*notes, f"axes sheared by {shear:.1f} degrees"] if shear > MAX_SHEAR else notes


class CheckVolumed(MapTransform):
    """Apply :func:`check_volume` to the (1, H, W, D) volumes at ``keys``; what it says joins their "notes".

    A case that is a stack of single slices says so in their metadata, for an inferer to know.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check."""
        out = dict(data)
        for key in self.key_iterator(out):
            found = check_volume(out[key])
            if isinstance(out[key], MetaTensor):
                known = str(out[key].meta.get("notes") or "")
                out[key].meta["notes"] = "; ".join(filter(None, [known, *found]))
                # Of a batch MONAI keeps what all of its cases have.
                out[key].meta[SLICES_KEY] = "single" if out.get(SLICES_KEY) else ""
        return out


_NARROW = {torch.float64: torch.float32, torch.uint8: torch.int16}
_NARROW |= dict.fromkeys((torch.uint16, torch.uint32, torch.uint64), torch.float32)


class CompactDtyped(MapTransform):
    """Keep a volume's type where it holds HU below 0: CT files hold 16-bit integers, half of float32.

    Float64 becomes float32, uint8 becomes int16 and wider unsigned integers become float32.

    Args:
        keys: keys of the volumes.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = out[key].to(_NARROW.get(out[key].dtype, out[key].dtype))
        return out


class CheckSameGridd(MapTransform):
    """Refuse volumes that do not lie on the grid of a reference volume; nothing is changed.

    Less than half a voxel at every corner is how programs round headers (:func:`c2f_monai.utils.on_one_grid`).

    Args:
        keys: keys of the volumes, for instance the label.
        reference_key: key of the volume to compare with. Defaults to "image".
        allow_missing_keys: whether a missing key is passed over. Defaults to False.
    """

    def __init__(self, keys: KeysCollection, reference_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compare."""
        out = dict(data)
        reference = out[self.reference_key]
        for key in self.key_iterator(out):
            volume = out[key]
            if volume.shape[-3:] != reference.shape[-3:]:
                raise ValueError(
                    f"{source_of(volume)} has the shape {tuple(volume.shape[-3:])}, "
                    f"{source_of(reference)} {tuple(reference.shape[-3:])}: they must lie on the same grid."
                )
            if isinstance(volume, MetaTensor) and isinstance(reference, MetaTensor):
                names = f"{source_of(volume)} and {source_of(reference)}"
                check_one_grid(names, reference.affine.cpu(), volume.affine.cpu(), volume.shape[-3:])
        return out

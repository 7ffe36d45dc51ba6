# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of volumes, choice of label values and label maps: the two ends of the pre- and post-processing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from ..utils import SLICES_KEY, check_one_grid
from .upright import MAX_SHEAR, MAX_TURN, axes_angles

__all__ = [
    "CheckSameGridd",
    "CheckVolumed",
    "CompactDtyped",
    "SelectLabeld",
    "ToLabelMapd",
    "check_spacing",
    "all_label_values",
    "check_volume",
    "class_values",
    "label_values",
    "select_label",
    "source_of",
    "to_label_map",
]


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


def select_label(label: torch.Tensor, values: int | Sequence[int] | Sequence[Sequence[int]]) -> torch.Tensor:
    """Binary mask of the voxels that have one of the values, in the type of ``label``.

    Args:
        label: label map of any shape; (1, H, W, D) where classes are asked for.
        values: label values of the target. Several are joined (an organ and the neoplasm inside it [3.3.3]). A list of
            lists makes one channel for each inner list, (K, H, W, D); classes may share values.

    Raises:
        ValueError: When classes are asked for and ``label`` has not one channel.

    Examples:
        >>> label = torch.tensor([0, 1, 2, 3]).reshape(1, 1, 1, 4)
        >>> select_label(label, [1, 2]).flatten().tolist()
        [0, 1, 1, 0]
        >>> select_label(label, [[1, 2], [3]])[:, 0, 0].tolist()
        [[0, 1, 1, 0], [0, 0, 0, 1]]
    """
    groups = class_values(values)
    if groups is None:
        wanted = torch.as_tensor(ensure_tuple(values), device=label.device)
        return torch.isin(label, wanted.to(label.dtype)).to(label.dtype)
    if label.shape[0] != 1:
        raise ValueError(f"{source_of(label)}: classes need a label map of one channel, it has {label.shape[0]}.")
    return torch.cat([select_label(label, group) for group in groups])


def to_label_map(
    probability: torch.Tensor, values: int | Sequence[int], threshold: float = 0.5, containers: int = 0
) -> torch.Tensor:
    """Label map of probabilities; a voxel that several classes claim goes to the most probable one [3.6].

    Args:
        probability: (K, H, W, D) probabilities.
        values: label value of each of the K classes, 1 to 255.
        threshold: a class claims the voxels with at least this probability. Defaults to 0.5.
        containers: number of leading classes that contain the others, such as an organ before its neoplasm: the others
            take a voxel from them whatever the probabilities. Defaults to 0.

    Returns:
        (1, H, W, D) uint8 map, 0 is background.

    Raises:
        ValueError: When there is not one value for each class, or no class is left beside the containers.

    Examples:
        >>> probability = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.7, 0.3]]).reshape(2, 1, 1, 3)
        >>> to_label_map(probability, [1, 4]).flatten().tolist()
        [1, 4, 0]
    """
    values = label_values(values)
    if len(values) != probability.shape[0]:
        raise ValueError(f"{probability.shape[0]} classes need as many label values, got {list(values)}.")
    if not 0 <= containers < len(values):
        raise ValueError(f"containers must be fewer than the {len(values)} classes, got {containers}.")
    if len(values) == 1:  # the usual case, without a float copy of a volume at full resolution
        return (probability >= threshold).to(torch.uint8).mul_(values[0])
    names = torch.as_tensor(values, dtype=torch.uint8, device=probability.device)
    labels = torch.zeros_like(torch.as_tensor(probability)[:1], dtype=torch.uint8)
    for part in (slice(0, containers), slice(containers, None)):
        if len(names[part]):
            best, index = torch.as_tensor(probability)[part].max(dim=0, keepdim=True)
            labels = torch.where(best >= threshold, names[part][index], labels)
    return MetaTensor(labels, meta=probability.meta) if isinstance(probability, MetaTensor) else labels


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


class SelectLabeld(MapTransform):
    """Apply :func:`select_label` to the label maps at ``keys``.

    Args:
        keys: keys of the label maps.
        values: label value of the target, or several values that are joined; a list of lists makes one channel for
            each inner list.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.

    Raises:
        ValueError: When a label value is no whole number from 1 to 255.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: int | Sequence[int] | Sequence[Sequence[int]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = class_values(values) or label_values(values)  # type: ignore[arg-type]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Select."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = select_label(out[key], self.values)
        return out


class ToLabelMapd(MapTransform):
    """Apply :func:`to_label_map` to the probabilities at ``keys``.

    Args:
        keys: keys of the probabilities.
        values: label value of each class.
        threshold: smallest probability of foreground. Defaults to 0.5.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.
        containers: number of leading classes that the others lie in and are painted over. Defaults to 0.

    Raises:
        ValueError: When a label value does not fit 8 bits, the threshold lies outside (0, 1], or no class is left
            beside the containers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: int | Sequence[int] = 1,
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
        containers: int = 0,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {threshold}.")
        self.values = label_values(values)
        if not 0 <= containers < len(self.values):
            raise ValueError(f"containers must be fewer than the {len(self.values)} classes, got {containers}.")
        self.threshold = threshold
        self.containers = containers

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make the label maps."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = to_label_map(out[key], self.values, self.threshold, self.containers)
        return out


def label_values(values: int | Sequence[int]) -> tuple[int, ...]:
    """Label values as a tuple.

    Raises:
        ValueError: When there are none, or one is no whole number from 1 to 255.
    """
    checked = ensure_tuple(values)
    if not checked or not all(isinstance(v, (int, np.integer)) and 1 <= v <= 255 for v in checked):
        raise ValueError(f"label values must be whole numbers from 1 to 255, got {values!r}.")
    return tuple(int(v) for v in checked)


def class_values(values: int | Sequence[int] | Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...] | None:
    """Label values of each class from a list of lists; None where ``values`` is those of one target.

    Raises:
        ValueError: When a list mixes numbers and lists, or an inner list is no list of label values.
    """
    entries = ensure_tuple(values)
    nested = [isinstance(entry, Sequence) and not isinstance(entry, str) for entry in entries]
    if not any(nested):
        return None
    if not all(nested):
        raise ValueError(f"label values must be numbers, or one list for each class, got {values!r}.")
    return tuple(label_values(entry) for entry in entries)


def all_label_values(values: int | Sequence[int] | Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Label values of all classes, in order.

    Raises:
        ValueError: When they are no label values, see :func:`label_values` and :func:`class_values`.

    Examples:
        >>> all_label_values(2), all_label_values([[1, 2], [3]])
        ((2,), (1, 2, 3))
    """
    groups = class_values(values) or (label_values(values),)  # type: ignore[arg-type]
    return tuple(value for group in groups for value in group)

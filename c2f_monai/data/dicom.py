# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Strict reading of a CT series, the one for all commands: what is missing, mixed or unreadable is refused.

ITK reads such a series, too: it drops what it cannot read and spaces the slices evenly, which moves them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import itk
import nibabel as nib
import numpy as np

from ..utils import reason_of
from .dicom_files import SliceHeader, scan_place, series_files

__all__ = ["HuVolume", "read_series", "series_files", "series_header", "slice_files"]

#: Share of the slices' distance by which one distance may differ (positions are decimal text), and by which all slices
#: may be shifted sideways, each from the one before: 2.9 degrees of tilt.
TOLERANCE = 0.05
#: mm by which a slice may lie beside the line of the stack, and the whole stack lean without being sheared, of however
#: many slices: more than the last digits of positions, and less than half a pixel.
_BESIDE = 0.2
#: Parts by which directions and pixel sizes of slices may differ: the last digits of a reconstruction.
_NOISE = 1e-3
#: mm below which two slices are at one place.
_SAME = 1e-3


@dataclass(frozen=True)
class HuVolume:
    """A volume in Hounsfield units.

    Attributes:
        hu: (columns, rows, slices) int16.
        affine: (4, 4) from voxels to RAS mm.
        instance_axcodes: axis codes of the array (row, column, slice by instance number), which programs make that do
            not look at positions: "PLS" where rows run to the back, columns to the patient's left and instance numbers
            to the head. Empty where slices have no numbers, or these do not follow the positions.
        notes: what was mended.
    """

    hu: np.ndarray
    affine: np.ndarray
    instance_axcodes: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Stack:
    """Slices in the order of their positions, doubled ones included, and where they lie."""

    slices: list[SliceHeader]
    along: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...]

    @property
    def length(self) -> int:
        return 1 + int((np.diff(self.along) > _SAME).sum())


def series_header(place: str | os.PathLike[str]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Voxels (columns, rows, slices) of a series and its affine to RAS mm, by headers alone.

    Raises:
        ValueError: as :func:`read_series`, for what headers tell.
    """
    stack = _stack_of(place)
    return (*stack.slices[0].size, stack.length), stack.affine


def read_series(place: str | os.PathLike[str]) -> HuVolume:
    """Read a CT series, each slice in HU by its own rescale slope and intercept.

    Slices are ordered by their position along the normal of the slices, whatever the files are called. Slices that are
    there twice, voxel for voxel, and localizers within the series are dropped with a note.

    Args:
        place: folder that holds one stack of slices, a folder and the SeriesInstanceUID of one in it
            (``folder/1.2.840.1``), or the file of a single slice.

    Raises:
        ValueError: naming the file, where one cannot be read, is no CT, lacks its place or rescale, or is of another
            size, pixel spacing or orientation; where slices are missing, doubled, unequally spaced or beside the stack;
            where the stack is sheared by more than 2.9 degrees, as with a tilted gantry; or where the folder holds
            several series.
    """
    stack = _stack_of(place)
    planes: list[np.ndarray] = []
    kept: list[SliceHeader] = []
    for one, at, before in zip(stack.slices, stack.along, [-np.inf, *stack.along[:-1]], strict=True):
        plane = _plane_of(one)
        if at - before <= _SAME:
            if not np.array_equal(plane, planes[-1]):
                raise ValueError(_at_one_place(kept[-1], one))
            continue
        planes.append(plane)
        kept.append(one)
    doubled = len(stack.slices) - len(kept)
    notes = (*stack.notes, *([f"{doubled} doubled slices dropped"] if doubled else []))
    hu = np.stack(planes, axis=2)
    return HuVolume(hu, stack.affine, _instance_axcodes([one.instance for one in kept], stack.affine), notes)


def slice_files(place: str | os.PathLike[str]) -> list[Path]:
    """Files of the slices of the volume that :func:`read_series` gives, in the order of its last axis; by headers.

    Raises:
        ValueError: as :func:`read_series`, for what headers tell.
    """
    stack = _stack_of(place)
    apart = np.diff(stack.along, prepend=-np.inf) > _SAME
    return [one.path for one, is_new in zip(stack.slices, apart, strict=True) if is_new]


def _stack_of(place: str | os.PathLike[str]) -> _Stack:
    _, series = scan_place(place)
    slices = [one for one in series.slices if not one.is_localizer]
    left = len(series.slices) - len(slices)
    if not slices:
        raise ValueError(f"{series.slices[0].path} is a localizer, no volume.")
    _check_each(slices)
    _check_alike(slices)
    first = slices[0]
    rows = first.rows / np.linalg.norm(first.rows, axis=1, keepdims=True)
    normal = np.cross(*rows)
    slices.sort(key=lambda one: float(one.position @ normal))
    along = np.array([one.position @ normal for one in slices])
    _check_acquisitions(slices)
    step = _check_positions(slices, along, normal)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = rows[0] * first.spacing[0], rows[1] * first.spacing[1]
    lps[:3, 2], lps[:3, 3] = step, slices[0].position
    notes = (f"{left} localizers left out",) if left else ()
    return _Stack(slices, along, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, notes)


def _plane_of(one: SliceHeader) -> np.ndarray:
    """(columns, rows) int16 HU; the type is the slice's own, as slope and intercept are."""
    try:
        image = itk.imread(str(one.path), imageio=itk.GDCMImageIO.New())
    except RuntimeError as error:
        raise ValueError(f"{one.path} cannot be read: {reason_of(error)}") from error
    values = np.array(itk.array_view_from_image(image)).reshape(one.size[1], one.size[0]).T
    if values.dtype.kind == "f":  # a fractional rescale slope
        values = np.rint(values)
    limits = np.iinfo(np.int16)
    return values.clip(limits.min, limits.max).astype(np.int16)


def _instance_axcodes(numbers: list[str], affine: np.ndarray) -> str:
    """See :class:`HuVolume`; of numbers in the order of the positions."""
    if len(numbers) < 2 or not all(number.lstrip("+-").isdecimal() for number in numbers):
        return ""
    steps = np.diff([int(number) for number in numbers])
    if not ((steps > 0).all() or (steps < 0).all()):
        return ""
    array = affine[:, [1, 0, 2, 3]] @ np.diag([1.0, 1.0, np.sign(steps[0]), 1.0])
    return "".join(nib.aff2axcodes(array))


def _check_each(slices: Sequence[SliceHeader]) -> None:
    for one in slices:
        if one.modality not in ("CT", ""):
            raise ValueError(f"{one.path} is of the modality {one.modality}, not CT.")
        if one.frames > 1:
            raise ValueError(f"{one.path} holds {one.frames} frames: convert it to a volume, or to one file a slice.")
        if one.photometric == "MONOCHROME1":
            raise ValueError(f"{one.path} is MONOCHROME1, whose values are read as inverted: export it as MONOCHROME2.")
        if one.missing:
            raise ValueError(f"{one.path} has no {', '.join(one.missing)}: the volume cannot be put together for sure.")
        lengths = np.linalg.norm(one.rows, axis=1)
        if np.abs(lengths - 1).max() > 0.01 or abs(float(one.rows[0] @ one.rows[1])) > 0.01:
            raise ValueError(f"{one.path} has an orientation that is none: {one.rows.ravel().tolist()}.")


def _check_alike(slices: Sequence[SliceHeader]) -> None:
    first = slices[0]
    for other in slices:
        same = other.size == first.size and np.allclose(other.spacing, first.spacing, rtol=_NOISE)
        if not same or np.abs(other.rows - first.rows).max() > _NOISE:
            raise ValueError(
                f"{other.path} differs from {first.path.name} in size, pixel spacing or orientation: "
                f"{_grid(other)} and {_grid(first)}."
            )


def _grid(one: SliceHeader) -> tuple:
    return one.size, np.round(one.spacing, 4).tolist(), np.round(one.rows, 3).tolist()


def _at_one_place(one: SliceHeader, other: SliceHeader) -> str:
    acquisitions = f", of the acquisitions {one.acquisition} and {other.acquisition}"
    told = acquisitions if one.acquisition != other.acquisition else ""
    return f"{one.path} and {other.path.name} are different slices at the same position{told}: keep one of them."


def _check_acquisitions(slices: Sequence[SliceHeader]) -> None:
    """Refuse phases in one series, of slices in order: each acquisition must be a block of its own."""
    order = [one.acquisition for one in slices]
    names = sorted(set(order))
    if sum(one != other for one, other in pairwise(order)) >= len(names):
        raise ValueError(
            f"{slices[0].path.parent}: slices of the acquisitions {', '.join(names)} lie between each other: keep one "
            "of them."
        )


def _check_positions(slices: Sequence[SliceHeader], along: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The step (3,) in mm from slice to slice, of slices in order: along the normal, but for a small constant tilt.

    Raises:
        ValueError: for distances that are not all the same, or add up; or slices that do not lie behind each other.
    """
    aside = _check_line(slices, along, normal)
    fresh = [0, *(int(at) + 1 for at in np.flatnonzero(np.diff(along) > _SAME))]
    if len(fresh) == 1:
        return normal * _thickness(slices)
    gaps = np.diff(along[fresh])
    usual = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - usual) > TOLERANCE * usual)
    if odd.size:
        at = int(odd[0])
        missing = gaps[at] / usual
        what = "a slice is missing" if abs(missing - np.rint(missing)) <= TOLERANCE else "the spacing is unequal"
        acquisitions = sorted({one.acquisition for one in slices})
        told = f"; it holds the acquisitions {', '.join(acquisitions)}" if len(acquisitions) > 1 else ""
        raise ValueError(
            f"{what} between {slices[fresh[at]].path} and {slices[fresh[at + 1]].path.name}: {gaps[at]:.4g} mm apart, "
            f"others {usual:.4g} mm ({odd.size} of {gaps.size} distances){told}."
        )
    step = _even_step([slices[index] for index in fresh], along[fresh])
    shift = float(np.linalg.norm(aside)) / gaps.size
    if shift > TOLERANCE * usual:
        told = f" (GantryDetectorTilt {slices[0].tilt})" if slices[0].tilt else ""
        raise ValueError(
            f"the slices of {slices[0].path.parent} are shifted by {shift:.3g} mm from one to the next, as with a "
            f"tilted gantry{told}: resample the series first."
        )
    # The last digits are no tilt: two slices of 1 mm, 0.01 mm beside each other, would be sheared by half a degree.
    tilt = aside / gaps.size if np.linalg.norm(aside) > _BESIDE else np.zeros(3)
    return np.asarray(normal * step + tilt)


def _even_step(slices: Sequence[SliceHeader], places: np.ndarray) -> float:
    """Mean distance in mm of slices, none twice; refused where small differences add up to half of it."""
    step = float(places[-1] - places[0]) / (places.size - 1)
    off = np.abs(places - places[0] - step * np.arange(places.size))
    at = int(off.argmax())
    if off[at] < step / 2:
        return step
    raise ValueError(
        f"the spacing changes along {slices[0].path.parent}: {slices[at].path.name} lies {off[at]:.4g} mm from where "
        f"even steps of {step:.4g} mm would have it. Resample the series, or keep the slices of one spacing."
    )


def _check_line(slices: Sequence[SliceHeader], along: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """How far the last slice lies sideways from the first, (3,) in mm, of slices that lie on one line.

    Raises:
        ValueError: for a slice beside the line through the first and the last one.
    """
    places = np.array([one.position for one in slices]) - slices[0].position
    aside = places - np.outer(places @ normal, normal)
    length = along[-1] - along[0]
    share = (along - along[0]) / length if length > _SAME else np.zeros(along.size)
    line = aside - np.outer(share, aside[-1])
    beside = float(np.linalg.norm(line, axis=1).max())
    if beside > _BESIDE:
        # The largest step tells the place: where the last slice is aside, the others are furthest from the line.
        at = int(np.linalg.norm(np.diff(line, axis=0), axis=1).argmax())
        shift = float(np.linalg.norm(aside[at + 1] - aside[at]))
        raise ValueError(
            f"{slices[at].path} and {slices[at + 1].path.name} are shifted sideways by {shift:.4g} mm: slices lie up "
            f"to {beside:.3g} mm beside the line from the first to the last one, not behind each other. Export the "
            "series again, or keep the slices of one stack."
        )
    return np.asarray(aside[-1])


def _thickness(slices: Sequence[SliceHeader]) -> float:
    """Of a single slice, which has no neighbor."""
    if not slices[0].thickness:
        raise ValueError(f"{slices[0].path} is one slice without a SliceThickness; a volume needs at least 2.")
    return float(slices[0].thickness)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Strict reading of a CT series for data sets: a series with missing, unequal or unreadable slices is refused.

ITK reads such a series, too: it drops what it cannot read and spaces the slices evenly, which moves them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np

from .readers import reason_of

__all__ = ["HuVolume", "read_series", "series_files"]

#: Share of the slices' distance by which one distance may differ (positions are decimal text), and a slice lie beside
#: the line through the first and the last one.
TOLERANCE = 0.05
_SERIES_UID = "0020|000e"
_MODALITY = "0008|0060"
_INSTANCE = "0020|0013"


@dataclass(frozen=True)
class HuVolume:
    """A volume in Hounsfield units.

    Attributes:
        hu: (columns, rows, slices) int16.
        affine: (4, 4) from voxels to RAS mm.
        instance_axcodes: axis codes of the array (row, column, slice by instance number), which programs make that do
            not look at positions: "PLS" where rows run to the back, columns to the patient's left and instance numbers
            to the head. Empty where slices have no numbers, or these do not follow the positions.
    """

    hu: np.ndarray
    affine: np.ndarray
    instance_axcodes: str = ""


@dataclass(frozen=True)
class _Slice:
    """What a file's header says; mm and directions are DICOM's, LPS."""

    path: Path
    series: str
    modality: str
    size: tuple[int, int]
    spacing: tuple[float, float]
    rows: np.ndarray
    position: np.ndarray
    instance: str

    @property
    def grid(self) -> tuple:
        """What all slices of a volume share, positions aside."""
        return self.size, np.round(self.spacing, 4).tolist(), np.round(self.rows, 3).tolist()


def series_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Files of a folder that should be slices: visible, named ``.dcm`` or without a suffix, in the order of names."""
    files = (path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in ("", ".dcm"))


def read_series(folder: str | os.PathLike[str]) -> HuVolume:
    """Read the one CT series of a folder, each slice in HU by its own rescale slope and intercept.

    Slices are ordered by their position along the normal of the slices, whatever the files are called.

    Raises:
        ValueError: naming the file, where one cannot be read, is no CT, or is of another series, size, pixel spacing
            or orientation; where slices are missing, doubled or unequally spaced; or where the stack is sheared.
    """
    slices = [_read_header(path) for path in series_files(folder)]
    if len(slices) < 2:
        raise ValueError(f"{folder} holds {len(slices)} DICOM files; a volume needs at least 2.")
    _check_alike(slices)
    normal = np.cross(slices[0].rows[0], slices[0].rows[1])
    slices.sort(key=lambda s: float(s.position @ normal))
    step = _check_positions(slices, normal)
    try:
        image = itk.imread([str(s.path) for s in slices])
    except RuntimeError as error:
        raise ValueError(f"{folder} cannot be read: {reason_of(error)}") from error
    # The array view is (slice, row, column).
    values = itk.array_view_from_image(image).transpose(2, 1, 0)
    if values.dtype.kind == "f":  # a fractional rescale slope
        values = np.rint(values)
    limits = np.iinfo(np.int16)
    hu = np.ascontiguousarray(values.clip(limits.min, limits.max), dtype=np.int16)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = slices[0].rows[0] * slices[0].spacing[0], slices[0].rows[1] * slices[0].spacing[1]
    lps[:3, 2], lps[:3, 3] = step, slices[0].position
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    return HuVolume(hu, affine, _instance_axcodes([s.instance for s in slices], affine))


def _instance_axcodes(numbers: list[str], affine: np.ndarray) -> str:
    """See :class:`HuVolume`; of numbers in the order of the positions."""
    if not all(number.lstrip("+-").isdigit() for number in numbers):
        return ""
    steps = np.diff([int(number) for number in numbers])
    if not ((steps > 0).all() or (steps < 0).all()):
        return ""
    array = affine[:, [1, 0, 2, 3]] @ np.diag([1.0, 1.0, np.sign(steps[0]), 1.0])
    return "".join(nib.aff2axcodes(array))


def _read_header(path: Path) -> _Slice:
    io = itk.GDCMImageIO.New()
    try:
        if not io.CanReadFile(str(path)):
            raise ValueError(f"{path} cannot be read as DICOM.")
        io.SetFileName(str(path))
        io.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as DICOM.") from error
    if io.GetNumberOfComponents() != 1 or (io.GetNumberOfDimensions() > 2 and io.GetDimensions(2) != 1):
        raise ValueError(f"{path} is not one slice with one value in a pixel.")
    tags = io.GetMetaDataDictionary()
    return _Slice(
        path,
        series=_tag(tags, _SERIES_UID),
        modality=_tag(tags, _MODALITY),
        size=(int(io.GetDimensions(0)), int(io.GetDimensions(1))),
        spacing=(float(io.GetSpacing(0)), float(io.GetSpacing(1))),
        rows=np.array([io.GetDirection(0), io.GetDirection(1)], dtype=float),
        position=np.array([io.GetOrigin(axis) for axis in range(3)], dtype=float),
        instance=_tag(tags, _INSTANCE),
    )


def _tag(tags: Any, key: str) -> str:
    return str(tags[key]).strip() if tags.HasKey(key) else ""


def _check_alike(slices: list[_Slice]) -> None:
    first = slices[0]
    for other in slices:
        if other.modality not in ("CT", ""):
            raise ValueError(f"{other.path} is of the modality {other.modality}, not CT.")
        if other.series != first.series:
            raise ValueError(f"{other.path} is of another series than {first.path.name}.")
        if other.grid != first.grid:
            raise ValueError(
                f"{other.path} differs from {first.path.name} in size, pixel spacing or orientation: "
                f"{other.grid} and {first.grid}."
            )


def _check_positions(slices: list[_Slice], normal: np.ndarray) -> np.ndarray:
    """The step in mm from slice to slice, LPS, of slices in order.

    Raises:
        ValueError: for distances that are not all the same, or slices that do not lie behind each other.
    """
    positions = np.stack([s.position for s in slices])
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if usual <= 1e-3 or (same := np.flatnonzero(gaps <= 1e-3)).size:
        at = 0 if usual <= 1e-3 else int(same[0])
        raise ValueError(f"{slices[at].path} and {slices[at + 1].path.name} are slices at the same position.")
    odd = np.flatnonzero(np.abs(gaps - usual) > TOLERANCE * usual)
    if odd.size:
        at = int(odd[0])
        missing = gaps[at] / usual
        what = "a slice is missing" if abs(missing - np.rint(missing)) <= TOLERANCE else "the spacing is unequal"
        raise ValueError(
            f"{what} between {slices[at].path} and {slices[at + 1].path.name}: {gaps[at]:.4g} mm apart, "
            f"others {usual:.4g} mm ({odd.size} of {gaps.size} distances)."
        )
    step = (positions[-1] - positions[0]) / len(gaps)
    aside = float(np.linalg.norm(step - normal * (step @ normal)))
    if aside > TOLERANCE * usual:
        raise ValueError(
            f"the slices of {slices[0].path.parent} are shifted by {aside:.3g} mm from one to the next, as with a "
            "tilted gantry: resample the series first."
        )
    return normal * float(step @ normal)

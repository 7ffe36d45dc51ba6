# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which DICOM files and series a folder holds, by their headers: slices, broken files and what is no image."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import itk
import numpy as np

from .dicom_objects import UID, object_name, sop_class_of

__all__ = ["DicomFolder", "Series", "SliceHeader", "is_dicom_place", "scan_folder", "scan_place", "series_files"]

_NEEDED = {
    "0020|0032": "ImagePositionPatient",
    "0020|0037": "ImageOrientationPatient",
    "0028|0030": "PixelSpacing",
    "0028|1052": "RescaleIntercept",
    "0028|1053": "RescaleSlope",
}


@dataclass(frozen=True)
class SliceHeader:
    """What a file's header says; mm and directions are DICOM's, LPS.

    Attributes:
        missing: names of attributes that a slice needs and this one lacks.
        frames: 1, or more in a file of several.
    """

    path: Path
    series: str
    modality: str
    image_type: str
    photometric: str
    size: tuple[int, int]
    spacing: tuple[float, float]
    rows: np.ndarray
    position: np.ndarray
    thickness: float | None
    instance: str
    acquisition: str
    tilt: str
    missing: tuple[str, ...]
    frames: int

    @property
    def is_localizer(self) -> bool:
        """Whether it is a scout view."""
        return "LOCALIZER" in self.image_type.upper()


@dataclass
class Series:
    """Slices of one SeriesInstanceUID in one folder, in the order of their names."""

    folder: Path
    uid: str
    slices: list[SliceHeader] = field(default_factory=list)

    @property
    def modality(self) -> str:
        """Of its first slice."""
        return self.slices[0].modality

    @property
    def is_localizer(self) -> bool:
        """Whether it holds scout views alone."""
        return all(one.is_localizer for one in self.slices)

    @property
    def is_stack(self) -> bool:
        """Whether it may be a CT volume."""
        enough = len(self.slices) > 1 or self.slices[0].frames > 1
        return enough and self.modality in ("CT", "") and not self.is_localizer


@dataclass
class DicomFolder:
    """What a folder holds.

    Attributes:
        series: by their UID.
        broken: files that should be slices and cannot be read.
        objects: DICOM files of SOP classes without slices, and what they are.
    """

    folder: Path
    series: dict[str, Series] = field(default_factory=dict)
    broken: list[Path] = field(default_factory=list)
    objects: dict[Path, str] = field(default_factory=dict)

    def cases(self) -> list[Series]:
        """The series to segment: the stacks of CT slices; without any all, of which a reader says what is wrong."""
        stacks = [series for series in self.series.values() if series.is_stack]
        return stacks or list(self.series.values())

    def left_out(self) -> list[tuple[Path, str]]:
        """What is no case, and why."""
        chosen = {series.uid for series in self.cases()}
        left = [(self.folder / uid, _why(series)) for uid, series in self.series.items() if uid not in chosen]
        return left + [(path, f"{what}, no image") for path, what in self.objects.items()]


def scan_folder(folder: str | os.PathLike[str]) -> DicomFolder:
    """Read the headers of a folder's DICOM files, or give what was read where no file has changed since.

    Each series of a folder is asked for by itself, and several times. What is given is shared: leave it as it is.
    """
    place = Path(folder)
    found = _kept_scan(place, _state_of(place))
    if found.broken:  # by a disk that may answer the next time
        _kept_scan.cache_clear()
    return found


@lru_cache(maxsize=8)
def _kept_scan(folder: Path, state: tuple[tuple[str | int, ...], ...]) -> DicomFolder:
    return _scan(folder, series_files(folder))


def _state_of(folder: Path) -> tuple[tuple[str | int, ...], ...]:
    """Names, sizes and times of a folder's files; that of the last change of any kind is not set back by programs."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    return tuple(sorted((name, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in found))


def scan_place(place: str | os.PathLike[str]) -> tuple[DicomFolder, Series]:
    """The series that a place names: a folder with one stack of slices, a folder and a SeriesInstanceUID, or a file.

    Raises:
        ValueError: when it names none or several, or the folder holds files that cannot be read.
    """
    path = Path(place)
    folder, uid = (path, "") if path.is_dir() else (path.parent, path.name)
    found = _scan(folder, [path]) if path.is_file() else scan_folder(folder)
    if found.broken:
        more = f", nor can {len(found.broken) - 1} more" if len(found.broken) > 1 else ""
        raise ValueError(f"{found.broken[0]} cannot be read as DICOM{more}: copy it again.")
    if not path.is_dir() and not path.is_file():
        if uid not in found.series:
            raise ValueError(f"{folder} holds no series {uid}, but {', '.join(found.series) or 'none'}.")
        return found, found.series[uid]
    cases = found.cases()
    if not cases:
        told = f" of slices, but {next(iter(found.objects.values()))}" if found.objects else ""
        raise ValueError(f"{path} holds 0 DICOM files{told}; a volume needs at least 2.")
    if len(cases) > 1:
        told = ", ".join(f"{series.uid} ({len(series.slices)} slices)" for series in cases)
        raise ValueError(f"{path} holds {len(cases)} series, {told}: name one as {path / cases[0].uid}.")
    return found, cases[0]


def is_dicom_place(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder, a DICOM file, or a SeriesInstanceUID in a folder.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> is_dicom_place(folder), is_dicom_place(folder / "1.2.3"), is_dicom_place(folder / "ct.nii")
        (True, True, False)
    """
    place = Path(path)
    if place.is_dir():
        return True
    if place.is_file():
        return place.suffix.lower() == ".dcm" or _has_magic(place)
    return bool(UID.fullmatch(place.name)) and place.parent.is_dir()


def series_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Files of a folder that are DICOM or should be, in the order of names: those with DICOM's mark, named ``.dcm``, or
    named as a marked one but for digits and without a suffix. Hidden files are none.
    """
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    marked = [path for path in files if _has_magic(path)]
    alike = {_pattern(path) for path in marked if not path.suffix}
    known = set(marked)
    return [p for p in files if p in known or p.suffix.lower() == ".dcm" or (not p.suffix and _pattern(p) in alike)]


def _pattern(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name)


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _scan(folder: Path, files: Sequence[Path]) -> DicomFolder:
    found = DicomFolder(folder)
    for path in files:
        header = _read_header(path)
        if header is not None:
            found.series.setdefault(header.series, Series(folder, header.series)).slices.append(header)
        elif what := object_name(sop_class_of(path)):
            found.objects[path] = what
        else:
            found.broken.append(path)
    return found


def _why(series: Series) -> str:
    if series.is_localizer:
        return "a localizer"
    if series.modality not in ("CT", ""):
        return f"{len(series.slices)} slices of the modality {series.modality}, not CT"
    return f"a series of {len(series.slices)} slice beside others"


def _read_header(path: Path) -> SliceHeader | None:
    """Header of a slice, None where there is no image that can be read."""
    io = itk.GDCMImageIO.New()
    try:
        if not io.CanReadFile(str(path)):
            return None
        io.SetFileName(str(path))
        io.ReadImageInformation()
    except RuntimeError:
        return None
    tags = io.GetMetaDataDictionary()
    return SliceHeader(
        path,
        series=_tag(tags, "0020|000e"),
        modality=_tag(tags, "0008|0060"),
        image_type=_tag(tags, "0008|0008"),
        photometric=_tag(tags, "0028|0004"),
        size=(int(io.GetDimensions(0)), int(io.GetDimensions(1))),
        spacing=(float(io.GetSpacing(0)), float(io.GetSpacing(1))),
        rows=np.array([io.GetDirection(0), io.GetDirection(1)], dtype=float)[:, :3],
        position=np.array([io.GetOrigin(axis) for axis in range(3)], dtype=float),
        thickness=_number(_tag(tags, "0018|0050")),
        instance=_tag(tags, "0020|0013"),
        acquisition=_tag(tags, "0020|0012"),
        tilt=_tag(tags, "0018|1120"),
        missing=tuple(name for key, name in _NEEDED.items() if not _tag(tags, key)),
        frames=int(io.GetDimensions(2)) if io.GetNumberOfDimensions() > 2 else 1,
    )


def _tag(tags: Any, key: str) -> str:
    return str(tags[key]).strip() if tags.HasKey(key) else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

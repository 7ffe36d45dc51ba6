# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers by ITK, and what it does not say of MetaImage and NRRD: that a file is none, or its voxels are cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import itk
import numpy as np

__all__ = ["check_data_files", "itk_header", "itk_information"]

_FORMATS = {".mha": "MetaImage", ".mhd": "MetaImage", ".nrrd": "NRRD", ".nhdr": "NRRD"}
#: Fields that name the file of the voxels, in MetaImage and NRRD.
_DATA_FILE = ("elementdatafile", "data file", "datafile")
#: Fields with which a file of voxels begins elsewhere, and is larger than they are.
_SKIPS = ("headersize", "byte skip", "byteskip", "line skip", "lineskip")
#: Fields of which one says how large voxels are; ITK takes 1 mm where none does.
_SPACINGS = ("elementspacing", "elementsize", "spacings", "space directions", "spacedirections")


def itk_information(path: str | os.PathLike[str]) -> Any:
    """ITK's reader of a file, which has read the header.

    Raises:
        ValueError: where the file is of no format that ITK knows.
    """
    io = _io_of(path)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    return io


def itk_header(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], int, np.ndarray]:
    """Voxels along the axes, values in a voxel and affine, (4, 4) to RAS mm, of a file's header.

    Raises:
        ValueError: where the file is of no format that ITK knows.
    """
    io = itk_information(path)
    axes = range(io.GetNumberOfDimensions())
    affine = np.eye(4)
    for i in list(axes)[:3] if len(axes) >= 3 else []:
        affine[:3, i] = np.asarray(io.GetDirection(i), dtype=float)[:3] * io.GetSpacing(i)
        affine[i, 3] = io.GetOrigin(i)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's world is LPS
    return tuple(int(io.GetDimensions(i)) for i in axes), int(io.GetNumberOfComponents()), affine


def check_data_files(path: str | os.PathLike[str]) -> None:
    """Refuse MetaImage and NRRD whose voxels lie outside the folder, are not there, or not as many as the header says,
    or whose header does not say how large they are.

    Packed voxels are compared where the header tells their size. Files of other formats pass.

    Raises:
        ValueError: naming the file of the voxels.
    """
    header = Path(os.path.abspath(path))  # of a relative path the folder would be ".", to which ".." seems to belong
    if header.suffix.lower() not in _FORMATS or not header.is_file():
        return
    _io_of(path)
    lines, end = _read_header(header)
    if not any(_name(line) in _SPACINGS for line in lines):
        raise ValueError("its header does not say how large voxels are, which ITK takes for 1 mm: write their spacing.")
    at = next((i for i, line in enumerate(lines) if _name(line) in _DATA_FILE), None)
    if at is None or _value(lines[at]).upper() == "LOCAL":
        _check_size(header, header.stat().st_size - end, header, lines)
        return
    listed = _value(lines[at]).upper().startswith("LIST")
    named = [name for name in ([] if listed else [_value(lines[at])]) + lines[at + 1 :] if name]
    for name in named:
        if not Path(os.path.normpath(header.parent / name)).is_relative_to(os.path.normpath(header.parent)):
            raise ValueError(f"its voxels lie outside its folder, in {name}: put the file beside it.")
    if not listed and "%" in named[0]:  # a pattern of names
        return
    for name in named if listed else named[:1]:
        if not (header.parent / name).is_file():
            raise ValueError(f"the file of its voxels, {name}, is missing: put it beside the header.")
    if not listed:
        raw = header.parent / named[0]
        _check_size(raw, raw.stat().st_size, header, lines)


def _io_of(path: str | os.PathLike[str]) -> Any:
    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        name = _FORMATS.get(Path(path).suffix.lower())
        raise ValueError(f"it is no {name} file but something else." if name else "its format is not known.")
    return io


def _check_size(raw: Path, size: int, header: Path, lines: list[str]) -> None:
    """Compare bytes of voxels with what the header says; no word on text, or on packed voxels of unknown size."""
    fields = {_name(line): _value(line).lower() for line in lines}
    packed = fields.get("compresseddata") == "true" or fields.get("encoding", "raw") != "raw"
    if packed or fields.get("binarydata") == "false" or any(name in fields for name in _SKIPS):
        needed = int(fields.get("compresseddatasize", 0))
    else:
        needed = int(itk_information(header).GetImageSizeInBytes())
    if size < needed:
        raise ValueError(f"its voxels are cut off: {raw.name} holds {size} bytes, its header speaks of {needed}.")
    if size > needed > 0 and raw.suffix.lower() == ".raw":
        raise ValueError(f"its voxels are more: {raw.name} holds {size} bytes, not {needed}.")


def _read_header(path: Path) -> tuple[list[str], int]:
    """Lines of text, and the byte at which they end: the first one of the voxels where these are in the same file."""
    lines: list[str] = []
    elsewhere = False
    with path.open("rb") as file:
        while line := file.readline():
            text = line.decode("latin-1").strip()
            elsewhere |= _name(text) in _DATA_FILE
            if not text and not elsewhere and lines[0].startswith("NRRD"):
                break
            lines.append(text)
            if _name(text) == "elementdatafile" and _value(text).upper() == "LOCAL":
                break
        return lines, file.tell()


def _name(line: str) -> str:
    return line.replace(":", "=", 1).partition("=")[0].strip().lower()


def _value(line: str) -> str:
    return line.replace(":", "=", 1).partition("=")[2].strip()

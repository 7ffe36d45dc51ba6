# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a NIfTI file's header can get wrong without a word from its reader."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib

from ..utils import corner_distance

__all__ = [
    "SAME_PLACE",
    "check_nifti_size",
    "checked_image",
    "nifti_notes",
    "nifti_problem",
    "open_nifti",
    "place_problem",
]

#: Bytes that are unpacked at once to count them.
_BLOCK = 1 << 22
#: mm by which qform and sform may place a corner of the volume apart.
SAME_PLACE = 1.0
_GZIP = b"\x1f\x8b"
#: By the size of the header, with which a file begins.
_KINDS = {(348).to_bytes(4, "little"): nib.Nifti1Image, (540).to_bytes(4, "little"): nib.Nifti2Image}


def open_nifti(path: str | os.PathLike[str]) -> Any:
    """Open a file with nibabel; whether it is packed is seen from its content, not its name.

    Args:
        path: the file.

    Returns:
        The image; its voxels are those of :func:`checked_image`.

    Raises:
        Exception: what nibabel raises for a file that is no image.
    """
    name = os.fspath(path)
    packed = _is_packed(name)
    if packed == name.lower().endswith(".gz"):
        return nib.load(name)
    with _opened(name) as stream:
        first = stream.read(4)
        kind = next((kind for size, kind in _KINDS.items() if size in (first, first[::-1])), None)
        if kind is None:
            return nib.load(name)  # no NIfTI, which nibabel says
        stream.seek(0)
        # Of a packed one the header alone: its voxels are unpacked when they are checked.
        content = stream if packed else io.BytesIO(stream.read())
        return kind.from_file_map({"image": nib.FileHolder(name, content)})


def check_nifti_size(path: str | os.PathLike[str], image: Any) -> None:
    """Refuse a file whose voxels are fewer or more than its header says; of a packed one, by the size that it tells.

    Args:
        path: the file.
        image: what nibabel has read of it.

    Raises:
        ValueError: naming both numbers of bytes.
    """
    needed, size, packed = _sizes(path, image)
    if packed:
        size = needed if size == needed % 2**32 else sum(map(len, _unpacked(path, needed)))
    _refuse_size(size, needed)


def checked_image(path: str | os.PathLike[str], image: Any) -> Any:
    """The image, its size and, where it is packed, its checksum checked: unpacked once, in memory.

    nibabel reads as many bytes as it needs, and so never comes to the checksum behind them.

    Args:
        path: the file.
        image: what nibabel has read of it.

    Raises:
        ValueError: naming both numbers of bytes, or the wrong checksum.
    """
    needed, size, packed = _sizes(path, image)
    if not packed:
        _refuse_size(size, needed)
        return image
    content = b"".join(_unpacked(path, needed))
    _refuse_size(len(content), needed)
    stream = io.BytesIO(content)
    # A pair of files has its header in another one.
    return type(image).from_stream(stream) if hasattr(image, "from_stream") else image


def _sizes(path: str | os.PathLike[str], image: Any) -> tuple[int, int, bool]:
    """Bytes that the header speaks of, those that there are, and whether they are told by gzip, modulo 4 GiB."""
    header = image.header
    needed = int(image.dataobj.offset) + math.prod(image.shape) * header.get_data_dtype().itemsize
    packed = _is_packed(path)
    with Path(path).open("rb") as file:
        file.seek(-min(4, os.path.getsize(path)), os.SEEK_END)
        told = int.from_bytes(file.read(4), "little")  # of gzip: the size modulo 4 GiB, where there is one stream
    return needed, told if packed else os.path.getsize(path), packed


def _is_packed(path: str | os.PathLike[str]) -> bool:
    with Path(path).open("rb") as file:
        return file.read(2) == _GZIP


def _opened(path: str) -> Any:
    """A file's unpacked content as a stream."""
    return gzip.open(path, "rb") if _is_packed(path) else Path(path).open("rb")


def _refuse_size(size: int, needed: int) -> None:
    if size != needed:
        what = "are cut off" if size < needed else "are more"
        raise ValueError(f"its voxels {what}: it holds {size} bytes, its header speaks of {needed}.")


def _unpacked(path: str | os.PathLike[str], needed: int) -> Iterator[bytes]:
    """What a gzip file holds, up to a little more than the needed bytes; what is no gzip after them does not count."""
    size, unpacker, packed = 0, zlib.decompressobj(wbits=31), b""
    with Path(path).open("rb") as file:
        try:
            while size <= needed and (packed or (packed := file.read(_BLOCK))):
                block = unpacker.decompress(packed, _BLOCK)
                size += len(block)
                yield block
                packed = unpacker.unconsumed_tail
                if unpacker.eof:  # further streams may follow
                    packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
        except zlib.error as error:
            if "incorrect data check" in str(error):
                raise ValueError("its checksum is wrong, so that its voxels are damaged: copy it again.") from error


def nifti_problem(path: str | os.PathLike[str], image: Any) -> str:
    """Why a file's voxels have no place in the body or no HU; empty where nothing is wrong."""
    if problem := place_problem(image):
        return problem
    with _opened(os.fspath(path)) as file:
        # nibabel forgets the factor of an image that it has read.
        factors = type(image.header).from_fileobj(file, check=False)
    slope, intercept = float(factors["scl_slope"]), float(factors["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        return f"its scale factor is {slope:g} and its intercept {intercept:g}, which are no numbers to scale with."
    return ""


def place_problem(image: Any) -> str:
    """Why the voxels of an image, in a file or in memory, have no place in the body; empty where they have one."""
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:  # nibabel makes an affine up
        return "it has neither sform nor qform, so that its orientation is not known: set one."
    return ""


def nifti_notes(image: Any) -> list[str]:
    """What a user should know: qform and sform that name different places."""
    header = image.header
    if int(header["sform_code"]) == 0 or int(header["qform_code"]) == 0:
        return []
    apart = corner_distance(header.get_sform(), header.get_qform(), image.shape[:3])
    return [f"qform and sform differ by {apart:.3g} mm, sform used"] if apart > SAME_PLACE else []

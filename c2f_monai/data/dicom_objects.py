# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a DICOM file without slices is, by its SOP class: an object that is left out, or an image that is damaged."""

from __future__ import annotations

import os
import re

__all__ = ["UID", "object_name", "sop_class_of"]

#: How UIDs of DICOM are written.
UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_ROOT = "1.2.840.10008."
#: Beginnings of SOP classes without slices, after DICOM's root; of these a file is no image, whatever it begins with.
_OBJECTS = {
    "1.3.10": "a DICOMDIR",
    "5.1.4.1.1.481.2": "an RT dose",
    "5.1.4.1.1.481": "an RT structure set or plan",
    "5.1.4.1.1.4.2": "a spectrum",
    "5.1.4.1.1.9": "a waveform",
    "5.1.4.1.1.88": "a structured report",
    "5.1.4.1.1.11": "a presentation state",
    "5.1.4.1.1.66": "a segmentation or registration",
    "5.1.4.1.1.104": "a document",
    "5.1.4.38": "a hanging protocol",
}
#: Groups of storage classes that hold images, after 5.1.4.1.1: radiography, CT, ultrasound, MR, nuclear medicine,
#: captures, angiography, tomosynthesis, OCT, maps, photographs, PET and those of industry.
_IMAGES = (1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 20, 30, 77, 128, 130, 501, 601)


def sop_class_of(path: str | os.PathLike[str]) -> str:
    """SOP class by a file's own header; empty where there is none, or it is cut off.

    Raises:
        OSError: for a file that cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(1024)
    at = head.find(b"\x02\x00\x02\x00UI", 132)
    if head[128:132] != b"DICM" or at < 0:
        return ""
    begin, length = at + 8, int.from_bytes(head[at + 6 : at + 8], "little")
    uid = head[begin : begin + length]
    found = uid.rstrip(b"\0 ").decode("latin-1")
    # What is left of a cut UID would be another class.
    return found if len(uid) == length and UID.fullmatch(found) else ""


def object_name(sop_class: str) -> str:
    """What a file without an image is; empty for one that should be an image, and so is damaged.

    Args:
        sop_class: see :func:`sop_class_of`.

    Examples:
        >>> object_name("1.2.840.10008.5.1.4.1.1.481.3"), object_name("1.3.12.2.1107.5.9.1")
        ('an RT structure set or plan', 'an object of the SOP class 1.3.12.2.1107.5.9.1')
        >>> object_name("1.2.840.10008.5.1.4.1.1.2"), object_name("")
        ('', '')
    """
    known = [what for begin, what in _OBJECTS.items() if _begins(sop_class, begin)]
    if known:
        return known[0]
    is_image = any(_begins(sop_class, f"5.1.4.1.1.{group}") for group in _IMAGES)
    return "" if is_image or not sop_class else f"an object of the SOP class {sop_class}"


def _begins(sop_class: str, begin: str) -> bool:
    return f"{sop_class}.".startswith(f"{_ROOT}{begin}.")

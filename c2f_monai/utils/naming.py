# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

__all__ = ["IMAGE_SUFFIXES", "case_name", "some_names"]

#: Suffixes of image files; what :data:`c2f_monai.data.READERS` learns to read is added.
IMAGE_SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"]


def case_name(path: str | PurePath) -> str:
    """Name of a case: its file without the suffix of an image, or its folder.

    Args:
        path: image file or DICOM folder. Dots that do not begin a known suffix belong to the name.

    Examples:
        >>> case_name("imagesTs/patient.01.nii.gz"), case_name("scans/series.v2")
        ('patient.01', 'series.v2')
    """
    name = PurePath(path).name
    for suffix in sorted((*IMAGE_SUFFIXES, ".dcm"), key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def some_names(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list in one line, and how many follow."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")

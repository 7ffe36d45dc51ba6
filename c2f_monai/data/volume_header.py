# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The header of a volume that must say where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .nifti_checks import nifti_problem, open_nifti
from .readers import image_header

__all__ = ["checked_header"]


def checked_header(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """What :func:`image_header` gives of a volume whose header says where it lies.

    Raises:
        FileNotFoundError: as :func:`image_header`.
        ValueError: as :func:`image_header`, and for a NIfTI file of neither sform nor qform, or a bad scale factor.
    """
    shape, affine = image_header(path)
    is_nifti = path.is_file() and path.name.lower().endswith((".nii", ".nii.gz"))
    if is_nifti and (problem := nifti_problem(path, open_nifti(path))):
        raise ValueError(f"{path} cannot be used: {problem}")
    return shape, affine

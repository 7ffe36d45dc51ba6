# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a data set holds, read before anything starts: headers of all files and, where asked for, voxels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from ..transforms import UNNAMED_LABELS, check_contrast, check_volume, count_values, label_problem, working_shape
from ..utils import case_name, sha256_of
from .label_header import check_label_header
from .readers import image_header, read_image

__all__ = ["CaseHeader", "CaseVoxels", "find_copies", "read_headers", "read_voxels"]


@dataclass(frozen=True)
class CaseHeader:
    """A case by its headers.

    Attributes:
        name: of the case.
        problem: why training would stop at it; empty for a good case. The rest is empty for an unreadable image.
        shape: voxels along R, A, S.
        spacing: voxel size along R, A, S in mm.
        orientation: of the file, such as LPS.
    """

    name: str
    problem: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""

    def grid(self, pixdim: Sequence[float] | None) -> tuple[int, ...]:
        """Voxels along R, A, S on the working grid of ``pixdim`` mm; None is the file's own."""
        return self.shape if pixdim is None else working_shape(self.shape, self.spacing, pixdim)


def read_headers(cases: Sequence[Mapping[str, Any]]) -> list[CaseHeader]:
    """Read the headers of images and labels; no voxel is read, and no problem stops the survey.

    Args:
        cases: with the path of "image" and, where there is one, of "label".
    """
    return [_read_header(case) for case in cases]


@dataclass(frozen=True)
class CaseVoxels:
    """A labeled case by its voxels.

    Attributes:
        counts: voxels of each label value, background included; empty where the label cannot be read.
        problems: why training would stop at it; none for a good case.
    """

    counts: Mapping[float, int]
    problems: Sequence[str] = ()


def read_voxels(case: Mapping[str, Any], known: Sequence[int] = UNNAMED_LABELS) -> CaseVoxels:
    """Read image and label of a case and apply the checks of training; no problem stops the survey.

    Args:
        case: with the paths of "image" and "label".
        known: values that the label may hold, see :func:`c2f_monai.transforms.label_problem`.
    """
    problems: list[str] = []
    counts: dict[float, int] = {}
    try:
        counts = count_values(read_image(case["label"]))
        if problem := label_problem(counts, known):
            problems.append(f"{case['label']} {problem}")
    except (OSError, ValueError) as error:
        problems.append(str(error))
    try:
        image = read_image(case["image"])
        check_volume(image)
        check_contrast(image)
    except (OSError, ValueError) as error:
        problems.append(str(error))
    return CaseVoxels(counts, problems)


def find_copies(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """Images of one split that another holds under another name: pairs of paths, files of the same bytes.

    Args:
        splits: cases by split, with the path of "image". DICOM folders and files that do not exist are left out.
    """
    by_size: dict[int, list[tuple[str, str]]] = {}
    for split, cases in splits.items():
        for path in (str(case["image"]) for case in cases):
            if os.path.isfile(path):
                by_size.setdefault(os.path.getsize(path), []).append((split, path))
    first: dict[str, tuple[str, str]] = {}
    copies = []
    for split, path in (one for same in by_size.values() if len({s for s, _ in same}) > 1 for one in same):
        known = first.setdefault(sha256_of(path), (split, path))
        if known[0] != split:
            copies.append((known[1], path))
    return copies


def _read_header(case: Mapping[str, Any]) -> CaseHeader:
    name = case_name(str(case["image"]))
    try:
        shape, affine = image_header(case["image"])
    except (OSError, ValueError) as error:
        return CaseHeader(name, str(error))
    # Axes in the order of the world's: the file's axis that runs closest along each.
    order = np.argsort(nib.io_orientation(affine)[:, 0])
    spacing = nib.affines.voxel_sizes(affine)
    return CaseHeader(
        name,
        _label_problem(case, shape, affine),
        tuple(int(shape[axis]) for axis in order),
        tuple(float(spacing[axis]) for axis in order),
        "".join(nib.aff2axcodes(affine)),
    )


def _label_problem(case: Mapping[str, Any], shape: tuple[int, ...], affine: np.ndarray) -> str:
    if "label" not in case:
        return "it has no label"
    try:
        check_label_header(case["label"], case["image"], shape, affine)
    except (OSError, ValueError) as error:
        return str(error)
    return ""

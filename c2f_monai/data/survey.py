# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a data set holds, read before anything starts: headers of all files and, where asked for, label voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from ..transforms import working_shape
from ..utils import case_name
from .readers import image_header, read_image

__all__ = ["CaseHeader", "count_labels", "read_headers"]

#: Largest difference in mm of two affines on the same grid, as ``CheckSameGridd``.
SAME_GRID = 0.1


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


def count_labels(cases: Sequence[Mapping[str, Any]]) -> list[dict[int, int]]:
    """Voxels of each value in the labels, background included; reads the labels' voxels, but no image.

    Raises:
        ValueError: naming a label that cannot be read or holds other values than whole numbers.
    """
    counted = []
    for case in cases:
        values, counts = np.unique(np.asarray(read_image(case["label"])), return_counts=True)
        if not np.array_equal(values, np.rint(values)):
            raise ValueError(f"{case['label']} holds values that are no whole numbers, such as {values[-1]}.")
        counted.append({int(value): int(count) for value, count in zip(values, counts, strict=True)})
    return counted


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
        label_shape, label_affine = image_header(case["label"])
    except (OSError, ValueError) as error:
        return str(error)
    if label_shape != shape:
        return f"{case['label']} has the shape {label_shape}, its image {shape}"
    apart = float(np.abs(label_affine - affine).max())
    return f"{case['label']} has an affine that differs by {apart:.3g} mm from its image's" if apart > SAME_GRID else ""

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Hard negatives: parts of volumes that show nothing of the target, as cases with an empty label."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Orientation, ResizeWithPadOrCrop
from tqdm import tqdm

from ..transforms import axes_angles, check_volume
from ..transforms.upright import MAX_TURN
from ..utils import case_name
from .gray_levels import AIR_HU
from .readers import read_image
from .tables import spelling_key, table_rows
from .volume_header import checked_header
from .writers import write_nifti

__all__ = ["NEGATIVE_COLUMNS", "Negative", "check_voxels", "read_negatives", "write_negative"]

logger = logging.getLogger(__name__)

#: Columns that a table of negatives must have: a volume, relative to the table, and the range of its slices.
NEGATIVE_COLUMNS = ("file", "first", "last")


@dataclass(frozen=True)
class Negative:
    """Axial slices of a volume that show nothing of the target.

    Attributes:
        name: of the case: ``negative_``, the file's name, and the range unless it is the whole volume.
        file: the volume.
        first: slice, counted from the feet in RAS orientation, from 0.
        last: the slice after the last one.
    """

    name: str
    file: Path
    first: int
    last: int


def read_negatives(path: str | os.PathLike[str]) -> list[Negative]:
    """Rows of a table of negatives, checked against the headers of the volumes.

    Args:
        path: table (CSV) with the columns of :data:`NEGATIVE_COLUMNS`. A blank ``first`` is 0, a blank ``last`` the
            number of slices.

    Raises:
        FileNotFoundError: when the table or a volume does not exist.
        ValueError: for a file that is no table, missing columns or cells, no rows, a volume that cannot be read, whose
            orientation is not known or far from the body's, a range that is empty or outside of its volume, or two rows
            of the same name.
    """
    found: dict[str, Negative] = {}
    for _, row in table_rows(path, NEGATIVE_COLUMNS, may_be_blank=("first", "last")):
        negative = _read_row(row, Path(path))
        other = found.setdefault(spelling_key(negative.name), negative)
        if other is not negative:
            raise ValueError(
                f"{path}: two rows would be the case {negative.name}, of {other.file} and {negative.file}; give each "
                "file a name of its own."
            )
    return list(found.values())


def check_voxels(files: Sequence[Path], progress: bool = True) -> None:
    """Refuse volumes that are no CT in HU, see :func:`c2f_monai.transforms.check_volume`, whose notes are logged.

    Args:
        files: of the volumes; one that is listed several times is read once.
        progress: show a bar. Defaults to True.

    Raises:
        ValueError: when one cannot be read, or for voxels that are NaN, infinite or no HU.
    """
    for file in tqdm(dict.fromkeys(files), desc="checks", unit="volume", disable=not (progress and files)):
        for note in check_volume(read_image(file)):
            logger.warning(f"{file}: {note}")


def write_negative(
    negative: Negative, folder: Path, spacing: float, canvas: Sequence[int], affine: np.ndarray
) -> dict[str, str | None]:
    """Write slices of a volume on the pixels of stacks of single slices, and an empty label.

    Args:
        negative: the slices.
        folder: of the data set, which gets ``images/<name>.nii.gz`` (int16 HU) and ``labels/<name>.nii.gz`` (uint8).
        spacing: pixel size of the stacks in mm; averaged over where it is larger than the volume's.
        canvas: (columns, rows) of the stacks. The volume is cut or filled up with air around its middle.
        affine: (4, 4) that the stacks state: columns run to the left, rows to the back, slices up.

    Returns:
        entry of ``training`` whose fold is null.
    """
    volume: Any = Orientation(axcodes="RAS", labels=None)(read_image(negative.file))
    x, y, _ = volume.pixdim.tolist()
    size = (round(volume.shape[1] * x / spacing), round(volume.shape[2] * y / spacing))
    slices = volume.as_tensor()[..., negative.first : negative.last].permute(0, 3, 1, 2)  # (1, D, H, W)
    resampled = torch.nn.functional.interpolate(slices, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    placed = ResizeWithPadOrCrop((*canvas, -1), constant_values=AIR_HU)(resampled).numpy()[0, ::-1, ::-1]
    limits = np.iinfo(np.int16)
    image = np.clip(np.rint(placed), limits.min, limits.max).astype(np.int16)
    paths = {key: folder / f"{key}s" / f"{negative.name}.nii.gz" for key in ("image", "label")}
    write_nifti(paths["image"], image, affine)
    write_nifti(paths["label"], np.zeros(image.shape, np.uint8), affine)
    return {**{key: str(path) for key, path in paths.items()}, "fold": None}


def _read_row(row: dict[str, str], table: Path) -> Negative:
    file = table.parent / row["file"]
    if not file.exists():
        raise FileNotFoundError(f"{table} lists {row['file']}, but there is no {file}.")
    shape, affine = checked_header(file)
    _check_axial(file, affine)
    up = int(np.argmax(nib.orientations.io_orientation(affine)[:, 0] == 2))
    first, last = _range_of(row, shape[up], table)
    part = f"_{first}_{last}" if row["first"] or row["last"] else ""
    return Negative(f"negative_{case_name(file)}{part}", file, first, last)


def _check_axial(file: Path, affine: np.ndarray) -> None:
    """Refuse a volume none of whose slices is axial."""
    turn, _ = axes_angles(affine)
    if turn > MAX_TURN:
        raise ValueError(
            f"{file} has axes turned by {turn:.0f} degrees, so that none of its slices is axial (up to {MAX_TURN:g} "
            "are taken for it): resample it along the body's axes, or leave it out."
        )


def _range_of(row: dict[str, str], depth: int, table: Path) -> tuple[int, int]:
    """``first`` and ``last`` of a row of a volume with ``depth`` slices."""
    texts = [row[column] or str(default) for column, default in (("first", 0), ("last", depth))]
    if not (all(text.isdecimal() for text in texts) and 0 <= int(texts[0]) < int(texts[1]) <= depth):
        raise ValueError(
            f"{table}: first and last of {row['file']} must be a range within its {depth} slices, such as 0 and "
            f"{depth}, got {row['first']!r} and {row['last']!r}."
        )
    return int(texts[0]), int(texts[1])

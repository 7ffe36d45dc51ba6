# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of single slices and their masks: what they must be, told before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..utils import reason_of, some_names

__all__ = ["check_pictures", "read_mask", "read_picture"]


def read_picture(path: Path) -> np.ndarray:
    """(H, W) uint8 of a slice.

    Raises:
        ValueError: when it cannot be read, or is no 8-bit gray picture.
    """
    return _gray(path, {"L": "8-bit gray"})


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 of a mask: 1 in the target, 0 elsewhere.

    Raises:
        ValueError: when it cannot be read, is no 8-bit gray or 1-bit picture, or holds other values than 0 and one
            more: a mask saved as JPEG, or a CT, whose every gray would be target.
    """
    gray = _gray(path, {"L": "8-bit gray", "1": "1-bit"})
    values = np.flatnonzero(np.bincount(gray.ravel())).tolist()
    if values[0] != 0 or len(values) > 2:
        raise ValueError(
            f"{path} holds {len(values)} gray values ({some_names([str(value) for value in values])}), but a mask has "
            "0 and one other: save it without loss, as PNG is, of one structure; a CT is no mask."
        )
    mask: np.ndarray = (gray > 0).astype(np.uint8)
    return mask


def check_pictures(
    patients: Mapping[str, Sequence[Mapping[str, str]]], images: Path, masks: Path, progress: bool = True
) -> None:
    """Refuse pictures and masks that stacks cannot be made of; all of them are read.

    Args:
        patients: rows of an index by patient, see :func:`c2f_monai.data.slices.read_index`.
        images: folder of pictures.
        masks: folder of masks.
        progress: show a bar. Defaults to True.

    Raises:
        FileNotFoundError: when a picture or a mask does not exist.
        ValueError: when a picture is its own mask or is listed twice, when one cannot be read or is of another type,
            or when shapes differ within a patient.
    """
    _check_files(patients, images, masks)
    for patient, rows in tqdm(patients.items(), desc="checks", unit="patient", disable=not progress):
        shapes = {
            read(folder / row["file"]).shape
            for row in rows
            for folder, read in ((images, read_picture), (masks, read_mask))
        }
        if len(shapes) > 1:
            raise ValueError(f"the pictures of patient {patient} have different shapes: {sorted(shapes)}.")


def _check_files(patients: Mapping[str, Sequence[Mapping[str, str]]], images: Path, masks: Path) -> None:
    seen: dict[tuple[int, int], str] = {}
    for patient, rows in patients.items():
        for row in rows:
            picture, mask = images / row["file"], masks / row["file"]
            for path in (picture, mask):
                if not path.is_file():
                    raise FileNotFoundError(f"the index lists {row['file']}, but there is no {path}.")
            if os.path.samefile(picture, mask):
                raise ValueError(
                    f"{picture} would be both the picture and the mask of {row['file']}: give --images and --masks "
                    "folders of their own, and in the index file names within them."
                )
            state, place = picture.stat(), f"{row['file']} (patient {patient}, z_index0 {row['z_index0']})"
            # Not by its name: ./a.png and a link to a.png are the same picture.
            if other := seen.get((state.st_dev, state.st_ino)):
                raise ValueError(
                    f"the index lists one picture in two rows, {other} and {place}: leave the wrong one out."
                )
            seen[state.st_dev, state.st_ino] = place


def _gray(path: Path, modes: Mapping[str, str]) -> np.ndarray:
    """(H, W) uint8 of a picture of one of Pillow's modes, given with their names."""
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            # Of another mode the header is enough.
            gray = np.asarray(picture.convert("L")) if mode in modes else None
    except Exception as error:  # Pillow's decoders raise whatever they do
        reason = reason_of(error).rstrip(".")
        raise ValueError(
            f"{path} cannot be read as a picture: {reason}; copy it again, or leave its row out."
        ) from None
    if gray is None:
        raise ValueError(f"{path} must be an {' or '.join(modes.values())} picture, but its mode is {mode}.")
    return gray

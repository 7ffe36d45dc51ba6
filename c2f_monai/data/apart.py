# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Splits of a data set that have nothing in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import some_names
from .patients import PATIENT

__all__ = ["check_apart"]


def check_apart(splits: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path, path: Path) -> None:
    """Refuse images and patients that are trained on and tested, or validated: their scores would say nothing.

    Args:
        splits: entries by split. A share of "training" may become the validation, so that it holds an image once.
        folder: that images are relative to.
        path: of the description, for errors.

    Raises:
        ValueError: for a case or patient of two splits, or a case that "training" has twice.
    """
    images = {split: [_place(entry, folder) for entry in entries] for split, entries in splits.items()}
    if twice := sorted(image for image, count in Counter(images.get("training", ())).items() if count > 1):
        raise ValueError(f"{path} lists {some_names(twice)} several times under training: leave one of them.")
    patients = {
        split: [str(entry[PATIENT]) for entry in entries if entry.get(PATIENT) is not None]
        for split, entries in splits.items()
    }
    for what, kind, named in (("", "cases", images), ("scans of the patients ", "patients", patients)):
        for split in ("test", "validation"):
            if shared := sorted({*named.get("training", ())} & {*named.get(split, ())}):
                raise ValueError(
                    f"{path} lists {what}{some_names(shared)} under training and under {split!r}: "
                    f"take {len(shared)} {kind} out of one of them."
                )


def _place(entry: Mapping[str, Any], folder: Path) -> str:
    """One name for all of a file's, also by links."""
    return os.path.realpath(folder / str(entry["image"]))

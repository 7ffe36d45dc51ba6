# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where masks may be written: not over what they are made or scored from, nor over another's work."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import sha256_of
from .entries import is_same, source_of
from .journal import Entry
from .writers import made_here

__all__ = ["check_mask_places", "check_tables", "check_untouched", "mask_digest"]

#: Tables that runs write beside masks, one of each for several targets.
_TABLES = ("cases.csv", "cases_*.csv", "summary.json", "summary_*.json")
#: What a case reads, and how an error calls it.
_READ = {"image": "an image to segment", "label": "a label to score with"}


def check_mask_places(
    mask_of: Callable[[str], Path], overwrite: bool, cases: Sequence[Mapping[str, Any]], known: Mapping[str, Entry]
) -> None:
    """Refuse places of masks that are taken.

    Args:
        mask_of: place of a case's mask, by its name.
        overwrite: replace files that are in the way; never an image or label of a case.
        cases: each with its "image", its name "case" and, in a labeled data set, its "label".
        known: entries of the folder's manifest by case.

    Raises:
        ValueError: where a mask would take the place of an image, a label, a folder, or the mask of another image.
        FileExistsError: where a file that no run made is in the way.
    """
    read = {os.path.realpath(case[key]): what for case in cases for key, what in _READ.items() if case.get(key)}
    for case in cases:
        mask, entry = mask_of(case["case"]), known.get(case["case"])
        if what := read.get(os.path.realpath(mask)):
            raise ValueError(f"{mask} is {what}: write to another folder.")
        if mask.is_dir():
            raise ValueError(f"{mask} is a folder, but a mask is to be written: write to another folder.")
        if overwrite or not mask.exists():
            continue
        if entry is None and not made_here(mask):
            raise FileExistsError(
                f"{mask} exists and no run in this folder made it: write to another folder, or give overwrite."
            )
        if entry is not None and entry.get("image") != source_of(case) and not _is_moved(case, entry):
            raise ValueError(
                f"{mask} belongs to {entry.get('image')}, not to {source_of(case)}: write to another folder, or "
                "give overwrite."
            )


def _is_moved(case: Mapping[str, Any], entry: Entry) -> bool:
    """Whether a case's files are those of its entry at another place: by size and time, and where both are there by
    content. Files of one shape have one size, and many programs set times.
    """
    before, now = Path(str(entry.get("image"))), Path(source_of(case))
    both = before.is_file() and now.is_file()
    return is_same(case, entry) and not (both and not filecmp.cmp(before, now, shallow=False))


def check_untouched(
    mask_of: Callable[[str], Path], cases: Sequence[Mapping[str, Any]], known: Mapping[str, Entry]
) -> None:
    """Refuse cases that are to be done again, and whose masks were changed since they were done: by hand, perhaps.

    Args:
        mask_of: place of a case's mask, by its name.
        cases: that are to be done.
        known: entries of the folder's manifest by case.

    Raises:
        ValueError: naming the first mask.
    """
    for case in cases:
        mask, entry = mask_of(case["case"]), known.get(case["case"])
        if entry is None or not mask.is_file():
            continue
        noted = entry.get("mask")
        if mask_digest(mask) != noted if noted else not made_here(mask):
            raise ValueError(
                f"{mask} was changed since a run made it, and would be replaced: move it, write to another folder, or "
                "give overwrite."
            )


def mask_digest(mask: Path) -> str:
    """By which a mask that was changed is known."""
    return sha256_of(mask)[:12]


def check_tables(folder: Path) -> None:
    """Refuse a folder without a manifest that has tables: whoever wrote them, it was no run in this folder.

    Raises:
        FileExistsError: naming the first of them.
    """
    if found := sorted(path for pattern in _TABLES for path in folder.glob(pattern)):
        raise FileExistsError(
            f"{found[0]} exists and no run in this folder wrote it: move it, or write to another folder."
        )

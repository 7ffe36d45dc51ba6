# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a converted case of NIH Pancreas-CT and its record: what it was made from, and that a run made it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils import atomic_write, sha256_of
from .datalist import cases_by_split
from .dicom import series_files

__all__ = ["begin_record", "check_files", "earlier_record", "files_of", "stamp_of", "write_record"]

_RECORD_VERSION = 3


def files_of(name: str) -> dict[str, str]:
    """Image and label of a case, below the folder of the data set."""
    return {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"}


def check_files(target: Path, names: Iterable[str]) -> None:
    """Refuse files in the places of cases that no run wrote; asked before anything is written.

    A run's own have a record, which is begun before they are written, or are listed in ``dataset.json``.

    Args:
        target: folder of the data set.
        names: of the cases.

    Raises:
        FileExistsError: naming the first of them.
    """
    known = cases_by_split(target)["training"] if (target / "dataset.json").is_file() else []
    listed = {case["image"] for case in known}
    for name in names:
        places = {key: target / file for key, file in files_of(name).items()}
        if _record(target, name).is_file() or str(places["image"]) in listed:
            continue
        for place in places.values():
            if os.path.lexists(place):
                raise FileExistsError(
                    f"{place} is in the place of a result, and no run of prepare nih wrote it: move it, or choose "
                    "another --output."
                )


def stamp_of(place: Path, folder: Path, label: Path) -> dict[str, Any]:
    """What a case was made from, by content: no dates, so that two runs write the same.

    Sizes alone would miss another label: unpacked, all of a shape have the same.

    Args:
        place: folder of the download.
        folder: of the series.
        label: file of the label.

    Raises:
        ValueError: when a file cannot be read.
    """
    files = series_files(folder)
    try:
        slices = hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
        return {
            "series": folder.relative_to(place).as_posix(),
            "files": len(files),
            "sha256": slices,
            "label": label.relative_to(place).as_posix(),
            "label_sha256": sha256_of(label),
        }
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error


def earlier_record(target: Path, name: str, stamp: Mapping[str, Any]) -> dict[str, Any] | None:
    """Record of a case that an earlier run wrote, whole and from the same files."""
    if not all((target / path).is_file() for path in files_of(name).values()):
        return None
    try:
        record = json.loads(_record(target, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(record, dict) and (record.get("version"), record.get("source")) == (_RECORD_VERSION, stamp)
    return record if whole else None


def begin_record(target: Path, name: str) -> None:
    """Note that files of a case are about to be written, in place of an older record, which is not theirs."""
    _write(target, name, {"version": _RECORD_VERSION})


def write_record(target: Path, name: str, stamp: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Note that a case is whole.

    Args:
        target: folder of the data set.
        name: of the case.
        stamp: see :func:`stamp_of`.
        found: what is known of it beside.

    Returns:
        the record.
    """
    record = {"version": _RECORD_VERSION, "source": dict(stamp), **found}
    _write(target, name, record)
    return record


def _record(target: Path, name: str) -> Path:
    return target / "cases" / f"{name}.json"


def _write(target: Path, name: str, record: Mapping[str, Any]) -> None:
    with atomic_write(_record(target, name)) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

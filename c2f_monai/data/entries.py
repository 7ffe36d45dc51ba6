# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a manifest notes: the options of a run; of a case its image, its files' size and time, its status, its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..utils import Status, check_weights_file, package_version, sha256_of
from .journal import Entry

__all__ = ["entry_of", "fingerprint", "is_same", "options_of", "plain", "row_of", "source_of"]


def options_of(options: Mapping[str, Any], weights: str | Mapping[str, str] | None) -> dict[str, Any]:
    """What answers depend on, as a file of JSON has it: the options, the version and the hashes of the weights.

    Args:
        options: by the name that users give them.
        weights: a file, or files by name.

    Raises:
        FileNotFoundError: without a file of weights.
    """
    files = {"": weights} if isinstance(weights, str) else dict(weights or {})
    for path in files.values():
        check_weights_file(path)
    digests = {f"weights {name}".strip(): sha256_of(path)[:12] for name, path in sorted(files.items())}
    noted = {"version": package_version(), **options, **digests}
    found: dict[str, Any] = json.loads(json.dumps(noted, default=str))
    return found


def source_of(case: Mapping[str, Any]) -> str:
    """What the user has of an image: the zip that it was unpacked from, or itself."""
    return str(case.get("source", case["image"]))


def entry_of(case: Mapping[str, Any]) -> Entry:
    """The entry of a case that waits or, with its reason, of one that is left out."""
    entry = {"image": source_of(case), "status": Status.PENDING, **fingerprint(case)}
    return entry | {"status": Status.SKIPPED, "reason": case["skipped"]} if "skipped" in case else entry


def fingerprint(case: Mapping[str, Any]) -> Entry:
    """Size in bytes and times of the last change of a case's files, those of a folder and of a label added up.

    A sum, as the latest of them alone would hide a file that one with an earlier time has taken the place of.
    """
    size, time = 0, 0
    for place in (case.get("archive", case["image"]), case.get("label")):
        path = Path(str(place))
        path = path if path.exists() else path.parent  # a series in a folder of several
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if place is not None and file.is_file():
                status = file.stat()
                size, time = size + status.st_size, time + status.st_mtime_ns
    return {"size": size, "time": time}


def is_same(case: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether a case's files are those that its entry was made of."""
    return all(entry.get(key) == value for key, value in fingerprint(case).items())


def row_of(name: str, entry: Entry, target: str) -> dict[str, Any]:
    """Row of a table: "case", "status", "reason", and what the case has for the target."""
    row = {"case": name, "status": str(entry["status"]), "reason": entry.get("reason", "")}
    return row | {key: value for key, value in entry.get("rows", {}).get(target, {}).items() if key != "case"}


def plain(value: Any) -> Any:
    """A number of NumPy's or torch's as Python's, which JSON takes."""
    return value.item() if hasattr(value, "item") else value

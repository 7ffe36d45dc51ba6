# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a folder holds to segment, searched in depth; what is left out has a reason."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..utils import some_names
from .dicom_files import scan_folder, series_files
from .readers import is_image_file
from .writers import made_here

__all__ = ["FoundImages", "find_images"]

logger = logging.getLogger(__name__)


@dataclass
class FoundImages:
    """Images, series and what is neither.

    Attributes:
        images: files, folders of a DICOM series, and folder/SeriesInstanceUID where a folder holds several.
        left_out: what looks like an image and is none, and why.
        masks: files that this package made.
        others: files of other kinds.
    """

    images: list[Path] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)
    masks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def find_images(folder: Path) -> FoundImages:
    """Search a folder and its folders, in the order of names.

    Links to files are followed, and links to folders where they lead out of the searched one. Hidden files, pairs of
    .hdr and .img and DICOM files without slices are left out.
    """
    found = FoundImages()
    _search(folder, folder.resolve(), {folder.resolve()}, found)
    found.images.sort()
    for paths, what in ((found.masks, "masks of earlier runs"), (found.others, "files that are no images")):
        if paths:
            logger.info(f"{len(paths)} {what} left out: {some_names([path.name for path in paths])}")
    return found


def _search(folder: Path, root: Path, seen: set[Path], found: FoundImages) -> None:
    try:
        entries = sorted(folder.iterdir())
        slices = set(series_files(folder))
    except OSError as error:
        found.left_out[folder] = f"the folder cannot be searched: {error.strerror}"
        return
    if slices:
        _add_series(folder, found)
    for entry in entries:
        if entry in slices:
            continue
        if reason := _reason_to_leave(entry, root, seen):
            found.left_out[entry] = reason
        elif _is_hidden(entry):
            found.others.append(entry)
        elif entry.is_dir():
            seen.add(entry.resolve())
            _search(entry, root, seen, found)
        elif not is_image_file(entry):
            found.others.append(entry)
        else:
            (found.masks if made_here(entry) else found.images).append(entry)


def _add_series(folder: Path, found: FoundImages) -> None:
    scan = scan_folder(folder)
    cases = scan.cases()
    if len(cases) > 1:
        found.images += [folder / series.uid for series in cases]
    elif cases or scan.broken:
        found.images.append(folder)
    found.left_out.update(scan.left_out())


def _is_hidden(entry: Path) -> bool:
    # macOS adds the second to archives.
    return entry.name.startswith((".", "__MACOSX"))


def _reason_to_leave(entry: Path, root: Path, seen: set[Path]) -> str:
    """Why what looks like an image or a folder of them is passed over; empty for what is not."""
    if entry.is_symlink() and not entry.exists():
        return "a link to nothing"
    if _is_hidden(entry):
        looks = entry.name != "__MACOSX" and (entry.is_dir() or is_image_file(entry.name.lstrip("._")))
        return f"hidden: {'its files are not looked for' if entry.is_dir() else 'rename it'}" if looks else ""
    if entry.is_dir() and entry.is_symlink():
        target = entry.resolve()
        inside = target.is_relative_to(root) or root.is_relative_to(target) or target in seen
        return f"a link to {os.readlink(entry)}, which is searched itself" if inside else ""
    if entry.suffix.lower() == ".img" and any(entry.with_suffix(suffix).is_file() for suffix in (".hdr", ".HDR")):
        return "a pair of .hdr and .img, which is not read: convert it to NIfTI"
    return ""

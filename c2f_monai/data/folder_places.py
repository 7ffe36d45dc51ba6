# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where results of ``prepare folders`` go: not over what is read, another data set, or files that no run wrote."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..utils import case_name
from .datalist import cases_by_split
from .folder_pairs import FolderCases
from .nifti_checks import open_nifti
from .tables import spelling_key
from .writers import MADE_BY

__all__ = ["JOINED", "FolderPlaces", "check_places", "places_of"]

#: What the header of a label map says that was joined from masks; unlike a mask of a model it is not replaced by one.
JOINED = f"masks joined by {MADE_BY}"


@dataclass(frozen=True)
class FolderPlaces:
    """Places of what is written, by case.

    Attributes:
        labels: of label maps that are joined from masks.
        images: of links to images that are all called the same.
    """

    labels: Mapping[str, Path]
    images: Mapping[str, Path]


def places_of(cases: FolderCases, target: Path) -> FolderPlaces:
    """Where results of the cases go in the folder of the data set."""
    masks = [case for case, label in cases.labels.items() if isinstance(label, dict)]
    same = len({case_name(path) for path in cases.images.values()}) < len(cases.images)
    suffixes = {case: cases.images[case].name[len(case_name(cases.images[case])) :] for case in cases.labels}
    return FolderPlaces(
        {case: target / "labels" / f"{case}.nii.gz" for case in masks},
        {case: target / "images" / f"{case}{suffix}" for case, suffix in suffixes.items()} if same else {},
    )


def check_places(cases: FolderCases, places: FolderPlaces, target: Path) -> None:
    """Refuse places that are taken, before anything is written.

    Args:
        cases: that were found.
        places: of their results.
        target: folder of the data set.

    Raises:
        FileExistsError: when the folder describes a data set of other images, or a file that no run wrote is in a
            place.
        ValueError: when a place is beside what is read, or two places are one on some disk.
    """
    _check_read(cases, places, target)
    _check_spelling([*places.labels, *places.images])
    known = cases_by_split(target)["training"] if (target / "dataset.json").is_file() else []
    _check_same_images([case["image"] for case in known], cases, places, target)
    listed = {case[key] for case in known for key in ("image", "label") if key in case}
    taken = [place for place in places.labels.values() if not _is_free_for_label(place, str(place) in listed)]
    taken += [
        place for case, place in places.images.items() if not _is_free_for_link(place, cases.images[case], listed)
    ]
    if taken:
        raise FileExistsError(
            f"{taken[0]} is in the place of a result, and no run of prepare folders wrote it: move it, or choose "
            "another --output."
        )


def _check_read(cases: FolderCases, places: FolderPlaces, target: Path) -> None:
    """Refuse to write beside what is read: the next run would take results for label maps and images of the user."""
    masks = [path for label in cases.labels.values() if isinstance(label, dict) for path in label.values()]
    images = [cases.images[case] for case in places.images]
    for folder, read in ((target / "labels", masks), (target / "images", images)):
        for path in read:
            if path.parent.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"results would be written to {folder}, but {path} is read there: give another one.")


def _check_spelling(cases: Collection[str]) -> None:
    """Refuse two cases whose results would be one file where a disk takes C1 for c1."""
    seen: dict[str, str] = {}
    for case in cases:
        if (other := seen.setdefault(spelling_key(case), case)) != case:
            raise ValueError(
                f"the cases {other!a} and {case!a} differ in upper and lower case or in how accents are stored alone: "
                "their results would be one file on some disks; rename one."
            )


def _check_same_images(images: Collection[str], cases: FolderCases, places: FolderPlaces, target: Path) -> None:
    """Refuse a data set none of whose images is given now: it only has the same name, by default the folder's."""
    read = {os.path.realpath(path) for path in cases.images.values()}
    # Copies, where no links can be made, do not tell what they are of; nor do links that were taken away.
    read |= {os.path.realpath(place) for place in places.images.values() if not place.is_symlink()}
    if images and not any(os.path.realpath(image) in read for image in images):
        raise FileExistsError(
            f"{target / 'dataset.json'} describes a data set of other images, such as {next(iter(images))}: choose "
            "another --output, or remove the file."
        )


def _is_free_for_label(place: Path, listed: bool) -> bool:
    """Whether nothing is there, or a label map that a run joined: by its header.

    Earlier versions left the header's text blank. Their files are known by the data set that lists them, which may list
    label maps of the user there, too, and by units of mm without any of time, as few other programs write them.
    """
    if not os.path.lexists(place):
        return True
    try:
        header = open_nifti(place).header
        text = bytes(header["descrip"]).rstrip(b"\0").decode("latin-1")
        ours = text == JOINED or (listed and not text and header.get_xyzt_units() == ("mm", "unknown"))
        return bool(ours and not place.is_symlink())  # no run writes a link there
    except Exception:  # of another kind, or broken
        return False


def _is_free_for_link(place: Path, image: Path, listed: Collection[str]) -> bool:
    """Whether nothing is there, a link that a run made, or the image itself: the same file, or a copy of it."""
    if not os.path.lexists(place) or (place.is_symlink() and str(place) in listed):
        return True
    return place.is_file() and (os.path.samefile(place, image) or filecmp.cmp(place, image, shallow=False))

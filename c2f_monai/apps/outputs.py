# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where ``segment`` writes: checked for all cases before the first is segmented."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
from PIL import Image

from ..utils import atomic_write, case_name
from .segmenter import Segmentation

__all__ = [
    "MADE_BY",
    "OUTPUT_TYPES",
    "Job",
    "OutputType",
    "check_places",
    "description_of",
    "is_one_file",
    "made_here",
    "plan_jobs",
    "write_json",
]

#: What files of the command carry: the header of a NIfTI file, the key of a JSON object, the software of a picture.
MADE_BY = "c2f_monai"


@dataclass(frozen=True)
class OutputType:
    """A form of masks.

    Attributes:
        suffixes: of its files, the usual one first.
        write: writes a result of an image (a file or folder) to a path, with a description.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Segmentation, Path, Path, str], None]


def _write_nifti(result: Segmentation, image: Path, path: Path, description: str) -> None:
    result.save(path, description)


#: Forms of masks by their name on the command line.
OUTPUT_TYPES: dict[str, OutputType] = {"nifti": OutputType((".nii.gz", ".nii"), _write_nifti)}


@dataclass(frozen=True)
class Job:
    """An image and what is written of it; None what is not asked for."""

    name: str
    image: Path
    mask: Path
    preview: Path | None = None
    probabilities: Path | None = None

    def files(self) -> Iterator[Path]:
        """All files of the case."""
        yield from (path for path in (self.mask, self.preview, self.probabilities) if path is not None)


def plan_jobs(
    images: Sequence[Path],
    output: Path,
    suffixes: Sequence[str],
    preview: Path | None = None,
    probabilities: Path | None = None,
) -> list[Job]:
    """The files of each image.

    Args:
        images: files and folders.
        output: a file of one image, else a folder.
        suffixes: of masks.
        preview: likewise, of pictures.
        probabilities: likewise.

    Raises:
        ValueError: for a file where there are several images, one of another suffix, or a place in a series.

    Examples:
        >>> [job.mask.as_posix() for job in plan_jobs([Path("a.nii"), Path("b.mha")], Path("masks"), [".nii.gz"])]
        ['masks/a_seg.nii.gz', 'masks/b_seg.nii.gz']
    """
    names = [case_name(image) for image in images]
    if inside := [image for image in images if image.is_dir() and output.absolute().is_relative_to(image.absolute())]:
        raise ValueError(f"{output} lies in the series {inside[0]}, which would be another one then: write elsewhere.")
    masks = _places(names, output, suffixes, "seg")
    none: list[Path | None] = [None] * len(names)
    pictures = none if preview is None else _places(names, preview, (".png",), "preview")
    maps = none if probabilities is None else _places(names, probabilities, (".nii.gz", ".nii"), "probability")
    return [Job(*columns) for columns in zip(names, images, masks, pictures, maps, strict=True)]


def is_one_file(given: Path, suffixes: Sequence[str]) -> bool:
    """Whether a place is a file's, and not a folder's."""
    return given.name.lower().endswith(tuple(suffixes)) and not given.is_dir()


def _places(names: Sequence[str], given: Path, suffixes: Sequence[str], ending: str) -> list[Path]:
    is_file = is_one_file(given, suffixes)
    if is_file and len(names) > 1:
        raise ValueError(f"{given} is one file, but there are {len(names)} images: give a folder.")
    if is_file:
        return [given]
    if len(names) == 1 and given.suffix and not given.is_dir():
        raise ValueError(f"{given} must end in {' or '.join(suffixes)}, or be a folder.")
    return [given / f"{name}_{ending}{suffixes[0]}" for name in names]


def check_places(jobs: Sequence[Job], further: Sequence[Path], overwrite: bool) -> None:
    """Refuse places that cannot be written to, or hold something else.

    Args:
        jobs: all cases.
        further: files beside theirs.
        overwrite: replace files that were not written by the command; never an image.

    Raises:
        ValueError: for an image, a folder in the place of a file, two results in one place.
        FileExistsError: for a file that the command did not write.
        PermissionError: for a folder that cannot be written to.
    """
    paths = [path for job in jobs for path in job.files()] + list(further)
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise ValueError(f"{twice[0]} would hold two results: give each a place of its own.")
    images = {job.image.resolve() for job in jobs}
    for path in paths:
        if path.resolve() in images:
            raise ValueError(f"{path} is an image to segment: write to another place.")
        if path.is_dir():
            raise ValueError(f"{path} is a folder, but a file is to be written.")
        if path.exists() and not overwrite and not made_here(path):
            raise FileExistsError(f"{path} exists and was not written by c2f: give --overwrite, or another place.")
    for folder in {path.absolute().parent for path in paths}:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise PermissionError(f"{folder} cannot be written to.")


def made_here(path: Path) -> bool:
    """Whether the command wrote a file."""
    return description_of(path).startswith(MADE_BY)


def description_of(path: Path) -> str:
    """What a NIfTI file, JSON object or picture says of the program that made it; empty where it says nothing."""
    try:
        if path.suffix == ".json":
            return MADE_BY if MADE_BY in json.loads(path.read_text(encoding="utf-8")) else ""
        if path.suffix == ".png":
            with Image.open(path) as picture:
                return str(picture.info.get("Software", ""))
        header: Any = nib.load(path).header
        return bytes(header["descrip"]).rstrip(b"\0").decode("latin-1")
    except Exception:  # of another kind, or broken: not ours
        return ""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where ``segment`` writes: checked for all cases before the first is segmented."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..data.readers import is_image_file
from ..data.writers import MADE_BY, MaskOrigin
from ..data.writers import made_here as is_mask_made_here
from ..utils import atomic_write

if TYPE_CHECKING:
    from .segmentation import Segmentation

__all__ = [
    "MADE_BY",
    "OUTPUT_TYPES",
    "Job",
    "OutputType",
    "check_places",
    "check_type",
    "is_one_file",
    "made_here",
    "plan_jobs",
    "write_json",
]


@dataclass(frozen=True)
class OutputType:
    """A form of masks.

    Attributes:
        suffixes: of its files, the usual one first.
        write: writes a result of an image (a file or folder) to a path, and what it was made by.
        problem: why it cannot be written for an image, by its headers; empty where it can.
        check: refuses values of masks that it cannot write, before the first one is made.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Segmentation, Path, Path, MaskOrigin], None]
    problem: Callable[[Path], str] = lambda image: ""
    check: Callable[[Iterable[int], MaskOrigin], None] = lambda values, origin: None


def _write_nifti(result: Segmentation, image: Path, path: Path, origin: MaskOrigin) -> None:
    result.save(path, origin.description)


# The packages of the extra dicom are imported where they are asked for: they take a second, and need not be there.
def _write_seg(result: Segmentation, image: Path, path: Path, origin: MaskOrigin) -> None:
    from ..data.dicom_seg import write_seg

    write_seg(path, result.mask.numpy(), image, origin)


def _write_rtstruct(result: Segmentation, image: Path, path: Path, origin: MaskOrigin) -> None:
    from ..data.dicom_rtstruct import write_rtstruct

    write_rtstruct(path, result.mask.numpy(), image, origin)


def _dicom_problem(image: Path) -> str:
    from ..data.dicom_masks import dicom_problem

    return dicom_problem(image)


def _check_names(values: Iterable[int], origin: MaskOrigin) -> None:
    from ..data.dicom_masks import check_names

    check_names(values, origin)


#: Forms of masks by their name on the command line.
OUTPUT_TYPES: dict[str, OutputType] = {
    "nifti": OutputType((".nii.gz", ".nii"), _write_nifti),
    "dicom-seg": OutputType((".dcm",), _write_seg, _dicom_problem, _check_names),
    "rtstruct": OutputType((".dcm",), _write_rtstruct, _dicom_problem, _check_names),
}


def check_type(cases: Sequence[Mapping[str, Any]], kind: OutputType) -> list[dict[str, Any]]:
    """The cases, with a "problem" where their mask cannot be written in a form.

    Args:
        cases: see :func:`c2f_monai.data.list_inputs`.
        kind: the form.

    Raises:
        ValueError: for the first one, when none can be written.
    """
    checked = [dict(case) for case in cases]
    usable = [case for case in checked if not {"skipped", "problem"} & case.keys()]
    found = [(case, kind.problem(Path(case["image"]))) for case in usable]
    if found and all(problem for _, problem in found):
        more = f" ({len(found)} cases alike)" if len(found) > 1 else ""
        raise ValueError(found[0][1] + more)
    for case, problem in found:
        if problem:
            case["problem"] = problem
    return checked


@dataclass(frozen=True)
class Job:
    """A case and what is written of it; None what is not asked for."""

    case: Mapping[str, Any]
    mask: Path
    preview: Path | None = None
    probabilities: Path | None = None
    uncertainty: Path | None = None

    @property
    def name(self) -> str:
        """Name of the case."""
        return str(self.case["case"])

    @property
    def image(self) -> Path:
        """Its file or folder."""
        return Path(self.case["image"])

    def files(self) -> Iterator[Path]:
        """All files of the case."""
        paths = (self.mask, self.preview, self.probabilities, self.uncertainty)
        yield from (path for path in paths if path is not None)


def plan_jobs(
    cases: Sequence[Mapping[str, Any]],
    output: Path,
    suffixes: Sequence[str],
    preview: Path | None = None,
    probabilities: Path | None = None,
    uncertainty: Path | None = None,
) -> list[Job]:
    """The files of each case.

    Args:
        cases: see :func:`c2f_monai.data.list_inputs`.
        output: a file of one image, else a folder.
        suffixes: of masks.
        preview: likewise, of pictures.
        probabilities: likewise.
        uncertainty: likewise, of maps of it.

    Raises:
        ValueError: for a file where there are several images, or one of another suffix.

    Examples:
        >>> cases = [{"image": "in/a.nii", "case": "a"}, {"image": "in/p1/ct.mha", "case": "p1/ct"}]
        >>> [job.mask.as_posix() for job in plan_jobs(cases, Path("masks"), [".nii.gz"])]
        ['masks/a_seg.nii.gz', 'masks/p1/ct_seg.nii.gz']
    """
    names = [str(case["case"]) for case in cases]
    masks = _places(names, output, suffixes, "seg")
    none: list[Path | None] = [None] * len(names)
    pictures = none if preview is None else _places(names, preview, (".png",), "preview")
    maps = [
        none if place is None else _places(names, place, (".nii.gz", ".nii"), ending)
        for place, ending in ((probabilities, "probability"), (uncertainty, "uncertainty"))
    ]
    return [Job(*columns) for columns in zip(cases, masks, pictures, *maps, strict=True)]


def is_one_file(given: Path, suffixes: Sequence[str]) -> bool:
    """Whether a place is a file's, and not a folder's."""
    return given.name.lower().endswith(tuple(suffixes)) and not given.is_dir()


def _places(names: Sequence[str], given: Path, suffixes: Sequence[str], ending: str) -> list[Path]:
    is_file = is_one_file(given, suffixes)
    if is_file and len(names) > 1:
        raise ValueError(f"{given} is one file, but there are {len(names)} images: give a folder.")
    if is_file:
        return [given]
    # A folder may have a dot in its name, masks.v1.2; a suffix of letters is a file's of another kind.
    if len(names) == 1 and given.suffix[1:].isalpha() and not given.is_dir():
        raise ValueError(f"{given} must end in {' or '.join(suffixes)}, or be a folder.")
    return [given / f"{name}_{ending}{suffixes[0]}" for name in names]


def check_places(jobs: Sequence[Job], further: Sequence[Path], overwrite: bool) -> None:
    """Refuse places that cannot be written to, or hold something else.

    Args:
        jobs: all cases.
        further: files beside theirs.
        overwrite: replace files that were not written by the command; never an image.

    Raises:
        ValueError: for an image, a place in a series, a folder in the place of a file, two results in one place.
        FileExistsError: for a file that the command did not write.
        PermissionError: for a folder that cannot be written to.
    """
    paths = [path for job in jobs for path in job.files()] + list(further)
    counts = Counter(path.resolve() for path in paths)
    if twice := [path for path in paths if counts[path.resolve()] > 1]:
        raise ValueError(f"{twice[0]} would hold two results: give each a place of its own.")
    read = [job.case[key] for job in jobs for key in ("archive", "label") if job.case.get(key)]
    given = {Path(str(path)).resolve() for path in read}
    images = {job.image.resolve() for job in jobs}
    series = {folder for image in images if (folder := _series_folder(image)) is not None}
    for path in paths:
        whole = path.resolve()
        if whole in images:
            raise ValueError(f"{path} is an image to segment: write to another place.")
        if whole in given:
            raise ValueError(f"{path} holds images to segment, or is the label of one: write to another place.")
        if inside := series.intersection(whole.parents):
            raise ValueError(
                f"{path} lies in the series {inside.pop()}, which would be another one then: write elsewhere."
            )
        if path.is_dir():
            raise ValueError(f"{path} is a folder, but a file is to be written.")
        if path.exists() and not overwrite and not made_here(path):
            raise FileExistsError(f"{path} exists and was not written by c2f: give --overwrite, or another place.")
    for folder in {path.absolute().parent for path in paths}:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise PermissionError(f"{folder} cannot be written to.")


def _series_folder(image: Path) -> Path | None:
    """Folder of the slices of a series; of several in one folder each is named after its UID, which is no file."""
    if image.is_dir():
        return image
    return None if is_image_file(image) or image.exists() else image.parent


def made_here(path: Path) -> bool:
    """Whether a NIfTI or DICOM file, JSON object or picture says that this package made it."""
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            # The manifest of a folder of masks has cases, too, and its options by name.
            return MADE_BY in content and "cases" in content and not isinstance(content.get("options"), dict)
        if path.suffix.lower() == ".png":
            with Image.open(path) as picture:
                return str(picture.info.get("Software", "")).startswith(MADE_BY)
    except Exception:  # of another kind, or broken: not ours
        return False
    return is_mask_made_here(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of images and a folder of labels, as in BTCV, AMOS, nnU-Net or TotalSegmentator, as a ``dataset.json``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..utils import case_name, files_below, link_or_copy, on_one_grid, some_names
from .description import Preparer, check_output, describe_dataset, description_lines, write_description
from .folds import check_folds
from .label_header import check_label_header
from .patients import PATIENT, read_patients
from .readers import image_header, is_image_file, read_image
from .writers import write_nifti

__all__ = [
    "LAYOUTS",
    "FolderCases",
    "FoldersPreparer",
    "find_folder_cases",
    "join_masks",
    "list_folder_cases",
    "parse_names",
]

#: Known layouts as (image, label): paths below the two folders without the suffix of an image. ``{case}`` is the name
#: of the case, ``{name}`` that of the organ where each organ has a file of its own.
LAYOUTS: dict[str, tuple[str, str]] = {
    "amos": ("{case}", "{case}"),
    "btcv": ("img{case}", "label{case}"),
    "nnunet": ("{case}_0000", "{case}"),
    "totalsegmentator": ("{case}/ct", "{case}/segmentations/{name}"),
    "masks": ("{case}", "{case}/{name}"),
}


@dataclass(frozen=True)
class FolderCases:
    """Cases that were found.

    Attributes:
        images: image by case.
        labels: for each case its label map, or its masks by organ. Only cases with an image.
        unlabeled: cases whose image has no label, or not a mask of every organ.
        strangers: labels that have no image.
    """

    images: dict[str, Path]
    labels: dict[str, Path | dict[str, Path]]
    unlabeled: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


class FoldersPreparer(Preparer):
    """A folder of images and one of labels."""

    help = "a folder of images and a folder of labels"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--images``, ``--labels``, ``--names``, and how the files are called."""
        parser.add_argument("--images", type=Path, required=True, help="folder of images")
        parser.add_argument(
            "--labels", type=Path, required=True, help="folder of label maps, or of a mask for each organ"
        )
        named = "organs; their values count from 1 otherwise"
        parser.add_argument("--names", nargs="+", required=True, metavar="NAME[=VALUE]", help=named)
        parser.add_argument("--layout", choices=list(LAYOUTS), help="how files are called (default: the one that fits)")
        parser.add_argument("--image-pattern", help="instead: path of an image, such as img{case}")
        parser.add_argument("--label-pattern", help="path of a label, such as {case} or {case}/{name}")
        patients = "table (CSV: case,patient) where patients have several scans: their folds are those of patients"
        parser.add_argument("--patients", type=Path, help=patients)
        parser.add_argument("--dataset-name", help="name of the data set (default: the output folder's)")

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """See :class:`Preparer`."""
        names = parse_names(options.names)
        layout = options.layout
        if options.image_pattern or options.label_pattern:
            if layout or not (options.image_pattern and options.label_pattern):
                raise ValueError("give --image-pattern and --label-pattern together, or --layout.")
            layout = (options.image_pattern, options.label_pattern)
        name = options.dataset_name or options.output.absolute().name
        check_folds(options.folds, options.fold_seed)
        check_output(options.output, name)
        cases = find_folder_cases(options.images, options.labels, list(names.values()), layout)
        patients = read_patients(options.patients, cases.labels) if options.patients else {}
        entries, overlap = list_folder_cases(cases, names, options.output, patients)
        for kind, left in (("images without a label", cases.unlabeled), ("labels without an image", cases.strangers)):
            if left:
                yield f"left out, {kind}: {len(left)} ({some_names(left)})"
        if overlap:
            yield f"voxels in several masks, given to the organ that is named last: {overlap}"
        content = describe_dataset(name, names, entries, folds=options.folds, seed=options.fold_seed)
        path = write_description(options.output, content)
        yield from description_lines(content)
        yield str(path)


def parse_names(texts: Sequence[str]) -> dict[int, str]:
    """Label values and names from texts such as ``pancreas`` or ``pancreas=10``; without a value they count from 1.

    Raises:
        ValueError: for an empty name, a value that is no number from 1 to 255, or one that comes twice.

    Examples:
        >>> parse_names(["pancreas=10", "duodenum"])
        {10: 'pancreas', 2: 'duodenum'}
    """
    names: dict[int, str] = {}
    for place, text in enumerate(texts, 1):
        name, given, value = text.partition("=")
        if not name or (given and not (value.isdigit() and 1 <= int(value) <= 255)):
            raise ValueError(f"label names must look like pancreas or pancreas=10 (1 to 255), got {text!r}.")
        number = int(value) if given else place
        if number in names or name in names.values():
            raise ValueError(f"the label {text!r} is given twice, or its value {number} is that of another.")
        names[number] = name
    return names


def find_folder_cases(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    names: Sequence[str],
    layout: str | tuple[str, str] | None = None,
) -> FolderCases:
    """Find images and labels that belong together; nothing is read.

    Args:
        images: folder of images.
        labels: folder of label maps or of one mask for each organ; may be the same.
        names: organs, needed where each has a file of its own.
        layout: a key of :data:`LAYOUTS`, or two patterns like its values. None takes the one that finds most cases.

    Raises:
        FileNotFoundError: when a folder does not exist.
        ValueError: for an unknown layout or bad patterns, when no image has a label, or when two files belong to the
            same case.
    """
    for folder in (images, labels):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder {folder}.")
    if isinstance(layout, str) and layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    patterns = [LAYOUTS[layout]] if isinstance(layout, str) else list(LAYOUTS.values()) if layout is None else [layout]
    (image_files, twice), (label_files, again) = (_volumes(Path(folder).absolute()) for folder in (images, labels))
    found = [_pair(image_files, label_files, *pattern, names) for pattern in patterns]
    best = max(found, key=lambda cases: len(cases.labels))
    if not best.labels:
        raise ValueError(
            f"no image in {images} has a label in {labels} (layouts: "
            + "; ".join(f"{image} and {label}" for image, label in patterns)
            + "): say how the files are called with --image-pattern and --label-pattern."
        )
    _check_single(best, twice | again)
    return best


def join_masks(masks: Mapping[str, Path], names: Mapping[int, str], path: Path) -> int:
    """Write one label map from a mask file for each organ, on their common grid.

    Where masks overlap the organ that is named later wins, so that a neoplasm named after its organ stays visible.

    Args:
        masks: mask file by organ; voxels above 0.5 belong to it.
        names: organ by label value, in the order of priority.
        path: label map to write.

    Returns:
        Voxels that several masks claimed.

    Raises:
        ValueError: when masks lie on different grids.
    """
    joined = affine = first = None
    overlap = 0
    for value, name in names.items():
        stored = read_image(masks[name], dtype=None)
        if joined is None or affine is None:
            joined, affine, first = np.zeros(stored.shape[1:], np.uint8), stored.affine.numpy(), masks[name]
        if stored.shape[1:] != joined.shape or not on_one_grid(affine, stored.affine.numpy(), joined.shape):
            raise ValueError(f"{masks[name]} and {first} lie on different grids.")
        mask = np.asarray(stored[0]) > 0.5
        overlap += int(np.count_nonzero(joined[mask]))
        joined[mask] = value
    if joined is None or affine is None:
        raise ValueError("no label names were given: each organ has a mask of its own.")
    write_nifti(path, joined, affine)
    return overlap


def list_folder_cases(
    cases: FolderCases,
    names: Mapping[int, str],
    output: str | os.PathLike[str],
    patients: Mapping[str, str] | None = None,
    progress: bool = True,
) -> tuple[list[dict[str, str]], int]:
    """Entries of a ``dataset.json``; masks of single organs are joined into ``labels/`` of the output folder.

    Results are named after the image's file. Where all images are called the same (``ct.nii.gz``), ``images/`` of the
    output folder gets links to them, named after the cases.

    Args:
        cases: that were found.
        names: of organs by value.
        output: folder of the data set.
        patients: of each case, where some have several scans. Defaults to none.
        progress: whether a bar is shown. Defaults to True.

    Returns:
        entries in the order of the cases' names, numbers in them by value, and voxels that several masks claimed.

    Raises:
        ValueError: when an image cannot be read, image and label differ in shape or place, or results would be written
            to where masks or images are read from.
    """
    entries, overlap = [], 0
    target = Path(output).absolute()
    same = len({case_name(path) for path in cases.images.values()}) < len(cases.images)
    _check_written(cases, target, same)
    for case in tqdm(sorted(cases.labels, key=_natural), desc="labels", unit="case", disable=not progress):
        image, label = cases.images[case], cases.labels[case]
        shape, affine = image_header(image)
        for path in label.values() if isinstance(label, dict) else [label]:
            check_label_header(path, image, shape, affine)
        if isinstance(label, dict):
            path = target / "labels" / f"{case}.nii.gz"
            overlap += join_masks(label, names, path)
            label = path
        if same:
            image = link_or_copy(image, target / "images" / f"{case}{image.name[len(case_name(image)) :]}")
        patient = {PATIENT: patients[case]} if patients else {}
        entries.append({"image": str(image), "label": str(label), **patient})
    return entries, overlap


def _check_written(cases: FolderCases, target: Path, links: bool) -> None:
    """Refuse to write beside what is read: the next run would take results for label maps and images of the user."""
    masks = [path for label in cases.labels.values() if isinstance(label, dict) for path in label.values()]
    images = [cases.images[case] for case in cases.labels] if links else []
    for folder, read in ((target / "labels", masks), (target / "images", images)):
        for path in read:
            if path.parent.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"results would be written to {folder}, but {path} is read there: give another one.")


def _volumes(folder: Path) -> tuple[dict[str, Path], dict[Path, Path]]:
    """Volume files by their path below a folder without the suffix of an image, and by file another one of its path."""
    found: dict[str, Path] = {}
    twice: dict[Path, Path] = {}
    for path in files_below(folder):
        if is_image_file(path):
            first = found.setdefault((path.relative_to(folder).parent / case_name(path)).as_posix(), path)
            if first != path:
                twice[first] = path
    return found, twice


def _check_single(cases: FolderCases, twice: Mapping[Path, Path]) -> None:
    """Refuse a case one of whose files is there twice, such as an old c1.nii beside c1.nii.gz: which one is meant?"""
    for case, label in cases.labels.items():
        for path in (cases.images[case], *(label.values() if isinstance(label, dict) else [label])):
            if path in twice:
                raise ValueError(f"{path} and {twice[path]} both belong to the case {case}: take one of them away.")


def _pair(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_pattern: str, label_pattern: str, names: Sequence[str]
) -> FolderCases:
    found = {case: path for case, _, path in _matches(images, image_pattern)}
    given: dict[str, Path | dict[str, Path]] = {}
    if "{name}" in label_pattern:
        masks: dict[str, dict[str, Path]] = {}
        for case, name, path in _matches(labels, label_pattern):
            masks.setdefault(case, {})[name] = path
        given |= {case: {n: of[n] for n in names} for case, of in masks.items() if names and set(names) <= set(of)}
    else:
        given |= {case: path for case, _, path in _matches(labels, label_pattern)}
    # A label map that lies beside its image under the same pattern would be the image itself.
    given = {case: label for case, label in given.items() if label != found.get(case)}
    paired = {case: label for case, label in given.items() if case in found}
    return FolderCases(
        found, paired, sorted(found.keys() - paired.keys(), key=_natural), sorted(given.keys() - found.keys())
    )


def _matches(files: Mapping[str, Path], pattern: str) -> list[tuple[str, str, Path]]:
    """(case, organ, path) of the files that a pattern describes."""
    if pattern.count("{case}") != 1 or pattern.count("{name}") > 1:
        raise ValueError(f"a pattern needs {{case}} once, such as img{{case}}, got {pattern!r}.")
    expression = re.escape(pattern).replace(re.escape("{case}"), "(?P<case>[^/]+)")
    compiled = re.compile(expression.replace(re.escape("{name}"), "(?P<name>[^/]+)"))
    matched = ((compiled.fullmatch(name), path) for name, path in files.items())
    return [(m["case"], m.groupdict().get("name", ""), path) for m, path in matched if m]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts case 2 before case 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

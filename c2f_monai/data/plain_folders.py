# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of images and a folder of labels, as in BTCV, AMOS, nnU-Net or TotalSegmentator, as a ``dataset.json``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..utils import link_or_copy, on_one_grid
from .description import (
    Preparer,
    check_output,
    describe_dataset,
    description_lines,
    drop_description,
    write_description,
)
from .folder_pairs import LAYOUTS, FolderCases, find_folder_cases, natural_order
from .folder_places import JOINED, check_places, places_of
from .label_header import check_label_header
from .patients import PATIENT, read_patients
from .readers import image_header, read_image
from .writers import write_nifti

__all__ = ["FoldersPreparer", "join_masks", "list_folder_cases", "parse_names"]


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
        check_output(options.output, name)
        cases = find_folder_cases(options.images, options.labels, list(names.values()), layout)
        patients = read_patients(options.patients, cases.labels) if options.patients else {}
        entries, overlap = list_folder_cases(cases, names, options.output, patients)
        yield from cases.left_out
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
        if not name or (given and not (value.isdecimal() and 1 <= int(value) <= 255)):
            raise ValueError(f"label names must look like pancreas or pancreas=10 (1 to 255), got {text!r}.")
        number = int(value) if given else place
        if number in names or name in names.values():
            raise ValueError(f"the label {text!r} is given twice, or its value {number} is that of another.")
        names[number] = name
    return names


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
    write_nifti(path, joined, affine, JOINED)
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
        FileExistsError: when another data set, or a file that no run wrote, is where results would be written.
        ValueError: when an image cannot be read, image and label differ in shape or place, results would be written to
            where masks or images are read from, or two cases' names would be one file on some disk. Nothing is written
            then.
    """
    target = Path(output).absolute()
    places = places_of(cases, target)
    check_places(cases, places, target)
    order = sorted(cases.labels, key=natural_order)
    for case in tqdm(order, desc="headers", unit="case", disable=not progress):
        label, image = cases.labels[case], cases.images[case]
        shape, affine = image_header(image)
        for path in label.values() if isinstance(label, dict) else [label]:
            check_label_header(path, image, shape, affine)
    if places.labels or places.images:
        drop_description(target)
    entries, overlap = [], 0
    for case in tqdm(order, desc="labels", unit="case", disable=not (progress and places.labels)):
        label, image = cases.labels[case], cases.images[case]
        if isinstance(label, dict):
            overlap += join_masks(label, names, places.labels[case])
            label = places.labels[case]
        if place := places.images.get(case):
            # A file is a copy, see check_places: that of an earlier run, or the user's own.
            image = place if place.is_file() and not place.is_symlink() else link_or_copy(image, place)
        patient = {PATIENT: patients[case]} if patients else {}
        entries.append({"image": str(image), "label": str(label), **patient})
    return entries, overlap

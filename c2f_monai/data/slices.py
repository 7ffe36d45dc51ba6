# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of single CT slices as a data set of stacks by patient, of which one slice at a time can be used."""

from __future__ import annotations

import argparse
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..transforms.volumes import SPACING_MM
from ..utils import SLICES_KEY
from .description import Preparer, check_output, describe_dataset, drop_description, write_description
from .folds import check_folds
from .gray_levels import gray_to_hu
from .negatives import NEGATIVE_COLUMNS, Negative, check_voxels, read_negatives, write_negative
from .slice_pictures import check_pictures, read_mask, read_picture
from .tables import spelling_key, table_rows
from .writers import write_nifti

__all__ = ["COLUMNS", "SlicesPreparer", "check_single_slices", "prepare_slices", "read_index"]

#: Columns that an index must have: file name in both folders, patient, and the slice's number in its volume.
COLUMNS = ("file", "patient", "z_index0")
#: Slices of a stack have no distance; a file must state one.
STACK_STEP = 1.0
#: What a patient must not have, since files are named after it: on some system it is no name, hidden, or elsewhere.
_NO_FILE_NAME = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^\.|\.$')


class SlicesPreparer(Preparer):
    """Pictures of single slices, with a table of patients."""

    help = "8-bit pictures of single slices (HU clipped to [0, 255]), masks, and a table of patients"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--images``, ``--masks``, ``--index``, ``--negatives``, ``--name`` and ``--spacing``."""
        parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
        parser.add_argument("--masks", type=Path, required=True, help="folder of masks of the same names")
        parser.add_argument("--index", type=Path, required=True, help=f"table (CSV) with {', '.join(COLUMNS)}")
        negatives = f"table (CSV) of volumes without the target, with {', '.join(NEGATIVE_COLUMNS)}; blank: all slices"
        parser.add_argument("--negatives", type=Path, help=negatives)
        parser.add_argument("--name", default="pancreas", help="name of the target (default: pancreas)")
        parser.add_argument(
            "--spacing", type=float, default=0.8, help="pixel size in mm that the files state (default: 0.8)"
        )

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """Write the data set to ``options.output``; lines of text for the user, the path of ``dataset.json`` last."""
        content = prepare_slices(
            options.images,
            options.masks,
            options.index,
            options.output,
            options.name,
            options.spacing,
            options.folds,
            options.fold_seed,
            negatives=options.negatives,
        )
        cases = [case for case in content["training"] if case.get(SLICES_KEY)]
        sizes = Counter(case.get("fold") for case in cases)
        folds = ", ".join(str(sizes[fold]) for fold in sorted(f for f in sizes if f is not None))
        slices = sum(len(case["slice_numbers"]) for case in cases)
        yield f"{len(cases)} patients (folds: {folds or 'none'}), {slices} slices"
        if others := len(content["training"]) - len(cases):
            yield f"{others} volumes without the target, trained on in every fold"
        yield "neighbors in a stack are none in the body: train one view, slabs of one slice"
        yield f"pixels are stated to be {options.spacing:g} mm, slices 1 mm: their true sizes are not known"
        yield str(write_description(options.output, content))


def read_index(path: str | os.PathLike[str]) -> dict[str, list[dict[str, str]]]:
    """Rows of an index of slices by patient, patients in the order of their names and slices of their numbers.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is no table, missing columns or cells, no rows, a slice number that is none, two
            slices of the same place, a patient that cannot name a file, or two that differ in upper and lower case or
            in how their accents are stored alone.
    """
    patients: dict[str, list[dict[str, str]]] = {}
    for number, row in table_rows(path, COLUMNS):
        if not re.fullmatch("-?[0-9]+", row["z_index0"]):
            raise ValueError(f"{path}: z_index0 of {row['file']} must be a whole number, got {row['z_index0']!r}.")
        if _NO_FILE_NAME.search(row["patient"]):
            raise ValueError(
                f'{path}, row {number}: patient {row["patient"]!r} cannot name a file: leave out / \\ : * ? " < > |, '
                "control characters, and a dot at the beginning or end."
            )
        patients.setdefault(row["patient"], []).append(row)
    _check_spelling(path, patients)
    for patient, own in patients.items():
        own.sort(key=lambda row: int(row["z_index0"]))
        numbers = [int(row["z_index0"]) for row in own]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{path}: patient {patient} has several slices of the same z_index0: {numbers}.")
    return {patient: patients[patient] for patient in sorted(patients)}


def _check_spelling(path: str | os.PathLike[str], patients: Iterable[str]) -> None:
    """Refuse two spellings of one patient: one person in two folds, or one file on some disks."""
    seen: dict[str, str] = {}
    for patient in patients:
        other = seen.setdefault(spelling_key(patient), patient)
        if other != patient:
            # Where they look alike, the characters that they are stored as.
            alike = unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", patient)
            first, second = (ascii(name) if alike else name for name in (other, patient))
            raise ValueError(f"{path} has the patients {first} and {second}: spell them alike, or rename one.")


def _check_case_names(patients: Iterable[str], volumes: Iterable[Negative]) -> None:
    """Refuse a patient whose files would be those of a negative, which have an empty label."""
    names = {spelling_key(volume.name): volume for volume in volumes}
    for patient in patients:
        if negative := names.get(spelling_key(patient)):
            raise ValueError(
                f"the patient {patient} and the negative {negative.file} would be the same case, {negative.name}: "
                "rename one."
            )


def prepare_slices(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    index: str | os.PathLike[str],
    output: str | os.PathLike[str],
    name: str = "pancreas",
    spacing: float = 0.8,
    folds: int | None = 4,
    seed: int | None = None,
    progress: bool = True,
    negatives: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write a stack of slices and one of masks for each patient.

    Neighbors in a stack may be far apart in the body: the description and every case say ``"slices": true``, so that
    slabs of several slices can be refused (:func:`check_single_slices`). Pixel size and slice distance are not known:
    the files state ``spacing`` and 1 mm.

    Args:
        images: folder of 8-bit gray pictures, HU clipped to [0, 255]; rows run to the back, columns to the left. Zeros
            around a smaller field of view become air.
        masks: folder of masks of the same names, 0 outside of the target and one other value in it.
        index: table (CSV) with the columns of :data:`COLUMNS`; further ones are allowed.
        output: folder to write to.
        name: of the target. Defaults to pancreas.
        spacing: pixel size to state, in mm. Defaults to 0.8.
        folds: number of folds. Defaults to 4.
        seed: None takes consecutive patients together; a number shuffles them first.
        progress: show a bar.
        negatives: table (CSV) of volumes that show nothing of the target, see :func:`read_negatives`. They become cases
            of the stacks' pixel size, on the largest canvas of the stacks, with an empty label and the fold null.
            Defaults to None.

    Returns:
        content of a ``dataset.json``, with folds of patients.

    Raises:
        FileExistsError: when the output folder holds another data set.
        FileNotFoundError: when a table, a picture or a volume does not exist.
        ValueError: for bad tables or spacing, a patient named like a negative, pictures that cannot be read, are of
            another type or listed twice, masks of more than two values, shapes that differ within a patient, or volumes
            that are no CT along the body's axes. Nothing is written then.
    """
    low, high = SPACING_MM
    if not low <= spacing <= high:
        raise ValueError(f"spacing must be {low:g} to {high:g} mm, as the pixels of a CT are, got {spacing:g}.")
    check_folds(folds, seed)
    patients = read_index(index)
    volumes = [] if negatives is None else read_negatives(negatives)
    _check_case_names(patients, volumes)
    target = Path(output).absolute()
    check_output(target, target.name, SLICES_KEY)
    folders = (Path(images), Path(masks))
    check_pictures(patients, *folders, progress)
    check_voxels([volume.file for volume in volumes], progress)
    drop_description(target)
    affine = np.diag([-spacing, -spacing, STACK_STEP, 1.0])  # columns run to the left, rows to the back, slices up
    entries, canvas = [], (0, 0)
    for patient, rows in tqdm(patients.items(), desc="stacks", unit="patient", disable=not progress):
        entry, shape = _write_stack(patient, rows, folders, target, affine)
        entries.append(entry)
        canvas = (max(canvas[0], shape[0]), max(canvas[1], shape[1]))
    further = {SLICES_KEY: True, "stated_spacing_mm": [spacing, spacing, STACK_STEP]}
    content = describe_dataset(target.name, {1: name}, entries, folds=folds, seed=seed, further=further)
    for negative in tqdm(volumes, desc="negatives", unit="volume", disable=not (progress and volumes)):
        content["training"].append(write_negative(negative, target, spacing, canvas, affine))
    content["numTraining"] = len(content["training"])
    return content


def check_single_slices(data: Sequence[Mapping[str, Any]], in_slices: int) -> None:
    """Refuse slabs of several slices where the data are stacks of single slices.

    Args:
        data: cases of a data set.
        in_slices: slices that the network sees.

    Raises:
        ValueError: when a case is a stack of single slices and ``in_slices`` is above 1.
    """
    stacks = [str(case.get("image")) for case in data if case.get(SLICES_KEY)]
    if stacks and in_slices > 1:
        raise ValueError(
            f"{len(stacks)} cases (first: {stacks[0]}) are stacks of single slices, whose neighbors are none in the "
            f"body: set in_slices and out_slices to 1, got in_slices {in_slices}."
        )


def _write_stack(
    patient: str, rows: Sequence[Mapping[str, str]], folders: tuple[Path, Path], target: Path, affine: np.ndarray
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Write a patient's pictures and masks, of the two folders, as volumes; entry of the case, and (columns, rows)."""
    images, masks = folders
    pictures = [read_picture(images / row["file"]) for row in rows]
    labels = [read_mask(masks / row["file"]) for row in rows]
    paths = {key: target / f"{key}s" / f"{patient}.nii.gz" for key in ("image", "label")}
    for key, stack in (("image", [gray_to_hu(picture) for picture in pictures]), ("label", labels)):
        write_nifti(paths[key], np.stack([picture.T for picture in stack], axis=2), affine)
    numbers = [int(row["z_index0"]) for row in rows]
    entry = {**{key: str(path) for key, path in paths.items()}, SLICES_KEY: True, "slice_numbers": numbers}
    return entry, pictures[0].T.shape

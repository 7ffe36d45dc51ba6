# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""NIH Pancreas-CT: from the download of The Cancer Imaging Archive to NIfTI files in HU and a ``dataset.json``.

The download holds ``PANCREAS_0001/<study>/<series>/*.dcm`` for each case and, apart, ``label0001.nii.gz``. Numbers are
not contiguous: cases were withdrawn from the collection, which had the numbers 1 to 82. Folds go by these numbers, so
that a case is tested with the same others whatever is withdrawn, missing or skipped: 1 to 20, 21 to 40, 41 to 61 and 62
to 82, as in the original code. The labels' headers cannot be trusted: their orientation is decided from the voxels, see
:mod:`c2f_monai.data.label_orientation`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm import tqdm

from .description import Preparer, check_output, describe_dataset, drop_description, write_description
from .dicom import read_series, series_files
from .folds import assign_folds
from .label_orientation import UnclearOrientationError, place_label
from .nih_records import begin_record, check_files, earlier_record, files_of, stamp_of, write_record
from .writers import write_nifti

__all__ = ["CASES", "NihCase", "NihPreparer", "NihReport", "find_nih_cases", "prepare_nih", "report_lines"]

_CASE = re.compile(r"PANCREAS_(\d+)", re.IGNORECASE)
_LABEL = re.compile(r"label(\d+)\.nii(\.gz)?", re.IGNORECASE)
#: Of the data set.
NAME = "NIH Pancreas-CT"
#: Cases of the collection as it was first published, numbered from 1: what the folds are counted over.
CASES = 82
#: Labels that must have decided, all alike, before one that does not tell alone is placed like them.
MIN_DECIDED = 3


@dataclass(frozen=True)
class NihCase:
    """What the download holds of one case.

    Attributes:
        number: of the case in the collection.
        folders: folders with files of slices; a usable case has one.
        labels: label files; a usable case has one.
    """

    number: int
    folders: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Name of the case's files."""
        return f"pancreas_{self.number:04d}"

    def parts(self) -> tuple[Path, Path]:
        """The folder of the series and the label.

        Raises:
            ValueError: when there is not one of each, or the collection never had such a case.
        """
        if not 1 <= self.number <= CASES:
            raise ValueError(f"the collection has the cases 1 to {CASES}.")
        for kind, found in (("image series", self.folders), ("label", self.labels)):
            if not found:
                raise ValueError(f"there is no {kind}.")
            if len(found) > 1:
                raise ValueError(f"there are {len(found)} {kind} folders or files: {', '.join(map(str, found))}.")
        return self.folders[0], self.labels[0]


@dataclass
class NihReport:
    """What was done: records of the cases written now and of those kept from an earlier run, reasons for the rest.

    Attributes:
        dataset: path of ``dataset.json``.
        written: record of each case by its name.
        kept: record of each case that an earlier run wrote from the same files.
        skipped: reason by name.
    """

    dataset: Path
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def find_nih_cases(folder: str | os.PathLike[str]) -> list[NihCase]:
    """Cases of the download in the order of their numbers; nothing is read.

    Raises:
        FileNotFoundError: when there is no such folder, or it holds no ``PANCREAS_...`` folder or no label.
    """
    place = Path(folder).absolute()
    if not place.is_dir():
        raise FileNotFoundError(f"there is no folder {place}.")
    series: dict[int, list[Path]] = {}
    labels: dict[int, list[Path]] = {}
    for root, subfolders, files in os.walk(place):
        subfolders.sort()
        at = Path(root)
        case = next((m for part in at.relative_to(place.parent).parts if (m := _CASE.fullmatch(part))), None)
        if case:
            known = series.setdefault(int(case[1]), [])
            known += [at] if series_files(at) else []
        for name in sorted(files):
            if match := _LABEL.fullmatch(name):
                labels.setdefault(int(match[1]), []).append(at / name)
    for kind, found in (("PANCREAS_0001 folders", series), ("labels such as label0001.nii.gz", labels)):
        if not found:
            raise FileNotFoundError(f"{place} holds no {kind}: give the folder of the whole download.")
    numbers = sorted(series.keys() | labels.keys())
    return [NihCase(n, tuple(series.get(n, ())), tuple(labels.get(n, ()))) for n in numbers]


def prepare_nih(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    folds: int = 4,
    seed: int | None = None,
    progress: bool = True,
) -> NihReport:
    """Convert the download; a run that was killed continues, and two runs give the same files.

    Writes ``imagesTr/`` (int16 HU) and ``labelsTr/`` (uint8) on the grid of the series, ``cases/`` with a record of
    each case (how its label lies on the image and how clearly), and ``dataset.json``, which lists the cases with their
    folds, and those that cannot be used with the reason.

    Args:
        source: folder of the download, images and labels in it.
        output: folder to write to.
        folds: number of folds, counted over the numbers 1 to 82. Defaults to 4.
        seed: see :func:`c2f_monai.data.folds.assign_folds`; None counts in the order of the cases.
        progress: show a bar.

    Raises:
        FileNotFoundError: see :func:`find_nih_cases`.
        FileExistsError: when the output folder holds another data set, or files that no run wrote in the place of a
            case's.
        ValueError: when no case can be used.
        OSError: when a file cannot be written.
    """
    place, target = Path(source).absolute(), Path(output).absolute()
    cases = find_nih_cases(place)
    fold_of = assign_folds(CASES, folds, seed)
    check_output(target, NAME)
    check_files(target, [case.name for case in cases])
    report = NihReport(target / "dataset.json")
    unclear = [case for case in _bar(cases, progress, "Pancreas-CT") if not _convert(case, place, target, report)]
    # Only now it is known what the other labels say.
    collection = _shared_orientation([*report.written.values(), *report.kept.values()])
    if unclear and collection is not None:
        for case in _bar(unclear, progress, "unclear labels"):
            _convert(case, place, target, report, collection)
    used = [case for case in cases if case.name in report.written or case.name in report.kept]
    report.skipped = dict(sorted(report.skipped.items()))
    if not used:
        raise ValueError("no case can be used: " + "; ".join(f"{k}: {v}" for k, v in report.skipped.items()))
    further = {
        "description": "NIH Pancreas-CT of The Cancer Imaging Archive, converted to NIfTI in HU.",
        "skipped": [{"case": name, "reason": reason} for name, reason in report.skipped.items()],
    }
    training = [{**files_of(case.name), "fold": fold_of[case.number - 1]} for case in used]
    content = describe_dataset(NAME, {1: "pancreas"}, training, folds=None, further=further)
    write_description(target, content)
    return report


def report_lines(report: NihReport) -> list[str]:
    """What :func:`prepare_nih` did, as lines of text."""
    lines = [f"{len(report.written)} cases written, {len(report.kept)} kept, {len(report.skipped)} skipped"]
    records = [*report.kept.values(), *report.written.values()]
    changes = Counter((record["change"], record["evidence"]) for record in records)
    for (change, evidence), count in changes.most_common():
        by = "their voxels" if evidence == "voxels" else "the other labels and, less clearly, their own voxels"
        lines.append(f"labels {'as' if change == 'none' else change + ' against'} their header, by {by}: {count}")
    if len({change for change, _ in changes}) > 1:
        lines.append("The labels' orientations differ from case to case: look at the records in cases/.")
    codes = Counter(record["instance_axcodes"] or "unknown" for record in records).most_common()
    lines.append(
        "axis codes of (row, column, slice by instance number), what import-weights rstn --axcodes asks for: "
        + ", ".join(f"{code} {count}" for code, count in codes)
    )
    lines += [f"skipped {name}: {reason}" for name, reason in report.skipped.items()]
    return [*lines, str(report.dataset)]


class NihPreparer(Preparer):
    """NIH Pancreas-CT as it is downloaded."""

    help = "NIH Pancreas-CT as downloaded: DICOM to NIfTI in HU"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--input``."""
        parser.add_argument("--input", type=Path, required=True, help="download: PANCREAS_0001 and so on, and labels")

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """See :class:`Preparer`."""
        yield from report_lines(prepare_nih(options.input, options.output, options.folds, options.fold_seed))


def _convert(case: NihCase, place: Path, target: Path, report: NihReport, collection: np.ndarray | None = None) -> bool:
    """Write a case, keep it or list it as skipped; False where its label does not tell alone how it lies."""
    try:
        folder, label = case.parts()
        stamp = stamp_of(place, folder, label)
        if record := earlier_record(target, case.name, stamp):
            report.kept[case.name] = record
            return True
        volume, mask, found = _read_case(folder, label, collection)
    except ValueError as error:
        report.skipped[case.name] = str(error).replace(f"{place}{os.sep}", "")
        return not isinstance(error.__cause__, UnclearOrientationError)
    report.skipped.pop(case.name, None)
    files = files_of(case.name)
    drop_description(target)
    begin_record(target, case.name)
    write_nifti(target / files["image"], volume.hu, volume.affine)
    write_nifti(target / files["label"], mask, volume.affine)
    report.written[case.name] = write_record(target, case.name, stamp, found)  # last: the case is whole
    return True


def _shared_orientation(records: Iterable[dict[str, Any]]) -> np.ndarray | None:
    """The orientation of all labels that told it alone, where they are some and agree."""
    decided = [record["orientation"] for record in records if record["evidence"] == "voxels"]
    agree = len(decided) >= MIN_DECIDED and all(orientation == decided[0] for orientation in decided)
    return np.array(decided[0], dtype=float) if agree else None


def _read_case(folder: Path, label: Path, collection: np.ndarray | None) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Volume, mask on the volume's grid, and what was found; a ValueError says why the case cannot be used."""
    volume = read_series(folder)
    try:
        stored: Any = nib.load(label)
        mask = np.asarray(stored.dataobj) > 0
    except Exception as error:  # nibabel and zlib raise many kinds for a damaged file
        raise ValueError(f"{label} cannot be read: {error}") from error
    if mask.ndim < 3 or mask.size > np.prod(mask.shape[:3]):
        raise ValueError(f"{label} has the shape {mask.shape}, but a label has three axes.")
    mask = mask.reshape(mask.shape[:3])
    try:
        placement = place_label(mask, stored.affine, volume.hu, volume.affine, collection)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error
    placed = nib.orientations.apply_orientation(mask, placement.orientation)
    found = asdict(placement)
    found["orientation"] = placement.orientation.astype(int).tolist()
    found |= {
        "shape": list(volume.hu.shape),
        "spacing": [round(float(length), 6) for length in nib.affines.voxel_sizes(volume.affine)],
        "instance_axcodes": volume.instance_axcodes,
        "foreground": int(mask.sum()),
    }
    return volume, np.ascontiguousarray(placed).astype(np.uint8), found


def _bar(cases: Sequence[NihCase], progress: bool, what: str) -> Iterable[NihCase]:
    bar: Iterable[NihCase] = tqdm(cases, desc=what, unit="case", disable=not progress)
    return bar

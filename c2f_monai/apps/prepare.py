# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``prepare``: from a public data set, or from folders of one's own, to a ``dataset.json`` with folds."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from ..data.decathlon import describe_dataset, find_task, list_decathlon, write_description
from ..data.nih import NihReport, prepare_nih
from ..data.plain_folders import LAYOUTS, find_folder_cases, list_folder_cases, parse_names
from ..data.slices import SlicesPreparer
from ..utils import some_names

__all__ = ["add_parser", "nih_lines"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``prepare`` with its data sets."""
    parser = subparsers.add_parser(
        "prepare", help="make a dataset.json from NIH, MSD, plain folders or pictures of slices"
    )
    kinds = parser.add_subparsers(required=True, metavar="dataset")
    nih = kinds.add_parser("nih", help="NIH Pancreas-CT as downloaded: DICOM to NIfTI in HU")
    nih.add_argument("--input", type=Path, required=True, help="download: PANCREAS_0001 and so on, and labels")
    nih.set_defaults(run=_nih)
    msd = kinds.add_parser("msd", help="a task of the Medical Segmentation Decathlon; its files stay where they are")
    msd.add_argument("--input", type=Path, required=True, help="the task's folder, or the folder of the tasks")
    msd.add_argument("--task", help="number or name of the task, such as 7, where --input holds several")
    msd.set_defaults(run=_msd)
    folders = kinds.add_parser("folders", help="a folder of images and a folder of labels")
    folders.add_argument("--images", type=Path, required=True, help="folder of images")
    folders.add_argument("--labels", type=Path, required=True, help="folder of label maps, or of a mask for each organ")
    folders.add_argument(
        "--names", nargs="+", required=True, metavar="NAME[=VALUE]", help="organs; their values count from 1 otherwise"
    )
    folders.add_argument("--layout", choices=list(LAYOUTS), help="how files are called (default: the one that fits)")
    folders.add_argument("--image-pattern", help="instead: path of an image, such as img{case}")
    folders.add_argument("--label-pattern", help="path of a label, such as {case} or {case}/{name}")
    folders.add_argument("--dataset-name", help="name of the data set (default: the output folder's)")
    folders.set_defaults(run=_folders)
    slices = kinds.add_parser("slices", help=SlicesPreparer.help)
    SlicesPreparer().add_options(slices)
    slices.set_defaults(run=_slices)
    for kind in (nih, msd, folders, slices):
        kind.add_argument("--output", type=Path, required=True, help="folder to write dataset.json to")
        kind.add_argument("--folds", type=int, default=4, help="folds of the cross-validation (default: 4)")
        kind.add_argument("--fold-seed", type=int, help="shuffle the cases (default: folds in the order of the cases)")


def nih_lines(report: NihReport) -> list[str]:
    """What ``prepare nih`` did, as lines of text."""
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


def _nih(args: argparse.Namespace) -> None:
    print("\n".join(nih_lines(prepare_nih(args.input, args.output, args.folds, args.fold_seed))))


def _msd(args: argparse.Namespace) -> None:
    task = find_task(args.input, args.task)
    if args.output.absolute() == task:
        raise ValueError(f"--output must be another folder than the task's own {task}: its dataset.json stays.")
    content = list_decathlon(task, args.folds, args.fold_seed)
    if content["modality"]["0"] != "CT":
        print(f"The images are {content['modality']['0']}, not CT: the window of the configuration is in HU.")
    _write(args.output, content)


def _folders(args: argparse.Namespace) -> None:
    names = parse_names(args.names)
    layout = args.layout
    if args.image_pattern or args.label_pattern:
        if layout or not (args.image_pattern and args.label_pattern):
            raise ValueError("give --image-pattern and --label-pattern together, or --layout.")
        layout = (args.image_pattern, args.label_pattern)
    cases = find_folder_cases(args.images, args.labels, list(names.values()), layout)
    entries, overlap = list_folder_cases(cases, names, args.output)
    for kind, left in (("images without a label", cases.unlabeled), ("labels without an image", cases.strangers)):
        if left:
            print(f"left out, {kind}: {len(left)} ({some_names(left)})")
    if overlap:
        print(f"voxels in several masks, given to the organ that is named last: {overlap}")
    name = args.dataset_name or args.output.absolute().name
    _write(args.output, describe_dataset(name, names, entries, folds=args.folds, seed=args.fold_seed))


def _slices(args: argparse.Namespace) -> None:
    for line in SlicesPreparer().prepare(args):
        print(line, flush=True)


def _write(output: Path, content: dict) -> None:
    path = write_description(output, content)
    sizes = Counter(case.get("fold") for case in content["training"])
    folds = ", ".join(str(sizes[fold]) for fold in sorted(f for f in sizes if f is not None))
    print(f"{content['numTraining']} labeled cases (folds: {folds or 'none'}), {content['numTest']} without a label")
    names = ", ".join(f"{value} {name}" for value, name in content["labels"].items() if value != "0")
    print(f"labels: {names}; train on one of them, or several together, with --label_value")
    print(path)

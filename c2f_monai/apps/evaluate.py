# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``evaluate``: segment labeled cases with the bundle, and score the masks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from ..data.plain_folders import find_folder_cases
from ..metrics.scores import CaseScore
from ..metrics.tables import CaseRow, read_cases
from ..utils import atomic_write, root_cause
from .demo import BUNDLE
from .evaluation import CASES_FILE
from .score import read_truths, summary_lines
from .training_config import parse_option

__all__ = ["add_parser", "evaluate_dataset", "pair_folders", "run_inference"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    summary = "segment labeled cases and score the masks"
    parser = subparsers.add_parser("evaluate", help=summary, description=__doc__)
    parser.add_argument("--dataset", required=True, type=Path, help="folder of a dataset.json, or of images")
    parser.add_argument("--labels", type=Path, help="folder of labels, where --dataset is a folder of images")
    parser.add_argument("--split", default="test", help="list of dataset.json (default: test)")
    parser.add_argument("--fold", type=int, help="fold of dataset.json that the split test is (default: no folds)")
    parser.add_argument("--config", nargs="*", default=[], type=Path, help="configs after inference.json")
    parser.add_argument("--model", type=Path, help="weights (default: the configuration's)")
    option = "an id of the configuration, such as label_value=10"
    parser.add_argument("--option", action="append", default=[], metavar="ID=VALUE", help=option)
    parser.add_argument("--bundle-root", type=Path, default=BUNDLE, help="the bundle (default: the one of this tree)")
    parser.add_argument("--output", required=True, type=Path, help="folder of masks, cases.csv and summary.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Segment, write the table of cases and print the scores.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, images and labels do not fit, or the evaluation fails.
    """
    options = dict(parse_option(text) for text in args.option)
    dataset, split = args.dataset.absolute(), args.split
    if args.labels is not None:
        dataset, split = pair_folders(dataset, args.labels, args.output.absolute()), "test"
    if args.model is not None:
        options["ckpt_path"] = str(args.model.absolute())
    options |= {"split": split, "fold": args.fold}
    cases = evaluate_dataset(args.bundle_root, dataset, args.output.absolute(), args.config, options)
    groups = {case: row.group for case, row in cases.items()}
    print("\n".join(summary_lines({case: _score_of(row) for case, row in cases.items()}, groups)))
    print(f"Masks and {CASES_FILE} of {len(cases)} cases are in {args.output}")


def pair_folders(images: Path, labels: Path, output: Path) -> Path:
    """Write a ``dataset.json`` whose split "test" is the images with their labels, and return its folder.

    Args:
        images: folder of images; those without a label are left out.
        labels: folder of label maps, called as the images are, or by one of the layouts of ``prepare folders``.
        output: folder to write to.
    """
    found = find_folder_cases(images, labels, [])
    cases = [{"image": str(found.images[case]), "label": str(label)} for case, label in sorted(found.labels.items())]
    with atomic_write(output / "dataset.json") as part:
        part.write_text(json.dumps({"name": images.name, "test": cases}, indent=1) + "\n", encoding="utf-8")
    return output


def evaluate_dataset(
    bundle_root: Path, dataset: Path, output: Path, overlays: Sequence[Path], options: Mapping[str, Any]
) -> dict[str, CaseRow]:
    """Run the bundle's inference on labeled cases, as ``python -m monai.bundle run`` does.

    Args:
        bundle_root: folder of the bundle.
        dataset: folder of a ``dataset.json``.
        output: folder of the masks and the table.
        overlays: configurations after ``inference.json``.
        options: ids to override; "split" and "fold" choose the cases.

    Returns:
        The rows of the table by case: scores on the images' own grids.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, or the evaluation fails.
    """
    read_truths(dataset / "dataset.json", options["split"], options["fold"])  # refuses cases without a label
    run_inference(bundle_root, overlays, {"dataset_dir": str(dataset), "output_dir": str(output), **options})
    return read_cases(output / CASES_FILE, ["dsc", "voxels", "label_voxels"])


def run_inference(bundle_root: Path, overlays: Sequence[Path], options: Mapping[str, Any]) -> None:
    """Run the bundle's inference configuration in this process.

    Args:
        bundle_root: folder of the bundle.
        overlays: configurations after ``inference.json``.
        options: ids to override.

    Raises:
        FileNotFoundError: When a configuration or the weights that the options name do not exist.
        ValueError: When it fails.
    """
    files = [bundle_root / "configs" / "inference.json", *overlays]
    for path in [*files, *([Path(options["ckpt_path"])] if "ckpt_path" in options else [])]:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}.")
    own = {"bundle_root": str(bundle_root), **options}
    try:
        workflow = ConfigWorkflow([str(file) for file in files], workflow_type="infer", meta_file=None, **own)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except RuntimeError as error:
        raise ValueError(f"inference failed: {root_cause(error)}") from error


def _score_of(row: CaseRow) -> CaseScore:
    """Scores of a case as ``score`` makes them."""
    voxels, label_voxels = (int(row.number(column) or 0) for column in ("voxels", "label_voxels"))
    return CaseScore(row.number("dsc"), row.number("hd95"), voxels, label_voxels, row.number("ml") or 0.0)

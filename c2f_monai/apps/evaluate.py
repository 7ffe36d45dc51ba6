# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``evaluate``: segment labeled cases with the bundle, and score the masks."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from ..config import override_config
from ..data.manifest import CasesFailed
from ..data.plain_folders import find_folder_cases
from ..inferers import SIGNALS, TRAITS, QualityModel, check_case_count, fit_quality
from ..metrics.scores import CaseScore
from ..metrics.tables import CaseRow, read_cases
from ..utils import atomic_write, root_cause
from .evaluation import CASES_FILE
from .model_config import find_model
from .score import read_truths, summary_lines
from .training_config import parse_option

__all__ = ["calibrate", "evaluate_dataset", "fit_rows", "pair_folders", "run_inference", "signals_in"]


def run(args: argparse.Namespace) -> None:
    """Segment, write the table of cases and print the scores.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, images and labels do not fit, or the evaluation fails.
    """
    options = dict(parse_option(text) for text in args.option)
    root, files, ids = find_model(args.model, args.config)
    options = {**ids, **options, "bundle_root": str(root), "split": args.split, "fold": args.fold}
    output = args.output.absolute()
    with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
        dataset = args.dataset.absolute()
        if args.labels is not None:
            dataset, options["split"] = pair_folders(dataset, args.labels, Path(folder)), "test"
        cases = evaluate_dataset(files, dataset, output, options, args.calibrate is not None)
    groups = {case: row.group for case, row in cases.items()}
    print("\n".join(summary_lines({case: _score_of(row) for case, row in cases.items()}, groups)))
    if args.calibrate is not None:
        print(calibrate(cases, output, args.calibrate))
    print(f"Masks and {CASES_FILE} of {len(cases)} cases are in {args.output}")


def calibrate(cases: Mapping[str, CaseRow], output: Path, path: Path) -> str:
    """Fit the prediction of the DSC on scored cases and write it.

    Args:
        cases: rows of the table, with their signals.
        output: folder of the masks; its manifest says of which weights they are.
        path: file to write; beside the weights as ``<weights>.quality.json`` it is found.

    Returns:
        What was fitted, in a line.

    Raises:
        ValueError: where the cases are too few, have no signals, or are the work of several files of weights.
    """
    known = [row for row in cases.values() if signals_in(row) and row.number("dsc") is not None]
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    sha256 = manifest["options"].get("weights")
    if not isinstance(sha256, str):
        raise ValueError("a prediction is of one file of weights, but this configuration runs several: calibrate one.")
    model = fit_rows(known, sha256)
    model.write(path)
    weights = ", ".join(f"{name} {value:.2f}" for name, value in model.weights.items())
    return f"{path}: fitted on {model.cases} cases: {weights}; the bound is {100 * model.margin:.1f} points lower"


def fit_rows(rows: Sequence[CaseRow], sha256: str = "") -> QualityModel:
    """What :func:`c2f_monai.inferers.fit_quality` makes of scored rows of the table of cases.

    Args:
        rows: with signals and DSC.
        sha256: of the file of weights that they are of.

    Raises:
        ValueError: as that function.
    """
    signals, scores = [signals_in(row) for row in rows], [row.number("dsc") or 0.0 for row in rows]
    volumes = [(row.number("voxels") or 0.0, row.number("label_voxels") or 0.0) for row in rows]
    known = volumes if all(found and true for found, true in volumes) else None
    # Stacks of single slices, which alone have no HD95, tell neither a size nor anything along the body's axis.
    stacks = all(row.number("hd95") is None for row in rows)
    names = [name for name in ("ml", *TRAITS) if not (stacks and name in ("ml", "place_s", "fov_s"))]
    return fit_quality(signals, scores, sha256, known, [_numbers_in(row, names) for row in rows])


def signals_in(row: CaseRow) -> dict[str, float]:
    """Signals of quality in a row of the table of cases."""
    return _numbers_in(row, SIGNALS)


def _numbers_in(row: CaseRow, names: Sequence[str]) -> dict[str, float]:
    found = {name: row.number(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def pair_folders(images: Path, labels: Path, output: Path) -> Path:
    """Write a ``dataset.json`` whose split "test" is the images with their labels, and return its folder.

    Args:
        images: folder of images; those without a label are left out.
        labels: folder of label maps, called as the images are, or by one of the layouts of ``prepare folders``.
        output: folder to write to.
    """
    found = find_folder_cases(images.absolute(), labels.absolute(), [])
    cases = [{"image": str(found.images[case]), "label": str(label)} for case, label in sorted(found.labels.items())]
    with atomic_write(output / "dataset.json") as part:
        part.write_text(json.dumps({"name": images.name, "test": cases}, indent=1) + "\n", encoding="utf-8")
    return output


def evaluate_dataset(
    files: Sequence[Path], dataset: Path, output: Path, options: Mapping[str, Any], calibrates: bool = False
) -> dict[str, CaseRow]:
    """Run the bundle's inference on labeled cases, as ``python -m monai.bundle run`` does.

    Args:
        files: ``inference.json`` and overlays.
        dataset: folder of a ``dataset.json``.
        output: folder of the masks and the table.
        options: ids to override; "split" and "fold" choose the cases.
        calibrates: whether a prediction is to be fitted on them, for which they must be enough. Defaults to False.

    Returns:
        The rows of the table by case: scores on the images' own grids.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, the cases are too few to calibrate, or the evaluation fails.
    """
    # Refuses cases without a label.
    truths = read_truths(dataset / "dataset.json", options["split"], options["fold"], _holdout(files, options))
    if calibrates:
        check_case_count(len(truths))
    (output / CASES_FILE).unlink(missing_ok=True)  # of an earlier run: it must not be taken for this one's
    # The table, the summary and what is fitted on them are about these cases, whatever else the folder holds.
    again = {"overwrite": True, "strict": True, "manifest#alone": True}
    run_inference(files, {"dataset_dir": str(dataset), "output_dir": str(output), **again, **options})
    if not (output / CASES_FILE).is_file():
        tables = ", ".join(sorted(path.name for path in output.glob("cases_*.csv")))
        raise ValueError(f"the configuration scores several targets, one table each: see {tables} in {output}.")
    return read_cases(output / CASES_FILE, ["dsc", "voxels", "label_voxels"])


def _holdout(files: Sequence[Path], options: Mapping[str, Any]) -> float:
    """What the configuration holds back, as the training of its overlays did."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(options))
    return float(parser.get_parsed_content("holdout")) if "holdout" in parser else 0.2


def run_inference(files: Sequence[Path], options: Mapping[str, Any]) -> None:
    """Run a bundle's inference in this process.

    Args:
        files: ``inference.json`` and overlays.
        options: ids to override.

    Raises:
        FileNotFoundError: When a configuration or the weights that the options name do not exist.
        ValueError: When it fails.
    """
    for path in [*files, *([Path(options["ckpt_path"])] if "ckpt_path" in options else [])]:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}.")
    try:
        workflow = ConfigWorkflow([str(file) for file in files], workflow_type="infer", meta_file=None)
        override_config(workflow.parser, options)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except RuntimeError as error:
        raise ValueError(f"inference failed: {root_cause(error)}") from error
    except CasesFailed as failed:
        raise ValueError(str(failed)) from None


def _score_of(row: CaseRow) -> CaseScore:
    """Scores of a case as ``score`` makes them."""
    voxels, label_voxels = (int(row.number(column) or 0) for column in ("voxels", "label_voxels"))
    return CaseScore(row.number("dsc"), row.number("hd95"), voxels, label_voxels, row.number("ml") or 0.0)

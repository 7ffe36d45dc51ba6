# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``evaluate``: segment labeled cases with the bundle, and score the masks."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from ..config import override_config
from ..data.folder_pairs import find_folder_cases
from ..data.manifest import CasesFailed
from ..data.readers import read_image
from ..handlers import TargetReports
from ..inferers import SIGNALS, TRAITS, QualityModel, check_case_count, check_quality_place, fit_quality
from ..metrics.scores import CaseScore
from ..metrics.statistics import summarize
from ..metrics.tables import CaseRow, read_cases
from ..transforms import all_label_values, check_whole_values, class_values
from ..utils import atomic_write, root_cause
from .model_config import find_model, model_ids
from .score import read_truths, summary_lines, target_lines

__all__ = ["ScoredTable", "calibrate", "evaluate_dataset", "fit_rows", "pair_folders", "run_inference", "signals_in"]

#: Ids that the command has arguments for, or whose cases it has checked.
_SAID = frozenset(("input", "output_dir", "dataset_dir", "split", "fold", "bundle_root"))


def run(args: argparse.Namespace) -> None:
    """Segment, write the table of cases and print the scores.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, images and labels do not fit, or the evaluation fails.
    """
    options = model_ids(args.option, _SAID)
    if args.labels is not None and (args.fold is not None or args.split != "test"):
        raise ValueError(
            "--labels makes a list of all images: --split and --fold choose cases of a dataset.json alone."
        )
    if args.calibrate is not None:
        check_quality_place(args.calibrate)
    root, files, ids = find_model(args.model, args.config)
    options = {**ids, **options, "bundle_root": str(root), "split": args.split, "fold": args.fold}
    output = args.output.absolute()
    with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
        dataset = args.dataset.absolute()
        if args.labels is not None:
            for line in pair_folders(dataset, args.labels, Path(folder)):
                print(line)
            dataset = Path(folder)
        tables = evaluate_dataset(files, dataset, output, options, args.calibrate is not None)
    for table in tables:
        lines = summary_lines({case: _score_of(row) for case, row in table.cases.items()}, table.groups)
        for line in [*lines, *table.region_lines]:
            print(f"{table.target}, {line}" if table.target else line)
    if args.calibrate is not None:
        print(calibrate(tables[0].cases, output, args.calibrate))
    names = ", ".join(table.path.name for table in tables)
    print(f"Masks and {names} of {len(tables[0].cases)} cases are in {args.output}")


@dataclass(frozen=True)
class ScoredTable:
    """A table of cases that an evaluation wrote.

    Attributes:
        target: name of the target; "" where there is one alone.
        path: of the file.
        cases: its rows by case: scores on the images' own grids.
    """

    target: str
    path: Path
    cases: dict[str, CaseRow]

    @property
    def groups(self) -> dict[str, str]:
        """The group of each case."""
        return {case: row.group for case, row in self.cases.items()}

    @property
    def region_lines(self) -> list[str]:
        """What share of the target the region near the organ shows, all cases together; none without such a region."""
        recalls = [recall for row in self.cases.values() if (recall := row.number("region_recall")) is not None]
        return [f"all: in the organ's region [%] {summarize(recalls).format(100, 2)}"] if recalls else []


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
    try:
        model = fit_rows(known, sha256)
    except ValueError as error:
        if len(known) == len(cases):
            raise
        raise ValueError(
            f"{error} Of {len(cases)} cases {len(cases) - len(known)} found nothing or have no DSC."
        ) from error
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


def pair_folders(images: Path, labels: Path, output: Path) -> list[str]:
    """Write a ``dataset.json`` whose split "test" is the images with their labels.

    Args:
        images: folder of images; those without a label are left out.
        labels: folder of label maps, called as the images are, or by one of the layouts of ``prepare folders``.
        output: folder to write to.

    Returns:
        lines about what was left out.
    """
    found = find_folder_cases(images.absolute(), labels.absolute(), [])
    cases = [{"image": str(found.images[case]), "label": str(label)} for case, label in sorted(found.labels.items())]
    with atomic_write(output / "dataset.json") as part:
        part.write_text(json.dumps({"name": images.name, "test": cases}, indent=1) + "\n", encoding="utf-8")
    return found.left_out


def evaluate_dataset(
    files: Sequence[Path], dataset: Path, output: Path, options: Mapping[str, Any], calibrates: bool = False
) -> list[ScoredTable]:
    """Run the bundle's inference on labeled cases, as ``python -m monai.bundle run`` does.

    Args:
        files: ``inference.json`` and overlays.
        dataset: folder of a ``dataset.json``.
        output: folder of the masks and the table.
        options: ids to override; "split" and "fold" choose the cases.
        calibrates: whether a prediction is to be fitted on them, for which they must be enough. Defaults to False.

    Returns:
        The table of cases; one for each target where the configuration has several, such as organ and cyst.

    Raises:
        FileNotFoundError: When a folder or file does not exist.
        ValueError: When a case has no label, a label holds values that no label map has, the cases are too few to
            calibrate, the evaluation fails, or the configuration writes no table.
    """
    # Refuses cases without a label.
    configured = _configuration(files, options)
    holdout = float(configured.get_parsed_content("holdout")) if "holdout" in configured else 0.2
    truths = read_truths(dataset / "dataset.json", options["split"], options["fold"], holdout)
    if calibrates:
        check_case_count(len(truths))
        _check_one_target(configured)
    # Labels are read now, and not when the cases before them are segmented.
    held = {value for truth in truths.values() for value in check_whole_values(read_image(truth.label))}
    given = configured.get_parsed_content("label_value") if "label_value" in configured else [1]
    for line in target_lines(held, all_label_values(given), "--option label_value", not class_values(given)):
        print(line)
    # The table, the summary and what is fitted on them are about these cases, whatever else the folder holds.
    again = {"overwrite": True, "strict": True, "manifest#alone": True}
    parser = run_inference(files, {"dataset_dir": str(dataset), "output_dir": str(output), **again, **options})
    report = parser.get_parsed_content("case_report") if "case_report" in parser else None
    reports = report.reports if isinstance(report, TargetReports) else {"": report}
    paths = {target: one.path for target, one in reports.items() if one is not None and one.path is not None}
    if not paths:
        raise ValueError("the configuration writes no table of cases: leave case_report as it is in inference.json.")
    columns = ["dsc", "voxels", "label_voxels"]
    return [ScoredTable(target, path, read_cases(path, columns)) for target, path in paths.items()]


def _check_one_target(configured: ConfigParser) -> None:
    targets = configured.get_parsed_content("case_report#targets") if "case_report#targets" in configured else [""]
    if len(targets) > 1:
        told = ", ".join(targets)
        raise ValueError(f"a prediction is of one target, but this configuration scores several: {told}.")


def _configuration(files: Sequence[Path], options: Mapping[str, Any]) -> ConfigParser:
    """What is held back and looked for: as the training of the same overlays had it."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(options))
    return parser


def run_inference(files: Sequence[Path], options: Mapping[str, Any]) -> ConfigParser:
    """Run a bundle's inference in this process, and return its configuration.

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
    parser: ConfigParser = workflow.parser
    return parser


def _score_of(row: CaseRow) -> CaseScore:
    """Scores of a case as ``score`` makes them."""
    voxels, label_voxels = (int(row.number(column) or 0) for column in ("voxels", "label_voxels"))
    return CaseScore(row.number("dsc"), row.number("hd95"), voxels, label_voxels, row.number("ml") or 0.0)

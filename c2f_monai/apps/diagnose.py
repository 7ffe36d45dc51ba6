# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``diagnose``: where given weights lose, on a labeled data set."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..data.entries import fingerprint
from ..metrics.markdown import CHANGE_HEADER, SCORE_HEADER, change_cells, markdown_links, markdown_table, score_cells
from ..metrics.rounds import (
    Pick,
    RoundCurve,
    after_rounds,
    curves_of,
    inter_round_rows,
    last_round,
    round_picks,
    score_row,
)
from ..metrics.tables import read_cases
from ..utils import (
    atomic_write,
    bundle_root,
    config_file,
    package_version,
    reason_of,
    settings_beside,
    sha256_of,
    some_names,
)
from ..visualize.charts import box_figure, convergence_figure
from .evaluation import CASES_FILE, bundle_command, evaluate
from .training_config import parse_option, read_training_config

__all__ = ["Diagnosis", "diagnoses"]

_ROUNDS = "rounds"


@dataclass(frozen=True)
class Diagnosis:
    """An evaluation, and the rows of the table that are read from it.

    Attributes:
        name: of its folder.
        picks: by the label of the row, which round of a case counts.
        overlays: names of the bundle's configurations after ``evaluate.json``.
        options: ids that are set.
    """

    name: str
    picks: Mapping[str, Pick]
    overlays: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def diagnoses(views: Sequence[str]) -> list[Diagnosis]:
    """What is evaluated, in the order of the rows [3.5.2].

    Args:
        views: of the weights; a view alone costs as much as its part of the fused coarse stage.
    """
    alone = [
        Diagnosis(
            f"coarse_{view}",
            {f"coarse, {view}": after_rounds(0)},
            options={"validate#inferer#views": [str(view)], "max_rounds": 0},
        )
        for view in views
    ]
    rounds = Diagnosis(_ROUNDS, round_picks(), ("diagnostics.json",))
    return [*alone, rounds, Diagnosis("oracle_box", {"oracle box": last_round}, ("oracle_box.json",))]


def run(args: argparse.Namespace) -> None:
    """Evaluate what is missing, write and print the table.

    Raises:
        ValueError: When there are no such weights or configurations, or an evaluation fails.
    """
    root = args.bundle_root or bundle_root()
    configs = root / "configs"
    own = settings_beside(args.weights)
    files = [configs / "train.json", *own, *map(config_file, args.overlay), configs / "evaluate.json"]
    for path in (args.weights, *files):
        if not path.is_file():
            raise ValueError(f"there is no file {path}.")
    options: dict[str, Any] = {"bundle_root": str(root), "ckpt_path": str(args.weights)}
    if args.dataset_dir is not None:
        options["dataset_dir"] = str(args.dataset_dir)
    options |= dict(parse_option(text) for text in args.option)
    parser = read_training_config([str(path) for path in files], str(root), options.get("dataset_dir"), args.option)
    data = _data_of(parser)
    curves: dict[str, list[RoundCurve]] = {}
    left_out: set[str] = set()
    found = diagnoses(parser.get_parsed_content("views"))
    for one in found:
        print(f"{one.name}:", flush=True)
        read = [*files, *(configs / name for name in one.overlays)]
        contents = {"weights": sha256_of(args.weights), "configurations": list(map(sha256_of, read)), "data": data}
        table = _table_of(args.output / one.name, read, {**options, **one.options}, contents)
        curves[one.name], empty = _read_curves(table)
        left_out |= empty
    path = _write(args.output, f"Diagnosis of {args.weights}", found, curves, sorted(left_out))
    print(f"\n{path.read_text(encoding='utf-8')}\n{args.output}: table, figures, and the evaluations with their cases")


def _data_of(parser: ConfigParser) -> str:
    """Digest of the cases that are evaluated: ``dataset.json``, and size and time of each image and label.

    The phantom is made for it where it is evaluated and not there yet.

    Raises:
        ValueError: When the data set is not there, or has no such cases.
    """
    try:
        folder, cases = (parser.get_parsed_content(name) for name in ("dataset_path", "validate#cases"))
    except RuntimeError as error:
        raise ValueError(reason_of(error)) from error
    description = Path(folder) / "dataset.json"
    listed = sha256_of(description) if description.is_file() else ""
    # One by one: an older image in the place of another is hidden by the time of its label.
    files = [case[key] for case in cases for key in ("image", "label") if key in case]
    content = [listed, cases, [fingerprint({"image": file}) for file in files]]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _table_of(folder: Path, files: Sequence[Path], options: Mapping[str, Any], contents: Mapping[str, Any]) -> Path:
    """The table of cases of an evaluation, which is run unless it was run before with the same command and files.

    Args:
        folder: of the evaluation.
        files: configurations.
        options: ids that are set.
        contents: digests of what the command reads; its paths stay where files are edited.
    """
    command = list(bundle_command(files, options))
    made = {"version": package_version(), "command": command, **contents}
    note, table = folder / "evaluation.json", folder / CASES_FILE
    if note.is_file() and table.is_file() and json.loads(note.read_text(encoding="utf-8")) == made:
        return table
    note.unlink(missing_ok=True)  # it says that the table is whole
    table = evaluate(files, options, folder)
    with atomic_write(note) as part:
        part.write_text(json.dumps(made, indent=1), encoding="utf-8")
    return table


def _read_curves(table: Path) -> tuple[list[RoundCurve], set[str]]:
    """Curves of the cases, and the names of those without the target, which have no DSC."""
    cases = read_cases(table, ["dsc_round_0", "label_voxels"])
    empty = {name for name, row in cases.items() if not row.number("label_voxels")}
    if len(empty) == len(cases):
        raise ValueError(f"{table}: none of the {len(cases)} cases has the target: set --option label_value.")
    return curves_of({name: row for name, row in cases.items() if name not in empty}), empty


def _write(
    folder: Path,
    title: str,
    found: Sequence[Diagnosis],
    curves: Mapping[str, Sequence[RoundCurve]],
    left_out: Sequence[str],
) -> Path:
    """Write table.md, rows.csv, box.png and convergence.png; return the first."""
    picked = {label: [pick(c) for c in curves[one.name]] for one in found for label, pick in one.picks.items()}
    rows = [score_row(label, cases) for label, cases in picked.items()]
    with atomic_write(folder / "rows.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{v:.6f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    lines = [f"# {title}", "", "DSC in % on the working grid, mean ± std (max, min) over the cases.", ""]
    lines += markdown_table(("", *SCORE_HEADER), [[row["row"], *score_cells(row)] for row in rows])
    lines += ["", "Inter-round DSC d(t):", ""]
    lines += markdown_table(CHANGE_HEADER, [change_cells(row) for row in inter_round_rows(curves[_ROUNDS])])
    if left_out:
        lines += ["", f"Cases without the target, left out: {len(left_out)} ({some_names(left_out)})."]
    figures = {
        "box.png": box_figure({label: [one.dsc for one in cases] for label, cases in picked.items()}),
        "convergence.png": convergence_figure({"all cases": curves[_ROUNDS]}),
    }
    for name, figure in figures.items():
        with atomic_write(folder / name) as part:
            figure.savefig(part)
    pictures = sorted(path.relative_to(folder).as_posix() for path in (folder / _ROUNDS).glob("*.png"))
    lines += ["", f"Figures: {markdown_links([*figures, *pictures])}", ""]
    path = folder / "table.md"
    with atomic_write(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
    return path

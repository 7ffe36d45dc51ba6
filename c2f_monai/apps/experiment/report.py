# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From tables of cases to a table of the experiment: CSV, Markdown with the chapter's numbers beside, figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...utils import atomic_write, some_names
from ...visualize.charts import box_figure, convergence_figure, scatter_figure
from .markdown import comparison_lines, convergence_lines, figure_lines, provenance_lines, table_lines
from .parts import Part, Settings, cases_file
from .plan import Table
from .scores import Curves, Scores, case_scores, gather, paired_scores, scored_row

__all__ = ["write_report"]


def write_report(table: Table, settings: Settings, parts: Sequence[Part], command: str) -> Path:
    """Write ``<output>/tables/<name>/``: table.md, rows.csv, cases.csv, results.json and figures.

    Args:
        table: whose parts are done.
        settings: of the experiment.
        parts: of the table, whose results say how the numbers were made.
        command: that printed the table.

    Returns:
        The Markdown file.
    """
    folder = settings.output / "tables" / table.name
    gathered = {evaluation.name: gather(evaluation, settings) for evaluation in table.evaluations}
    curves = {name: found for name, (found, _) in gathered.items()}
    left_out = set().union(*(names for _, names in gathered.values()))
    named = [(row, curves[row.evaluation.name]) for row in table.rows if row.evaluation is not None]
    rows = {row.label: scored_row(row.label, found, row.pick) for row, found in named}
    scores = {row.label: case_scores(found, row.pick) for row, found in named}
    results = [json.loads(part.result.read_text(encoding="utf-8")) for part in parts]
    _write_csv(folder / "rows.csv", [{**row, "chapter": _chapter(table, name)} for name, row in rows.items()])
    _write_csv(folder / "cases.csv", _case_rows(scores))
    with atomic_write(folder / "results.json") as file:
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    figures = _write_figures(folder, table, scores, curves) | _case_figures(table, settings)
    lines = [f"# {table.title}", "", *table_lines(table, rows), *comparison_lines(table.comparisons, scores)]
    lines += convergence_lines(table, curves)
    if left_out:
        lines += ["", f"Cases without the target, left out: {len(left_out)} ({some_names(sorted(left_out))})."]
    lines += ["", *figure_lines(figures, folder), "", *provenance_lines(command, results, settings), ""]
    path = folder / "table.md"
    with atomic_write(path) as file:
        file.write_text("\n".join(lines), encoding="utf-8")
    return path


def _chapter(table: Table, label: str) -> str:
    return next(row.chapter for row in table.rows if row.label == label)


def _case_rows(scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    cases = sorted({case for found in scores.values() for case in found})
    picked = {case: {label: found[case].dsc for label, found in scores.items() if case in found} for case in cases}
    return [{"case": case, **{label: picked[case].get(label) for label in scores}} for case in cases]


def _write_figures(
    folder: Path, table: Table, scores: Mapping[str, Scores], curves: Mapping[str, Curves]
) -> dict[str, Path]:
    """Charts of the table, by their names."""
    found = {"DSC of the cases": folder / "box.png"}
    _save(box_figure({label: [p.dsc for p in each.values()] for label, each in scores.items()}), folder / "box.png")
    for number, pair in enumerate(table.comparisons, start=1):
        a, b = paired_scores(pair, scores)
        path = found[f"{pair.first} against {pair.second}"] = folder / f"scatter_{number}.png"
        _save(scatter_figure(a.tolist(), b.tolist(), pair.first, pair.second), path)
    if table.convergence:
        every = {
            method: [curve for cases in curves[evaluation.name].values() for curve in cases]
            for method, evaluation in table.convergence.items()
        }
        path = found["convergence"] = folder / "convergence.png"
        _save(convergence_figure(every), path)
    return found


def _case_figures(table: Table, settings: Settings) -> dict[str, Path]:
    """Of the first fold and seed: through the rounds (Fig. 3.8) and of the saliency maps (Fig. 3.9), where they are."""
    found = {}
    for evaluation in table.evaluations:
        folder = cases_file(evaluation, settings, settings.folds[0], settings.seeds[0]).parent
        for path in sorted([*folder.glob("*_rounds.png"), *folder.glob("*_saliency.png")]):
            found[f"{evaluation.name}: {path.stem}"] = path
    return found


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{v:.6f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From tables of cases to a table of the experiment: CSV, Markdown with the chapter's numbers beside, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from c2f_monai.utils import atomic_write, some_names
from c2f_monai.visualize.charts import box_figure, convergence_figure, scatter_figure

from .markdown import comparison_lines, convergence_lines, figure_lines, gain_lines, provenance_lines, table_lines
from .parts import ExperimentPart, ExperimentSettings, parts_of
from .plan import Table
from .results import figures_of, has_result, read_made
from .scores import Curves, Scores, case_scores, gather, paired_scores, scored_row

__all__ = ["write_report"]


def write_report(table: Table, settings: ExperimentSettings, parts: Sequence[ExperimentPart], command: str) -> Path:
    """Write ``<output>/tables/<name>/``: table.md, rows.csv, cases.csv and figures.

    Args:
        table: whose parts are done.
        settings: of the experiment.
        parts: of the table, whose results say how the numbers were made.
        command: that printed the table.

    Returns:
        The Markdown file.
    """
    folder = settings.output / "tables" / table.name
    table, absent = _recorded(table, settings)
    if absent:
        needed = {part.name for part in parts_of([table], settings)}
        parts = [part for part in parts if part.name in needed]
    gathered = {evaluation.name: gather(evaluation, settings) for evaluation in table.evaluations}
    curves = {name: found for name, (found, _) in gathered.items()}
    left_out = set().union(*(names for _, names in gathered.values()))
    named = [(row, curves[row.evaluation.name]) for row in table.rows if row.evaluation is not None]
    rows = {row.label: scored_row(row.label, found, row.pick) for row, found in named}
    scores = {row.label: case_scores(found, row.pick) for row, found in named}
    chapter = {row.label: row.chapter for row in table.rows}
    _write_csv(folder / "rows.csv", pd.DataFrame([{**row, "chapter": chapter[name]} for name, row in rows.items()]))
    picked = {label: {case: one.dsc for case, one in found.items()} for label, found in scores.items()}
    _write_csv(folder / "cases.csv", pd.DataFrame(picked).sort_index().rename_axis("case").reset_index())
    figures = _write_figures(folder, table, scores, curves)
    figures |= {f"{e.name}: {path.stem}": path for e in table.evaluations for path in figures_of(e, settings)}
    lines = [f"# {table.title}", "", *table_lines(table, rows), *comparison_lines(table.comparisons, scores)]
    lines += [*gain_lines(table, scores), *convergence_lines(table, curves)]
    if absent:
        lines += ["", f"Rows that were not run with all of these training seeds, left empty: {'; '.join(absent)}."]
    if left_out:
        lines += ["", f"Cases without the target, left out: {len(left_out)} ({some_names(sorted(left_out))})."]
    lines += [
        "",
        *figure_lines(figures, folder),
        "",
        *provenance_lines(command, read_made(parts, settings), settings),
        "",
    ]
    path = folder / "table.md"
    with atomic_write(path) as file:
        file.write_text("\n".join(lines), encoding="utf-8")
    return path


def _recorded(table: Table, settings: ExperimentSettings) -> tuple[Table, list[str]]:
    """The table with empty rows for what a record has not, which may be older than the table, and their labels.

    Where none of the rows is recorded they stay, to be missed by name.
    """
    runs = [(fold, seed) for fold in settings.folds for seed in settings.seeds]
    absent = [
        row.label
        for row in table.rows
        if row.evaluation and settings.rows and not all(has_result(row.evaluation, settings, *run) for run in runs)
    ]
    if len(absent) in (0, sum(row.evaluation is not None for row in table.rows)):
        return table, []
    rows = tuple(replace(row, evaluation=None) if row.label in absent else row for row in table.rows)
    pairs = tuple(pair for pair in table.comparisons if not {pair.first, pair.second} & set(absent))
    gains = tuple(g for g in table.gains if not {label for p in g.pairs for label in (p.first, p.second)} & set(absent))
    return replace(table, rows=rows, comparisons=pairs, gains=gains), absent


def _write_figures(
    folder: Path, table: Table, scores: Mapping[str, Scores], curves: Mapping[str, Curves]
) -> dict[str, Path]:
    """Charts of the table, by their names."""
    found = {"DSC of the cases": folder / "box.png"}
    _save(box_figure({label: [p.dsc for p in each.values()] for label, each in scores.items()}), folder / "box.png")
    if table.comparisons:
        paired = [(pair, paired_scores(pair, scores)) for pair in table.comparisons]
        path = found["the pairs case by case"] = folder / "pairs.png"
        _save(scatter_figure({(pair.first, pair.second): (a.tolist(), b.tolist()) for pair, (a, b) in paired}), path)
    if table.convergence:
        every = {
            method: [curve for cases in curves[evaluation.name].values() for curve in cases]
            for method, evaluation in table.convergence.items()
        }
        path = found["convergence"] = folder / "convergence.png"
        _save(convergence_figure(every), path)
    return found


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part)


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_write(path) as part:
        frame.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")

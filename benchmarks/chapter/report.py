# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From tables of cases to a table of the experiment: CSV, Markdown with the chapter's numbers beside, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from c2f_monai.utils import atomic_write, some_names
from c2f_monai.visualize.charts import box_figure, convergence_figure, scatter_figure

from .markdown import comparison_lines, convergence_lines, figure_lines, gain_lines, provenance_lines, table_lines
from .parts import ExperimentPart, ExperimentSettings
from .plan import Table
from .results import figures_of, read_made
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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The lines of a table in Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...metrics.rounds import inter_round_rows
from ...metrics.statistics import compare_paired
from .parts import Settings
from .plan import Comparison, Table
from .scores import Curves, Scores, paired_scores

__all__ = ["comparison_lines", "convergence_lines", "figure_lines", "provenance_lines", "table_line", "table_lines"]


def table_lines(table: Table, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Rows of numbers, see :func:`c2f_monai.apps.experiment.scores.scored_row`, and what the chapter prints."""
    lines = [
        "DSC in % on the working grid, mean ± std (max, min) over the cases; last, what the chapter prints.",
        "",
        "| | DSC | 95 % interval | rounds | converged | chapter |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        cells = _cells(rows[row.label]) if row.evaluation is not None else ["", "", "", ""]
        lines.append(table_line([row.label, *cells, row.chapter]))
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    mean, std, high, low = (f"{100 * row[key]:.2f}" for key in ("mean", "std", "max", "min"))
    seeds = f"; {row['seeds']} seeds, std of their means {100 * row['seed_std']:.2f}" if row["seeds"] > 1 else ""
    converged = "" if row["converged"] is None else f"{round(row['converged'], 1):g} of {row['cases']}"
    interval = f"{100 * row['low']:.2f} .. {100 * row['high']:.2f}"
    rounds = f"{row['rounds_mean']:.2f}±{row['rounds_std']:.2f}"
    return [f"{mean}±{std} ({high}, {low}){seeds}", interval, rounds, converged]


def comparison_lines(pairs: Sequence[Comparison], scores: Mapping[str, Scores]) -> list[str]:
    """Paired differences of the cases that both rows have."""
    if not pairs:
        return []
    lines = [
        "",
        "Case by case, DSC in %: difference, bootstrap interval of its mean, Wilcoxon's signed-rank test.",
        "",
        "| | n | difference | 95 % interval | from .. to | wins/losses/ties | p | chapter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair in pairs:
        a, b = paired_scores(pair, scores)
        found = compare_paired(100 * a, 100 * b)
        d, (low, high) = found.difference, found.interval
        cells = [
            f"{pair.first} - {pair.second}",
            str(d.count),
            f"{d.mean:+.2f}±{d.std:.2f}",
            f"{low:+.2f} .. {high:+.2f}",
            f"{d.min:+.2f} .. {d.max:+.2f}",
            f"{found.wins}/{found.losses}/{found.ties}",
            f"{found.p_value:.2g}",
            pair.chapter,
        ]
        lines.append(table_line(cells))
    return lines


def convergence_lines(table: Table, curves: Mapping[str, Curves]) -> list[str]:
    """Inter-round DSC of each method, over the cases and seeds that ran the round."""
    lines: list[str] = []
    for method, evaluation in table.convergence.items():
        lines += ["", f"Inter-round DSC d(t), {method}:", "", "| t | cases | mean | median | min | chapter |"]
        lines.append("|---|---|---|---|---|---|")
        every = [curve for cases in curves[evaluation.name].values() for curve in cases]
        for row in inter_round_rows(every):
            numbers = [f"{row[key]:.4f}" for key in ("mean", "median", "min")]
            chapter = table.changes.get(method, {}).get(row["round"], "")
            lines.append(table_line([str(row["round"]), str(row["cases"]), *numbers, chapter]))
    return lines


def figure_lines(figures: Mapping[str, Path], folder: Path) -> list[str]:
    """Links to figures by their names, from a file in ``folder``."""
    return ["Figures:", "", *(f"- [{name}]({os.path.relpath(path, folder)})" for name, path in figures.items())]


def provenance_lines(command: str, results: Sequence[Mapping[str, Any]], settings: Settings) -> list[str]:
    """How the numbers were made."""

    def each(key: str) -> str:
        return "; ".join(sorted({json.dumps(result[key], ensure_ascii=False) for result in results}))

    minutes = sum(result["seconds"] for result in results) / 60
    return [
        f"`{command}`" + (" (small version: a few cases and iterations)" if settings.small else ""),
        "",
        f"Source {each('source')}, versions {each('versions')}, machine {each('machine')}; {minutes:.1f} minutes. "
        "The command of each part is in results.json.",
    ]


def table_line(cells: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"

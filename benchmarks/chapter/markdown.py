# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The lines of a table in Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from c2f_monai.metrics.markdown import (
    CHANGE_HEADER,
    COMPARISON_HEADER,
    SCORE_HEADER,
    change_cells,
    comparison_cells,
    markdown_table,
    score_cells,
)
from c2f_monai.metrics.rounds import inter_round_rows
from c2f_monai.metrics.statistics import compare_paired

from .parts import ExperimentSettings
from .plan import RowPair, Table
from .scores import Curves, Scores, paired_scores

__all__ = ["comparison_lines", "convergence_lines", "figure_lines", "gain_lines", "provenance_lines", "table_lines"]


def table_lines(table: Table, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Rows of numbers, see :func:`benchmarks.chapter.scores.scored_row`, and what the chapter prints."""
    blank = [""] * len(SCORE_HEADER)
    return [
        "DSC in % on the working grid, mean ± std (max, min) over the cases; last, what the chapter prints.",
        "",
        *markdown_table(
            ("", *SCORE_HEADER, "chapter"),
            [[r.label, *(score_cells(rows[r.label]) if r.evaluation else blank), r.chapter] for r in table.rows],
        ),
    ]


def comparison_lines(pairs: Sequence[RowPair], scores: Mapping[str, Scores]) -> list[str]:
    """Paired differences of the rows, which are of the same cases."""
    if not pairs:
        return []
    rows = []
    for pair in pairs:
        a, b = paired_scores(pair, scores)
        found = compare_paired(100 * a, 100 * b)
        label, count = f"{pair.first} - {pair.second}", str(found.difference.count)
        rows.append([label, count, *comparison_cells(found), pair.chapter])
    return [
        "",
        "Case by case, DSC in %: difference, bootstrap interval of its mean over the cases, Wilcoxon's signed-rank",
        "test, of these weights: what other training seeds would change is in the verdicts on the claims.",
        "",
        *markdown_table(("", "n", *COMPARISON_HEADER, "p", "chapter"), rows),
    ]


def gain_lines(table: Table, scores: Mapping[str, Scores]) -> list[str]:
    """Means over several pairs of rows, which are of the same cases."""
    lines: list[str] = []
    for gain in table.gains:
        paired = [paired_scores(pair, scores) for pair in gain.pairs]
        each = [float(100 * (a - b).mean()) for a, b in paired]
        printed = f", {gain.chapter} in the chapter" if gain.chapter else ""
        lines += ["", f"{gain.label}: {sum(each) / len(each):+.2f} points of DSC{printed} ("]
        lines[-1] += (
            ", ".join(f"{pair.first} {value:+.2f}" for pair, value in zip(gain.pairs, each, strict=True)) + ")."
        )
    return lines


def convergence_lines(table: Table, curves: Mapping[str, Curves]) -> list[str]:
    """Inter-round DSC of each method, over the cases and seeds that ran the round."""
    lines: list[str] = []
    for method, evaluation in table.convergence.items():
        every = [curve for cases in curves[evaluation.name].values() for curve in cases]
        printed = table.changes.get(method, {})
        rows = [[*change_cells(row), printed.get(row["round"], "")] for row in inter_round_rows(every)]
        title = f"Inter-round DSC d(t), {method}:"
        lines += ["", title, "", *markdown_table((*CHANGE_HEADER, "chapter"), rows)]
    return lines


def figure_lines(figures: Mapping[str, Path], folder: Path) -> list[str]:
    """Links to figures by their names, from a file in ``folder``."""
    return ["Figures:", "", *(f"- [{name}]({os.path.relpath(path, folder)})" for name, path in figures.items())]


def provenance_lines(command: str, made: Sequence[Mapping[str, Any]], settings: ExperimentSettings) -> list[str]:
    """How the numbers were made."""

    def each(key: str) -> str:
        return "; ".join(sorted({json.dumps(one[key], ensure_ascii=False) for one in made}))

    minutes = sum(one["seconds"] for one in made) / 60
    return [
        f"`{command}`" + (" (small version: a few cases and iterations)" if settings.small else ""),
        "",
        f"Source {each('source')}, versions {each('versions')}, machine {each('machine')}; {minutes:.1f} minutes. "
        "The command of each part is in its result.json, that of a recorded one in parts.json.",
    ]

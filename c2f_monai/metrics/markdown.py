# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown: scores over the rounds, inter-round DSC, and paired comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .statistics import Comparison

__all__ = [
    "CHANGE_HEADER",
    "COMPARISON_HEADER",
    "SCORE_HEADER",
    "change_cells",
    "comparison_cells",
    "markdown_links",
    "markdown_table",
    "score_cells",
]

SCORE_HEADER = ("DSC", "95 % interval", "rounds", "converged")
CHANGE_HEADER = ("t", "cases", "mean", "median", "min")
COMPARISON_HEADER = ("difference", "95 % interval", "from .. to", "wins/losses/ties")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    lines = [_line(header), "|" + "---|" * len(header)]
    return lines + [_line(row) for row in rows]


def markdown_links(paths: Iterable[str]) -> str:
    """Links to files, by their relative paths, separated by commas; names may hold spaces and umlauts.

    Examples:
        >>> markdown_links(["box.png", "rounds/case 1.png"])
        '[box.png](box.png), [rounds/case 1.png](rounds/case%201.png)'
    """
    return ", ".join(f"[{path}]({quote(path)})" for path in paths)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells under :data:`SCORE_HEADER`, DSC in %.

    Args:
        row: see :func:`c2f_monai.metrics.rounds.score_row`; with several training seeds also ``seeds`` and
            ``seed_std``.
    """
    mean, std, high, low = (f"{100 * row[key]:.2f}" for key in ("mean", "std", "max", "min"))
    many = row.get("seeds", 1) > 1
    seeds = f"; {row['seeds']} seeds, std of their means {100 * row['seed_std']:.2f}" if many else ""
    converged = "" if row["converged"] is None else f"{round(row['converged'], 1):g} of {row['cases']}"
    interval = f"{100 * row['low']:.2f} .. {100 * row['high']:.2f}"
    rounds = f"{row['rounds_mean']:.2f}±{row['rounds_std']:.2f}"
    return [f"{mean}±{std} ({high}, {low}){seeds}", interval, rounds, converged]


def change_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells under :data:`CHANGE_HEADER` of a row of :func:`c2f_monai.metrics.rounds.inter_round_rows`."""
    return [str(row["round"]), str(row["cases"]), *(f"{row[key]:.4f}" for key in ("mean", "median", "min"))]


def comparison_cells(found: Comparison) -> list[str]:
    """Cells under :data:`COMPARISON_HEADER`, and Wilcoxon's p."""
    d, (low, high) = found.difference, found.interval
    return [
        f"{d.mean:+.2f}±{d.std:.2f}",
        f"{low:+.2f} .. {high:+.2f}",
        f"{d.min:+.2f} .. {d.max:+.2f}",
        f"{found.wins}/{found.losses}/{found.ties}",
        f"{found.p_value:.2g}",
    ]

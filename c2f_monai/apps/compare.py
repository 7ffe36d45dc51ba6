# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``compare``: two methods on the same cases, from their per-case CSV files."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..metrics.markdown import COMPARISON_HEADER, comparison_cells, markdown_table
from ..metrics.statistics import compare_paired, summarize
from ..metrics.tables import read_cases
from .evaluation import CASES_FILE

__all__ = ["compare_table"]


def run(args: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        ValueError: When a file cannot be read, lacks the column, or the files are not about the same cases.
    """
    scale = args.scale if args.scale is not None else (100.0 if args.column.startswith("dsc") else 1.0)
    first, second = _file(args.first), _file(args.second)
    names = args.names or _names(first, second)
    print(compare_table(first, second, names[0], names[1], args.column, scale))


def _file(path: Path) -> Path:
    """The file; of the folder of an evaluation its cases.csv.

    Raises:
        ValueError: for a folder that holds none.
    """
    if not path.is_dir():
        return path
    if not (path / CASES_FILE).is_file():
        raise ValueError(f"{path} is a folder without {CASES_FILE}: name the folder of an evaluation, or a CSV file.")
    return path / CASES_FILE


def _names(first: Path, second: Path) -> list[str]:
    """Names of the files; where they are called alike, as cases.csv of evaluations are, of the folders that differ."""
    if first.stem != second.stem:
        return [first.stem, second.stem]
    folders = [path.absolute().parent.parts for path in (first, second)]
    while folders[0] and folders[1] and folders[0][-1] == folders[1][-1]:
        folders = [parts[:-1] for parts in folders]
    return [parts[-1] if parts else path.stem for parts, path in zip(folders, (first, second), strict=True)]


def compare_table(first: Path, second: Path, a: str, b: str, column: str = "dsc", scale: float = 1.0) -> str:
    """Markdown table of the paired comparison, over all cases and for each group if there are several.

    Args:
        first: per-case CSV file.
        second: per-case CSV file of the same cases.
        a: name of the first method.
        b: name of the second method.
        column: column to compare. Defaults to ``dsc``.
        scale: factor of the printed values. Defaults to 1.

    Raises:
        ValueError: When the files are not about the same cases, or no case has a value in both.
    """
    left, right = read_cases(first, [column]), read_cases(second, [column])
    if difference := sorted(left.keys() ^ right.keys()):
        raise ValueError(f"{first} and {second} are not about the same cases: {difference[0]} is in one only.")
    pairs = {case: (left[case].number(column), right[case].number(column)) for case in left}
    scored = {case: (x, y) for case, (x, y) in pairs.items() if x is not None and y is not None}
    if not scored:
        raise ValueError(f"no case has a {column} in both {first} and {second}.")
    # A CSV of bare masks knows no groups: take them from the file that does.
    groups = {case: left[case].group or right[case].group for case in scored}
    rows = [_row("all", list(scored.values()), scale)]
    if len(names := sorted(set(groups.values()))) > 1:
        for name in names:
            members = [pair for case, pair in scored.items() if groups[case] == name]
            rows.append(_row(name or "ungrouped", members, scale))
    lines = markdown_table(("cases", "n", a, b, *COMPARISON_HEADER, "Wilcoxon p"), rows)
    if unscored := len(pairs) - len(scored):
        lines.append(f"\n{unscored} cases without a {column} in one of the files are left out.")
    return "\n".join(lines)


def _row(title: str, pairs: list[tuple[float, float]], scale: float) -> list[str]:
    a, b = ([scale * pair[i] for pair in pairs] for i in range(2))
    means = [f"{s.mean:.2f}±{s.std:.2f}" for s in (summarize(a), summarize(b))]
    return [title, str(len(pairs)), *means, *comparison_cells(compare_paired(a, b))]

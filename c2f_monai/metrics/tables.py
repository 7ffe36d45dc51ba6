# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading of per-case CSV files, as evaluation and the ``score`` command write them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils import Status, open_table, text_of_cell

__all__ = ["CaseRow", "read_cases", "read_rows"]


@dataclass(frozen=True)
class CaseRow:
    """One row of a per-case CSV file: the case, its group (empty if none) and the file's other columns as text."""

    case: str
    group: str
    values: dict[str, str]

    def number(self, column: str) -> float | None:
        """Value of a column; None when the column is absent or its value empty or not finite.

        Raises:
            ValueError: When the value is not a number.
        """
        text = self.values.get(column) or ""
        try:
            value = float(text) if text.strip() else math.nan
        except ValueError as error:
            raise ValueError(f"the case {self.case} has {text!r} for a {column}, which is not a number.") from error
        return value if math.isfinite(value) else None


def read_cases(path: str | Path, columns: Sequence[str] = ()) -> dict[str, CaseRow]:
    """Rows of a per-case CSV file by case, in the file's order; those whose "status" is not "done" are left out.

    Args:
        path: the file; it has a column ``case`` and perhaps ``group``.
        columns: further columns that it must have. Defaults to none.

    Raises:
        ValueError: When the file cannot be read, lacks a column or has no cases, or a case occurs twice.
    """
    rows = read_rows(path, columns)
    cases = {name: row for name, row in rows.items() if (row.values.get("status") or Status.DONE) == Status.DONE}
    if not cases:
        raise ValueError(f"{path} has no cases.")
    return cases


def read_rows(path: str | Path, columns: Sequence[str] = ()) -> dict[str, CaseRow]:
    """Rows of a per-case CSV file by case, in the file's order, also those that failed; none of an empty table.

    Args:
        path: see :func:`read_cases`.
        columns: likewise.

    Raises:
        ValueError: When the file cannot be read, lacks a column, or a case occurs twice.
    """
    try:
        with open_table(path) as file:
            reader = csv.DictReader(file, restval="")
            rows, present = list(reader), reader.fieldnames or []
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}.") from error
    for column in ("case", *columns):
        if column not in present:
            raise ValueError(f"{path} has no column {column}; it has {', '.join(present) or 'none'}.")
    cases: dict[str, CaseRow] = {}
    for row in rows:
        row.pop(None, None)  # cells beyond the columns
        name = text_of_cell(row["case"])
        if name in cases:
            raise ValueError(f"{path} has the case {name} twice.")
        cases[name] = CaseRow(name, text_of_cell(row.get("group") or ""), row)
    return cases

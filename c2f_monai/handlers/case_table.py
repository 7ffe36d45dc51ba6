# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of cases as a file that grows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.manifest import Manifest
from ..utils import append_bytes, atomic_write, cell_text

__all__ = ["CaseTable", "columns_of", "write_table", "write_whole"]


class CaseTable:
    """
    The table of a folder of masks, one of ``Manifest.tables``: a case that ends adds its line.

    The file is written again as a whole, in the order of the cases, when a run begins and ends, and where a row needs
    a column that it does not have or takes the place of another.

    Args:
        path: CSV file.
        manifest: of the folder.
        target: of the rows, where there are several tables.
    """

    def __init__(self, path: Path, manifest: Manifest, target: str = "") -> None:
        self.path, self.manifest, self.target = path, manifest, target
        self._columns: list[str] = []
        self._names: set[str] = set()

    def __call__(self, name: str | None = None) -> None:
        """Bring the file up to date with a case that has ended, or with all; of several processes the first does."""
        if not self.manifest.is_first:
            return
        if name is None:
            self._write()
            return
        row = self.manifest.row(name, self.target)
        if row is None:
            return
        if name in self._names or not set(row) <= set(self._columns) or not self.path.is_file():
            self._write()
        else:
            self._add(row)

    def _write(self) -> None:
        rows = self.manifest.rows(self.target)
        write_table(self.path, rows)
        self._columns, self._names = columns_of(rows), {row["case"] for row in rows}

    def _add(self, row: Mapping[str, Any]) -> None:
        append_bytes(self.path, _lines([row], self._columns).encode())
        self._names.add(row["case"])


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all; a row may lack columns."""
    columns = [key for key in columns_of(rows) if key != "image"]
    write_whole(path, _lines([dict(zip(columns, columns, strict=True)), *rows], columns))


def _lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(row.get(key)) for key in columns] for row in rows)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of the table; cases differ in the number of rounds, so the longest case orders them."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    numbered = [key for key in keys if key.startswith(("dsc_round_", "d_"))]
    numbered.sort(key=lambda key: (key.startswith("d_"), int(key.rsplit("_", 1)[1])))
    first = [key for key in ("case", "status", "reason", "group", "dsc", "hd95") if key in keys]
    return [*first, *numbered, *(key for key in keys if key not in first and key not in numbered)]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return cell_text(value)
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)

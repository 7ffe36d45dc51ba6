# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""CSV files between this package and spreadsheets, which take texts for formulas and begin files with a mark."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import TextIO

__all__ = ["cell_text", "open_table", "text_of_cell"]

_FORMULA = re.compile(r"[=+\-@\t\r]")


def cell_text(text: str) -> str:
    """A text, such as the name of a case, for a CSV file: behind an apostrophe where a spreadsheet would run it.

    Examples:
        >>> cell_text("case_1"), cell_text("=HYPERLINK(A1)")
        ('case_1', "'=HYPERLINK(A1)")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def text_of_cell(cell: str) -> str:
    """What :func:`cell_text` was given.

    Examples:
        >>> text_of_cell("'=HYPERLINK(A1)"), text_of_cell("'quoted'")
        ('=HYPERLINK(A1)', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def open_table(path: str | os.PathLike[str]) -> TextIO:
    """Open a CSV file to read; the byte order mark that Excel begins one with is no part of its first cell.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is not text in UTF-8.
    """
    text: str | None = None
    with contextlib.suppress(UnicodeDecodeError):
        text = Path(path).read_bytes().decode("utf-8-sig")
    if text is None or "\0" in text:  # UTF-16 without a mark is decoded, too
        raise ValueError(f"{path} is not text in UTF-8: save it as that (in Excel: CSV UTF-8).")
    return io.StringIO(text, newline="")

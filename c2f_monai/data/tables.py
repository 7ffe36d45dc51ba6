# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables (CSV) of files that a user writes: their rows, and names in them that are one on some disk."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Collection, Sequence

from ..utils import open_table

__all__ = ["spelling_key", "table_rows"]


def table_rows(
    path: str | os.PathLike[str], columns: Sequence[str], may_be_blank: Collection[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The needed cells of each row of a table, without the blanks around them, and the row's number in the file.

    Args:
        path: table (CSV, UTF-8); further columns are allowed.
        columns: that are needed.
        may_be_blank: those of them whose cells may be blank; also these must be there.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is no table, missing columns, no rows, and missing or blank cells.
    """
    try:
        with open_table(path) as file:
            # Not strict, a quote that is never closed swallows all rows after it without a word.
            reader = csv.DictReader(file, strict=True)
            read = [(reader.line_num, row) for row in reader]
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
    except csv.Error as error:
        raise ValueError(f"{path} is no table (CSV) that can be read: {error}; is a quote not closed?") from None
    if missing:
        raise ValueError(f"{path} must have rows with the columns {', '.join(columns)}; without: {', '.join(missing)}.")
    if not read:
        raise ValueError(f"{path} has no rows below its header: there is nothing to prepare.")
    for number, row in read:
        blank = [column for column in columns if not (row[column] or "").strip() and column not in may_be_blank]
        if blank:
            told = ", ".join(blank)
            raise ValueError(f"{path}, row {number}: {told} must not be blank: fill in or leave the row out.")
        if absent := [column for column in columns if row[column] is None]:
            told = ", ".join(absent)
            raise ValueError(f"{path}, row {number} has no cell for {told}: a blank one needs its comma, too.")
    return [(number, {column: row[column].strip() for column in columns}) for number, row in read]


def spelling_key(name: str) -> str:
    """A text that is the same for names which some disk, or a reader, takes for one.

    They differ in upper and lower case, or in whether an accent is a character of its own.

    Examples:
        >>> spelling_key("JOS\u00c9") == spelling_key("jose\u0301")
        True
    """
    return unicodedata.normalize("NFC", name.casefold())

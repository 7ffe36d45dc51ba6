# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables as spreadsheets save them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from c2f_monai.utils import open_table

TEXT = 'case,remark\r\nJ\u00fcrgen,"two\r\nlines"\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_is_read_as_it_is(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "table.csv").write_bytes(TEXT.encode(encoding))
    with open_table(tmp_path / "table.csv") as file:
        assert list(csv.reader(file)) == [["case", "remark"], ["J\u00fcrgen", "two\r\nlines"]]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_in_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "table.csv").write_bytes(TEXT.encode(encoding))
    with pytest.raises(ValueError, match="table.csv is not text in UTF-8: save it as that"):
        open_table(tmp_path / "table.csv")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        open_table(tmp_path / "none.csv")

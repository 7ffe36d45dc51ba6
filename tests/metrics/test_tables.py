# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of cases are read as they are written, and what is no score is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2f_monai.metrics.tables import CaseRow, read_cases


def write(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_cases_that_are_done_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "case,group,status,dsc\nb,cyst,done,0.5\nc,,failed,\na,,,0.25\nd,,skipped,0.75\n"
    rows = read_cases(write(tmp_path, text), ["dsc"])
    assert [(row.case, row.group, row.number("dsc")) for row in rows.values()] == [("b", "cyst", 0.5), ("a", "", 0.25)]
    assert list(rows) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 0.5), (" 2 ", 2.0), ("-1e3", -1000.0), ("0", 0.0), ("", None), (" ", None), ("nan", None), ("inf", None)],
)
def test_a_value_that_is_empty_or_not_finite_is_none(text: str, expected: float | None) -> None:
    assert CaseRow("a", "", {"dsc": text}).number("dsc") == expected
    assert CaseRow("a", "", {"dsc": text}).number("hd95") is None


def test_a_value_that_is_no_number_names_its_case() -> None:
    with pytest.raises(ValueError, match="the case a has 'high' for a dsc, which is not a number"):
        CaseRow("a", "", {"dsc": "high"}).number("dsc")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,dsc\na,0.5\n", "has no column case; it has name, dsc"),
        ("case,group\na,x\n", "has no column dsc; it has case, group"),
        ("", "has no column case; it has none"),
        ("case,dsc\n", "has no cases"),
        ("case,dsc,status\na,0.5,failed\n", "has no cases"),
        ("case,dsc\na,0.5\na,0.6\n", "has the case a twice"),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_cases(write(tmp_path, text), ["dsc"])
    with pytest.raises(ValueError, match=r"cannot read .*none.csv: No such file"):
        read_cases(tmp_path / "none.csv")

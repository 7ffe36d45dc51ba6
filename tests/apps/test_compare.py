# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse

import pytest

from c2f_monai.apps.cli import compare


def _csv(path, rows, columns="case,group,dsc"):
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def _run(*arguments) -> None:
    parser = argparse.ArgumentParser()
    compare.add_parser(parser.add_subparsers())
    args = parser.parse_args(["compare", *map(str, arguments)])
    args.run(args)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_of_hand_numbers(tmp_path, capsys):
    first = _csv(tmp_path / "rstn.csv", ["a,plain,0.9", "b,plain,0.8", "c,shifted,0.5"])
    second = _csv(tmp_path / "unet.csv", ["c,,0.6", "b,,0.7", "a,,0.7"])  # other order, no groups
    _run(first, second)
    header, rule, everything, plain, shifted = capsys.readouterr().out.strip().splitlines()
    assert _cells(header)[2:4] == ["rstn", "unet"]
    assert set(_cells(rule)) == {"---"}
    cells = _cells(everything)
    assert cells[:5] == ["all", "3", "73.33±17.00", "66.67±4.71", "+6.67±12.47"]
    assert cells[6:8] == ["-10.00 .. +20.00", "2/1/0"]
    assert _cells(plain)[:5] == ["plain", "2", "85.00±5.00", "70.00±0.00", "+15.00±5.00"]
    assert _cells(plain)[5] == "+10.00 .. +20.00"
    assert _cells(shifted)[:5] == ["shifted", "1", "50.00±0.00", "60.00±0.00", "-10.00±0.00"]


def test_other_columns_names_and_scales(tmp_path, capsys):
    first = _csv(tmp_path / "a.csv", ["a,4.0", "b,2.0"], "case,hd95")
    second = _csv(tmp_path / "b.csv", ["a,5.0", "b,5.0"], "case,hd95")
    _run(first, second, "--column", "hd95", "--names", "A", "B")
    lines = capsys.readouterr().out.strip().splitlines()
    assert _cells(lines[0])[2:4] == ["A", "B"]
    assert len(lines) == 3 and _cells(lines[2])[2:5] == ["3.00±1.00", "5.00±0.00", "-2.00±1.00"]


def test_a_table_saved_by_excel_is_read(tmp_path, capsys):
    first = _csv(tmp_path / "a.csv", ["a,0.9", "b,0.7"], "\ufeffcase,dsc")
    _run(first, _csv(tmp_path / "b.csv", ["a,0.8", "b,0.8"], "case,dsc"))
    assert _cells(capsys.readouterr().out.splitlines()[2])[:4] == ["all", "2", "80.00±10.00", "80.00±0.00"]


def test_folders_of_evaluations(tmp_path, capsys):
    for name, value in (("rstn", 0.9), ("unet", 0.8)):
        (tmp_path / name).mkdir()
        _csv(tmp_path / name / "cases.csv", [f"a,{value}"], "case,dsc")
    _run(tmp_path / "rstn", tmp_path / "unet")
    lines = capsys.readouterr().out.splitlines()
    assert _cells(lines[0])[2:4] == ["rstn", "unet"] and _cells(lines[2])[2:4] == ["90.00±0.00", "80.00±0.00"]
    with pytest.raises(ValueError, match="is a folder without cases.csv"):
        _run(tmp_path, tmp_path / "unet")


def test_cases_without_a_value_are_counted_apart(tmp_path, capsys):
    first = _csv(tmp_path / "a.csv", ["a,,0.9", "b,,"])
    second = _csv(tmp_path / "b.csv", ["a,,0.8", "b,,nan"])
    _run(first, second)
    out = capsys.readouterr().out
    assert "| all | 1 |" in out and "1 cases without a dsc in one of the files are left out." in out


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (["a,,0.9"], "case,group,dsc", "not about the same cases: b is in one only"),
        (["a,0.9", "b,0.9"], "case,hd95", "has no column dsc; it has case, hd95"),
        (["a,,0.9", "a,,0.9"], "case,group,dsc", "has the case a twice"),
        (["a,,0.9", "b,,high"], "case,group,dsc", "the case b has .high. for a dsc, which is not a number"),
        (["a,,", "b,,"], "case,group,dsc", "no case has a dsc in both"),
        ([], "case,group,dsc", "has no cases"),
    ],
)
def test_files_that_cannot_be_compared_are_refused(tmp_path, rows, columns, message):
    first = _csv(tmp_path / "a.csv", ["a,,0.9", "b,,0.8"])
    second = _csv(tmp_path / "b.csv", rows, columns)
    with pytest.raises(ValueError, match=message):
        _run(first, second)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot read .*none.csv: No such file"):
        _run(tmp_path / "none.csv", tmp_path / "none.csv")


def test_tables_of_one_name_are_told_apart_by_their_folders(tmp_path, capsys):
    for name in ("rstn", "unet"):
        (tmp_path / name).mkdir()
    first, second = (_csv(tmp_path / name / "cases.csv", ["a,plain,0.9", "b,plain,0.8"]) for name in ("rstn", "unet"))
    _run(first, second)
    assert _cells(capsys.readouterr().out.splitlines()[0])[2:4] == ["rstn", "unet"]


def test_folders_of_one_name_are_told_apart_by_those_above(tmp_path, capsys):
    for seed in ("seed0", "seed1"):
        (tmp_path / seed / "test").mkdir(parents=True)
        _csv(tmp_path / seed / "test" / "cases.csv", ["a,plain,0.9", "b,plain,0.8"])
    _run(tmp_path / "seed0" / "test", tmp_path / "seed1" / "test")
    assert _cells(capsys.readouterr().out.splitlines()[0])[2:4] == ["seed0", "seed1"]

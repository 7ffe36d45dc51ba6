# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The file that declares tables: what it makes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chapter.declared import DeclarationError
from benchmarks.chapter.plan import Evaluation, Merged, Table, Training, rounds_of
from benchmarks.chapter.tables import build_tables

FILE = """
trainings:
  coarse: {overlays: [configs/baseline/coarse_only.json]}
  rstn: {start: coarse}
  wide: {options: {margin: 30}, small: {margin: 9}, start: coarse, kept_by: rstn}
merges:
  both: {joint: wide, coarse: coarse}
tables:
  own:
    title: "Own"
    rows:
      - {label: others, chapter: "80.10"}
      - {label: a, of: wide, run: margin_4, options: {margin: 4}, stop: 0.95, chapter: "70.0"}
      - {label: b, of: both, run: rounds, round: 2}
      - {label: c, of: {method: rstn, near: organ}, name: own_name}
    compared:
      - [a, b, "+1"]
    convergence: {both: both}
    changes: {both: {1: "0.90"}}
"""


def tables_of(folder: Path, old: str = "", new: str = "") -> dict[str, Table]:
    assert old in FILE
    path = folder / "tables.yaml"
    path.write_text(FILE.replace(old, new) if old else FILE, encoding="utf-8")
    return build_tables({}, 20.0, path)


def test_a_table_is_made_as_it_is_declared(tmp_path: Path) -> None:
    (table,) = tables_of(tmp_path).values()
    coarse = Training("coarse", ("configs/baseline/coarse_only.json",))
    rstn = Training("rstn", start=coarse)
    wide = Training("wide", options={"margin": 30}, small={"margin": 9}, start=coarse, kept_by=rstn)
    both = Merged("both", options={"margin": 30}, joint=wide, coarse=coarse)
    others, a, b, c = table.rows
    assert (table.name, table.title, others.evaluation, others.chapter) == ("own", "Own", None, "80.10")
    assert a.evaluation == Evaluation("wide_margin_4", wide, options={"margin": 4}) and a.chapter == "70.0"
    assert b.evaluation == rounds_of(both) == table.convergence["both"]
    assert c.evaluation is not None and c.evaluation.name == "own_name"
    assert c.evaluation.weights.options == {"organ_distance_mm": 20.0}
    assert [(pair.first, pair.second, pair.chapter) for pair in table.comparisons] == [("a", "b", "+1")]
    assert table.changes == {"both": {1: "0.90"}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "label: a, of: wide,",
            "label: a, whose: wide,",
            r"table own, row 2: there is no key 'whose', but label, chapter",
        ),
        ("run: margin_4,", "", r"table own, row 2 \(a\): run is missing"),
        ("stop: 0.95,", "stop: 0.95, round: 1,", r"row 2 \(a\): stop and round exclude each other"),
        ('"70.0"', "70.0", r"row 2 \(a\): what the chapter prints stands in quotes, got 70.0"),
        ("of: wide", "of: wider", r"row 2 \(a\): there are no weights 'wider' above, but coarse, rstn, wide, both"),
        ("near: organ", "near: kidney", r"row 4 \(c\): a method is taken with of: cyst or near: organ"),
        ("near: organ}", "near: organ, found_by: wide}", r"row 4 \(c\): found_by is of four_stages"),
        ("run: rounds", "run: four_stages", r"row 3 \(b\): four_stages is of weights near the organ"),
        ("label: b", "label: a", r"tables.yaml: the table own has a row twice: \['a', 'a', 'c'\]"),
        ("[a, b,", "[a, d,", r"tables.yaml: the table own compares rows that it has not: \['d'\]"),
        ('[a, b, "+1"]', "a", r"table own: compared are two rows \[, the chapter's\], got 'a'"),
        ("start: coarse}", "start: later}", r"training rstn: there are no weights 'later' above, but coarse"),
        ("joint: wide", "joint: both", r"merges, both: there are no weights 'both' above"),
        ("{joint: wide, coarse: coarse}", "{joint: wide}", r"merges, both: coarse is missing"),
        ("overlays: [configs/", "overlays: configs/[", r"is no YAML"),
        ("overlays: [configs/baseline/coarse_only.json]", "overlays: a.json", r"training coarse: overlays is a list"),
        ("  rstn: {", "  coarse: {", r"is no YAML: the key 'coarse' is there twice"),
        ('    title: "Own"\n', "", r"table own: title is missing"),
        ("    rows:", "    row:", r"table own: there is no key 'row', but title, rows, compared"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=message):
        tables_of(tmp_path, old, new)

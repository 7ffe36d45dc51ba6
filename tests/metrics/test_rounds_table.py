# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from c2f_monai.metrics.markdown import markdown_links
from c2f_monai.metrics.rounds import (
    Picked,
    RoundCurve,
    best_of_all,
    curves_of,
    inter_round_rows,
    last_round,
    mean_picked,
    round_picks,
    score_row,
    stopped_at,
)
from c2f_monai.metrics.tables import CaseRow

# T = 4. The first converges at once, the second late and gets worse on the way, the third is empty after round 2.
EASY = RoundCurve("easy", (0.70, 0.80, 0.90, 0.90, 0.88), (0.95, 0.96, 0.99, 1.00))
HARD = RoundCurve("hard", (0.80, 0.60, 0.40, 0.50, 0.60), (0.50, 0.85, 0.90, 0.94))
LOST = RoundCurve("lost", (0.30, 0.10, 0.00), (0.20, 0.00), empty=True)
CURVES = [EASY, HARD, LOST]


@pytest.mark.parametrize(
    ("curve", "threshold", "expected"),
    [
        (EASY, 0.90, (1, True)),
        (EASY, 0.95, (1, True)),  # at the threshold is enough
        (EASY, 0.98, (3, True)),
        (HARD, 0.90, (3, True)),
        (HARD, 0.95, (4, False)),
        (LOST, 0.90, (2, False)),
    ],
)
def test_rounds_used_and_whether_the_case_converged(curve, threshold, expected) -> None:
    picked = stopped_at(threshold)(curve)
    assert (picked.rounds, picked.converged) == expected
    assert picked.dsc == curve.dsc[expected[0]]


def test_best_round_leaves_the_coarse_result_out_and_takes_the_first_of_equals() -> None:
    assert [best_of_all(curve) for curve in CURVES] == [Picked(0.90, 2), Picked(0.60, 1), Picked(0.10, 1)]
    assert best_of_all(RoundCurve("coarse alone", (0.5,), ())) == Picked(0.5, 0)


def test_what_the_run_itself_ended_with() -> None:
    assert last_round(RoundCurve("stopped", (0.5, 0.6), (0.96,), stopped=True)) == Picked(0.6, 1)


def test_the_rows_of_the_paper_and_of_the_original_code() -> None:
    rows = ["coarse", "1 round", "2 rounds", "3 rounds", "5 rounds", "10 rounds"]
    assert list(round_picks()) == [*rows, "d >= 0.90", "d >= 0.95", "d >= 0.98", "d >= 0.99", "best of all rounds"]


def test_the_rows_by_hand() -> None:
    picks = round_picks(fixed=(1, 2, 4), thresholds=(0.90, 0.98))
    rows = {name: score_row(name, [pick(curve) for curve in CURVES]) for name, pick in picks.items()}
    assert list(rows) == ["coarse", "1 round", "2 rounds", "4 rounds", "d >= 0.90", "d >= 0.98", "best of all rounds"]
    means = {
        "coarse": (0.70 + 0.80 + 0.30) / 3,
        "1 round": (0.80 + 0.60 + 0.10) / 3,
        "2 rounds": (0.90 + 0.40 + 0.00) / 3,
        "4 rounds": (0.88 + 0.60 + 0.00) / 3,  # what is empty stays empty
        "d >= 0.90": (0.80 + 0.50 + 0.00) / 3,
        "d >= 0.98": (0.90 + 0.60 + 0.00) / 3,
        "best of all rounds": (0.90 + 0.60 + 0.10) / 3,
    }
    assert {name: row["mean"] for name, row in rows.items()} == pytest.approx(means)
    assert (rows["1 round"]["max"], rows["1 round"]["min"], rows["1 round"]["cases"]) == (0.80, 0.10, 3)
    assert rows["coarse"]["std"] == pytest.approx((0.14 / 3) ** 0.5)  # deviations 0.1, 0.2, -0.3
    assert (rows["d >= 0.90"]["converged"], rows["d >= 0.98"]["converged"], rows["1 round"]["converged"]) == (
        2,
        1,
        None,
    )
    assert rows["d >= 0.90"]["rounds_mean"] == pytest.approx((1 + 3 + 2) / 3)
    assert rows["d >= 0.90"]["rounds_std"] == pytest.approx((2 / 3) ** 0.5)
    assert rows["best of all rounds"]["rounds_mean"] == pytest.approx(4 / 3)


def test_seeds_of_a_case_are_averaged() -> None:
    assert mean_picked([Picked(0.5, 2, True), Picked(0.7, 5, False)]) == Picked(pytest.approx(0.6), 3.5, 0.5)
    assert mean_picked([Picked(0.5, 2)]) == Picked(0.5, 2.0)


def test_inter_round_dsc_is_over_the_cases_that_ran_the_round() -> None:
    first, fourth = inter_round_rows(CURVES, rounds=(1, 4))
    assert first == {"round": 1, "cases": 3, "mean": pytest.approx(0.55), "median": 0.50, "min": 0.20}
    assert fourth == {"round": 4, "cases": 2, "mean": pytest.approx(0.97), "median": pytest.approx(0.97), "min": 0.94}


def row(case: str, **values: object) -> CaseRow:
    return CaseRow(case, "", {key: str(value) for key, value in values.items()})


def test_curves_come_from_the_table_of_cases() -> None:
    cases = {
        "a": row("a", dsc_round_0=0.5, dsc_round_1=0.6, dsc_round_2=0.7, d_1=0.8, d_2=0.9, stop_reason="max rounds"),
        "b": row("b", dsc_round_0=0.5, dsc_round_1=0.0, dsc_round_2="", d_1=0.0, d_2="", stop_reason="empty"),
    }
    cases["c"] = row("c", dsc_round_0=0.5, dsc_round_1=0.6, d_1=0.97, stop_reason="converged")
    assert curves_of(cases) == [
        RoundCurve("a", (0.5, 0.6, 0.7), (0.8, 0.9)),
        RoundCurve("b", (0.5, 0.0), (0.0,), empty=True),
        RoundCurve("c", (0.5, 0.6), (0.97,), stopped=True),
    ]


def test_a_cycle_ended_a_run_only_where_others_went_on() -> None:
    long = row("a", dsc_round_0=0.5, dsc_round_1=0.6, dsc_round_2=0.7, d_1=0.8, d_2=0.9, stop_reason="cycle of two")
    short = row("b", dsc_round_0=0.5, dsc_round_1=0.6, d_1=0.8, stop_reason="cycle of two")
    assert [curve.stopped for curve in curves_of({"a": long, "b": short})] == [False, True]


def test_a_run_without_kept_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="the case a has no dsc_round_1: evaluate with keep_rounds true"):
        curves_of({"a": row("a", dsc_round_0=0.5, d_1=0.9)})


@pytest.mark.parametrize("rule", [stopped_at(0.9), best_of_all, lambda curve: inter_round_rows([curve], (1,))])
def test_what_a_stopped_run_does_not_tell_is_refused(rule) -> None:
    with pytest.raises(ValueError, match="the case a was stopped when it converged"):
        rule(RoundCurve("a", (0.5, 0.6), (0.96,), stopped=True))


def test_more_rounds_than_were_run_and_no_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="easy: the run had 4 rounds, there is no round 5"):
        round_picks()["5 rounds"](EASY)
    with pytest.raises(ValueError, match="easy: the run had 4 rounds, there is no round 10"):
        inter_round_rows(CURVES)
    assert inter_round_rows([LOST], (1, 10)) == [{"round": 1, "cases": 1, "mean": 0.2, "median": 0.2, "min": 0.2}]
    with pytest.raises(ValueError, match="non-empty"):
        score_row("none", [])
    with pytest.raises(ValueError, match="x: 2 rounds need 3 DSC with the coarse result, got 2"):
        RoundCurve("x", (0.1, 0.2), (0.3, 0.4))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["box.png"], "[box.png](box.png)"),
        (
            ["rounds/case 1.png", "Müller.png"],
            "[rounds/case 1.png](rounds/case%201.png), [Müller.png](M%C3%BCller.png)",
        ),
        ([], ""),
    ],
)
def test_links_to_files_whose_names_hold_spaces(paths: list[str], expected: str) -> None:
    """A space ends the address of a link in Markdown."""
    assert markdown_links(paths) == expected

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What would tell a claim that is not told, by hand-made variances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.chapter.claims import Claim, Measured, Term
from benchmarks.chapter.parts import ExperimentSettings, parts_of
from benchmarks.chapter.plan import Evaluation, Row, Table, Training
from benchmarks.chapter.power import PartSeconds, Plan, plan_of, seconds_of_a_seed, seeds_to_tell
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from benchmarks.chapter.verdicts import judged_claims
from c2f_monai.metrics.random_effects import Estimate

START = Training("start", ("configs/baseline/coarse_only.json",))
A, B = Evaluation("a", Training("one", start=START)), Evaluation("b", Training("two", start=START))


def last(curve: object) -> float:
    raise AssertionError("nothing is read")


def claim(first: float | None = None, second: float | None = None, **more: bool) -> Claim:
    return Claim("a beats b", "a - b", (Term(1.0, A, last, first), Term(-1.0, B, last, second)), **more)


def measured(value: float, of_seeds: float, of_cases: float, seeds: int = 3, cases: int = 40) -> Measured:
    """A difference and the variances of the mean that three seeds and forty cases bring."""
    estimate = Estimate(value, float(np.sqrt(of_seeds + of_cases)), 2.0, of_seeds, of_cases, seeds, cases)
    return Measured(estimate, (value,) * seeds)


def test_seeds_bring_the_power_that_is_asked_for() -> None:
    """Seeds alone vary, with a standard deviation of 1: the power of a t-test, by its own formula."""
    estimate = measured(0.0, 1 / 3, 0.0).estimate
    found = seeds_to_tell(estimate, 1.0, 0.05, 2, 40)
    assert found == 10

    def power(seeds: int) -> float:
        return float(stats.nct.sf(stats.t.isf(0.025, seeds - 1), seeds - 1, np.sqrt(seeds)))

    assert power(found - 1) < 0.8 < power(found)


def test_the_level_and_the_least_number_count() -> None:
    estimate = measured(0.0, 1 / 3, 0.0).estimate
    assert seeds_to_tell(estimate, 1.0, 0.05 / 10, 2, 40) > seeds_to_tell(estimate, 1.0, 0.05, 2, 40)
    assert seeds_to_tell(estimate, 100.0, 0.05, 5, 40) == 5
    # To show equality both of two tests must succeed.
    assert seeds_to_tell(estimate, 1.0, 0.05, 2, 40, equal=True) > seeds_to_tell(estimate, 1.0, 0.1, 2, 40)


def test_what_cases_vary_by_no_number_of_seeds_takes_away() -> None:
    estimate = measured(0.0, 0.0, 0.24).estimate  # an error of 0.49 of 40 cases: 1.0 needs one of 0.35
    assert seeds_to_tell(estimate, 1.0, 0.05, 2, 40) is None
    assert seeds_to_tell(estimate, 1.0, 0.05, 2, 80) == 2
    plan = plan_of(claim(), measured(0.3, 0.0, 0.24), 1, PartSeconds(3600.0, 1800.0))
    assert plan == Plan(1.0, 5, 80, 5 * (1 + 2 * 0.5))
    assert str(plan) == "1.00: 5 seeds, 80 cases, 10.0 h"
    assert plan.is_within(10.0) and not plan.is_within(9.9)


def test_the_cheapest_of_seeds_and_cases_is_taken() -> None:
    dear_tests, dear_trainings = PartSeconds(60.0, 3600.0), PartSeconds(3600.0, 60.0)
    found = measured(0.0, 0.1, 0.08)
    few, many = (plan_of(claim(), found, 1, seconds) for seconds in (dear_tests, dear_trainings))
    assert few is not None and many is not None and few.seeds is not None and many.seeds is not None
    assert few.cases < many.cases and few.seeds > many.seeds


@pytest.mark.parametrize(
    ("of", "value", "difference"),
    [
        (claim(83.5, 83.0), 0.1, 0.5),  # the chapter's
        (claim(83.5, 83.0), -2.0, 2.0),  # or what is seen here, if it is more
        (claim(83.5, None), 0.1, 1.0),
        (claim(83.5, 83.5), 0.1, 1.0),  # none is printed
        (claim(83.5, 80.0, equal=True), 0.1, 1.0),  # that it is within the margin
        (claim(83.5, 80.0, equal=True), 1.5, 1.5),  # or that it is not
        (claim(83.5, 80.0, equal=True), -1.5, 1.5),
    ],
)
def test_the_difference_to_be_told(of: Claim, value: float, difference: float) -> None:
    plan = plan_of(of, measured(value, 1e-4, 1e-4), 1, None)
    assert plan is not None and plan.difference == pytest.approx(difference)
    assert (plan.seeds, plan.hours) == (5, None)
    assert plan.is_within(0.0) and str(plan).endswith(": 5 seeds, 40 cases")  # hours that nobody measured


def test_what_is_out_of_reach_is_said() -> None:
    plan = plan_of(claim(), measured(0.0, 1000.0, 1000.0), 1, PartSeconds(1.0, 1.0))
    assert plan == Plan(1.0) and str(plan) == "1.00: more than 100 seeds" and not plan.is_within(1e9)
    assert plan_of(claim(), Measured(Estimate(1.0, 0.1, 39.0, 0.0, 0.01, 1, 40), (1.0,)), 1, None) is None


def test_seconds_of_a_seed_are_those_of_all_its_parts(tmp_path: Path) -> None:
    settings = ExperimentSettings(tmp_path, tmp_path, seeds=(0, 1))
    table = Table("t", "", (Row("a", A), Row("b", B)))
    assert seconds_of_a_seed(claim(), settings, (0,)) is None
    for part in parts_of([table], settings):
        part.folder.mkdir(parents=True)
        seconds = {"training/start/": 1000, "training/one/": 100, "training/two/": 200}
        found = next((s for name, s in seconds.items() if part.name.startswith(name)), 10)
        part.result.write_text(json.dumps({"seconds": found + 2 * part.name.endswith("seed1")}), encoding="utf-8")
    # The start once, both that go on from it, and two evaluations; 2 s more each in the second seed.
    assert seconds_of_a_seed(claim(), settings, (0, 1)) == PartSeconds(1303.0, 22.0)
    assert seconds_of_a_seed(claim(), settings, (0,), longer=4.0) == PartSeconds(1000.0 + 4 * 300.0, 20.0)


def test_the_verdict_follows_the_hours_that_one_has(tmp_path: Path) -> None:
    """Of the project's record: kernels that three short trainings do not tell apart."""
    record = Path(__file__).resolve().parents[2] / "docs" / "results" / "experiments" / "rows.csv"
    settings = ExperimentSettings(tmp_path, tmp_path, seeds=(0, 1, 2), rows=record)
    tables = build_tables(DEFAULT_ORGANS)
    verdicts = {}
    for hours in (1.0, 1000.0):
        for one in judged_claims(tables, settings, [tables["saliency"]], hours):
            verdicts.setdefault(one.claim.compared, []).append(one.verdict)
    assert verdicts["5x5 - 3x3 (basic)"] == ["cannot be told on this machine", "not enough seeds"]

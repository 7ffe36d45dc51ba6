# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Cases and training seeds as random effects."""

from __future__ import annotations

import numpy as np
import pytest

from c2f_monai.metrics.random_effects import Estimate, holm, mean_of_groups, two_way_bootstrap


def draw(rng: np.random.Generator, seeds: int, cases: int, of_seeds: float, of_cases: float) -> np.ndarray:
    """(seeds, cases) scores around 0 with effects of both, and noise of 1."""
    effects = of_seeds * rng.normal(size=(seeds, 1)) + of_cases * rng.normal(size=(1, cases))
    return effects + rng.normal(size=(seeds, cases))


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_cases"), [(5, 1.0, 0.0), (5, 1.0, 3.0), (5, 0.0, 3.0), (3, 1.0, 1.0), (10, 2.0, 2.0)]
)
def test_the_interval_covers_the_truth_where_seeds_and_cases_vary(seeds: int, of_seeds: float, of_cases: float) -> None:
    rng = np.random.default_rng(1)
    scores = [draw(rng, seeds, 40, of_seeds, of_cases) for _ in range(200)]
    found = [two_way_bootstrap(one, resamples=300, seed=i).interval() for i, one in enumerate(scores)]
    covered = np.mean([low <= 0 <= high for low, high in found])
    assert 0.92 <= covered <= 1.0


def test_a_single_seed_leaves_the_cases() -> None:
    scores = np.random.default_rng(0).normal(1.0, 2.0, size=(1, 50))
    found = two_way_bootstrap(scores)
    assert found.error == pytest.approx(scores.std(ddof=1) / np.sqrt(50), rel=0.05)
    assert found.freedom == pytest.approx(49)
    # Of two cases at 0 and 2, the variance of the mean is 2 / 2: that of resamples is half of it.
    found = two_way_bootstrap([[0.0, 2.0]])
    assert (found.of_seeds, found.of_cases) == (0.0, pytest.approx(1.0, rel=0.05))


def test_seeds_that_vary_most_leave_few_degrees_of_freedom() -> None:
    cases = np.linspace(-0.1, 0.1, 40)
    found = two_way_bootstrap(np.array([[0.0], [2.0], [4.0], [6.0], [8.0]]) + cases)
    assert found.value == pytest.approx(4.0)
    # Standard deviation of the seeds over the root of their number; the cases add next to nothing.
    assert found.error == pytest.approx(np.sqrt(10 / 5), rel=0.05) and found.freedom == pytest.approx(4.0, abs=0.1)


def test_p_values_and_intervals_agree() -> None:
    found = two_way_bootstrap(np.random.default_rng(2).normal(0.4, 1.0, size=(5, 40)))
    p = found.p_value()
    low, high = found.interval(1 - p)
    assert low == pytest.approx(0.0, abs=1e-9) and high == pytest.approx(2 * found.value)
    assert found.p_value(side="greater") == pytest.approx(p / 2)
    assert found.p_value(side="less") == pytest.approx(1 - p / 2)
    assert found.p_value(null=found.value, side="less") == pytest.approx(0.5)
    with pytest.raises(ValueError, match="side must be two-sided, greater or less, got 'above'"):
        found.p_value(side="above")


def test_without_any_variation_the_value_is_known() -> None:
    found = two_way_bootstrap(np.full((3, 4), 0.5))
    assert (found.interval(), found.p_value(), found.p_value(null=0.5)) == ((0.5, 0.5), 0.0, 1.0)
    assert (found.p_value(side="less"), found.p_value(null=0.6, side="less")) == (1.0, 0.0)
    assert (found.p_value(side="greater"), found.p_value(null=0.6, side="greater")) == (0.0, 1.0)
    assert [found.p_value(null=0.5, side=side) for side in ("less", "greater")] == [1.0, 1.0]
    assert (found.of_seeds, found.of_cases, found.freedom) == (0.0, 0.0, 3.0)
    assert np.isnan(two_way_bootstrap([[0.5]]).interval()).all()


def test_any_statistic_of_paired_samples() -> None:
    """The least case of one row minus that of another one, in each seed."""

    def least(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first.min(axis=-1) - second.min(axis=-1)).mean(axis=-1)

    found = two_way_bootstrap([[5.0, 3.0], [6.0, 4.0]], [[1.0, 4.0], [2.0, 9.0]], statistic=least)
    assert found.value == pytest.approx(2.0) and found.error > 0


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (([[1.0, 2.0]], [[1.0]]), r"the same ones, got shapes \[\(1, 2\), \(1, 1\)\]"),
        (([1.0, 2.0],), r"must be \(seeds, cases\)"),
        ((np.zeros((2, 0)),), r"must be \(seeds, cases\)"),
        (([[1.0, float("nan")]],), "scores must be finite"),
        (([[1.0, 2.0]], [[1.0, float("inf")]]), "scores must be finite"),
    ],
)
def test_bad_samples_are_refused(samples: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_way_bootstrap(*samples)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], []), ([0.2], [0.2]), ([0.04, 0.01, 0.03, 0.005], [0.06, 0.03, 0.06, 0.02]), ([0.6, 0.7], [1.0, 1.0])],
)
def test_holm_corrects_for_the_number_of_tests(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)


def test_an_estimate_of_no_error_has_an_interval_of_no_width() -> None:
    assert Estimate(1.0, 0.0, 3.0).interval() == (1.0, 1.0)


def test_more_seeds_lessen_what_is_theirs_and_not_what_is_of_the_cases() -> None:
    rng = np.random.default_rng(3)
    # Standard deviation 2 of seeds and 3 of cases: variances of the mean 4 / S and 9 / 400.
    found = two_way_bootstrap(2.0 * rng.normal(size=(50, 1)) + 3.0 * rng.normal(size=(1, 400)))
    assert found.of_seeds * 50 == pytest.approx(4.0, rel=0.35)
    assert found.of_cases * 400 == pytest.approx(9.0, rel=0.35)
    same = found.planned(50)
    assert (same.error, same.freedom) == (pytest.approx(found.error), pytest.approx(found.freedom))
    fewer, many = found.planned(5), found.planned(10**6)
    assert fewer.error**2 == pytest.approx(10 * found.of_seeds + found.of_cases, rel=0.1) and fewer.freedom < 5
    assert many.error**2 == pytest.approx(found.of_cases, rel=0.1)  # what no number of seeds goes below
    assert many.freedom == pytest.approx(399, rel=0.01)
    assert found.planned(10**6, 800).error == pytest.approx(many.error / np.sqrt(2), rel=0.01)


def test_what_is_planned_by_hand() -> None:
    found = Estimate(0.0, 1.0, 9.0, of_seeds=0.2, of_cases=0.3, seeds=3, cases=5)
    same = found.planned(3)
    assert (same.error, same.freedom) == (1.0, pytest.approx(0.5**2 / (0.2**2 / 2 + 0.3**2 / 4)))
    # The least that can be planned: 3 times the variance of the seeds, which tell no freedom, and 5/2 of the cases'.
    least = found.planned(1, 2)
    assert (least.of_seeds, least.of_cases) == (pytest.approx(0.6), pytest.approx(0.75))
    assert (least.error, least.freedom) == (pytest.approx(np.sqrt(1.35 / 0.5)), pytest.approx((1.35 / 0.75) ** 2))
    for seeds, cases in ((0, 5), (3, 1)):
        with pytest.raises(ValueError, match=rf"seeds >= 1, cases >= 2, and two seeds measured: {seeds}, {cases}, 3"):
            found.planned(seeds, cases)


def test_a_single_seed_plans_nothing() -> None:
    with pytest.raises(ValueError, match="two seeds measured: 5, 3, 1"):
        two_way_bootstrap([[1.0, 2.0, 3.0]]).planned(5)
    assert two_way_bootstrap(np.full((3, 4), 0.5)).planned(9).error == 0.0


def test_groups_are_the_random_effect_where_each_has_its_own_training() -> None:
    # A thousand cases in two groups tell no more than two numbers do.
    found = mean_of_groups([[1.0] * 500, [3.0] * 500])
    assert (found.value, found.error, found.freedom) == (2.0, pytest.approx(1.0), 1.0)
    assert (found.seeds, found.cases, found.of_seeds, found.of_cases) == (2, 1000, pytest.approx(1.0), 0.0)
    assert found.interval()[1] == pytest.approx(2.0 + 12.706, abs=1e-3)
    # Groups count alike, whatever their size.
    assert mean_of_groups([[1.0], [3.0] * 9]).value == 2.0


@pytest.mark.parametrize("groups", [[[1.0, 2.0]], [[1.0], []]])
def test_one_group_and_empty_groups_are_refused(groups: list) -> None:
    with pytest.raises(ValueError, match="groups must be two or more, each with scores, got"):
        mean_of_groups(groups)

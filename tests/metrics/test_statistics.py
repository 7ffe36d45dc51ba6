# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from c2f_monai.metrics.statistics import bootstrap_interval, compare_paired, summarize


def test_summary_of_hand_numbers():
    summary = summarize([0.6, 0.8, 0.7, 0.7])
    assert (summary.count, summary.max, summary.min) == (4, 0.8, 0.6)
    assert summary.mean == pytest.approx(0.7)
    assert summary.std == pytest.approx(np.sqrt(0.02 / 4))
    assert summary.format(100, 2) == "70.00±7.07 (max 80.00, min 60.00, 4 cases)"
    assert summary.format() == "0.7000±0.0707 (max 0.8000, min 0.6000, 4 cases)"


def test_bootstrap_interval_is_that_of_the_normal_theory_and_repeats():
    scores = np.random.default_rng(3).normal(0.8, 0.1, size=400)
    low, high = bootstrap_interval(scores)
    half_width = 1.96 * scores.std() / np.sqrt(len(scores))
    assert low == pytest.approx(scores.mean() - half_width, abs=1e-3)
    assert high == pytest.approx(scores.mean() + half_width, abs=1e-3)
    assert bootstrap_interval(scores) == (low, high)


@pytest.mark.parametrize(("scores", "expected"), [([0.5, 0.5, 0.5], (0.5, 0.5)), ([0.5], (np.nan, np.nan))])
def test_bootstrap_interval_without_variation_or_with_one_case(scores, expected):
    np.testing.assert_allclose(bootstrap_interval(scores), expected)


def test_samples_of_the_same_cases_are_resampled_together():
    """One that is 0.1 lower in every case differs by that in every resample, though its cases vary by 0.3."""
    scores = np.random.default_rng(4).normal(0.5, 0.3, size=20)
    found = bootstrap_interval(scores - 0.1, scores, statistic=lambda a, b, axis: a.mean(axis) - b.mean(axis))
    assert found == pytest.approx((-0.1, -0.1))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy also tells the error of the resamples, which one has not
def test_a_single_resample_has_an_interval_of_no_width():
    low, high = bootstrap_interval([0.1, 0.5, 0.9, 0.2], resamples=1)
    assert low == high


def test_paired_comparison_of_hand_numbers():
    first, second = [0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.6, 0.7, 0.65, 0.2]
    result = compare_paired(first, second)
    assert (result.wins, result.losses, result.ties) == (3, 1, 1)
    assert result.difference.mean == pytest.approx(0.11)
    assert result.difference.min == pytest.approx(-0.05)
    assert result.difference.max == pytest.approx(0.3)
    assert result.interval[0] < 0.11 < result.interval[1]
    assert result.p_value == pytest.approx(0.25, abs=0.01)  # ranks -1, 2, 3, 4: W = 1 of 4 non-zero differences


def test_equal_scores_are_no_evidence():
    result = compare_paired([0.5, 0.6], [0.5, 0.6])
    assert (result.ties, result.p_value, result.interval) == (2, 1.0, (0.0, 0.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summarize([]), "non-empty"),
        (lambda: summarize([[0.5, 0.6]]), r"one value for each case, got shape \(1, 2\)"),
        (lambda: summarize([0.5, float("nan")]), "finite, got nan at position 1"),
        (lambda: compare_paired([1.0, 2.0], [1.0]), r"same cases, got \[2, 1\]"),
        (lambda: bootstrap_interval([1.0, 2.0], [1.0]), r"same cases, got \[2, 1\]"),
    ],
)
def test_bad_scores_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ties_beyond_the_digits_of_a_table_stay_ties():
    """Distances on a grid of 0.8 mm: 2.4 - 1.6 is not 1.6 - 0.8 to a computer, and Wilcoxon ranks them apart."""
    first = 0.8 * np.array([3, 2, 5, 4, 7, 1, 6, 9])
    second = 0.8 * np.array([2, 1, 4, 3, 8, 0, 5, 10])
    found = compare_paired(first, second)
    exact = compare_paired([3, 2, 5, 4, 7, 1, 6, 9], [2, 1, 4, 3, 8, 0, 5, 10])
    assert found.p_value == exact.p_value
    assert (found.wins, found.losses, found.ties) == (6, 2, 0)
    assert compare_paired([0.1 + 0.2, 0.5], [0.3, 0.4]).ties == 1

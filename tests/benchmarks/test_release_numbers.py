# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.chapter.release_numbers import error_ratio, group_numbers, release_numbers
from c2f_monai.metrics.statistics import bootstrap_interval
from c2f_monai.metrics.tables import CaseRow


def _row(case: str, group: str = "", **values: object) -> CaseRow:
    return CaseRow(case, group, {key: "" if value is None else str(value) for key, value in values.items()})


def test_numbers_of_refined_cases_by_hand():
    rows = [
        _row("a", dsc=0.9, dsc_round_0=0.8, d_1=0.8, d_2=0.9, d_3=0.96, rounds=3, hd95=4),
        _row("b", dsc=0.8, dsc_round_0=0.6, d_1=0.7, d_2=0.98, d_3=None, rounds=2, hd95=6),
    ]
    numbers = group_numbers(rows)
    assert (numbers["cases"], numbers["unscored"]) == (2, 0)
    assert numbers["dsc"]["mean"] == pytest.approx(0.85)
    assert numbers["hd95"]["mean"] == pytest.approx(5.0)
    assert numbers["coarse_dsc"]["mean"] == pytest.approx(0.7)
    assert numbers["gain"]["mean"] == pytest.approx(0.15)
    assert numbers["error_ratio"]["mean"] == pytest.approx(0.5)
    assert numbers["error_ratio"]["interval"] == pytest.approx([0.5, 0.5])
    assert numbers["rounds"]["mean"] == pytest.approx(2.5)
    assert numbers["d3"]["reached"]["cases"] == 1
    assert numbers["d3"]["reached"]["mean"] == pytest.approx(0.96)
    assert numbers["d3"]["carried"]["mean"] == pytest.approx(0.97)


def test_a_case_that_the_coarse_stage_lost_counts_before_and_after_refinement():
    rows = [
        _row("a", dsc=0.9, dsc_round_0=0.8, d_1=0.8, d_2=0.9, rounds=2),
        _row("lost", dsc=0.0, dsc_round_0=0.0, rounds=0),
    ]
    numbers = group_numbers(rows)
    assert numbers["dsc"]["mean"] == pytest.approx(0.45)
    assert (numbers["coarse_dsc"]["cases"], numbers["coarse_dsc"]["mean"]) == (2, pytest.approx(0.4))
    assert (numbers["gain"]["mean"], numbers["rounds"]["mean"]) == pytest.approx((0.05, 1.0))
    assert numbers["error_ratio"]["mean"] == pytest.approx(1.1 / 1.2, abs=1e-6)
    assert numbers["d3"]["reached"] is None
    assert (numbers["d3"]["carried"]["cases"], numbers["d3"]["carried"]["mean"]) == (1, pytest.approx(0.9))


@pytest.mark.parametrize("values", [{}, {"dsc_round_0": 0.7, "rounds": 0}])
def test_a_method_without_fine_rounds_has_no_refinement(values):
    numbers = group_numbers([_row("a", dsc=0.7, **values), _row("b", dsc=0.9, **values)])
    assert set(numbers) == {"cases", "unscored", "dsc"}
    assert numbers["dsc"]["mean"] == pytest.approx(0.8)


def test_groups_are_reported_apart_and_unscored_cases_counted():
    numbers = release_numbers(
        [_row("a", "plain", dsc=0.9), _row("b", "shifted", dsc=0.5), _row("c", "shifted", dsc=None)]
    )
    assert list(numbers) == ["all", "plain", "shifted"]
    assert [numbers[group]["dsc"]["mean"] for group in numbers] == pytest.approx([0.7, 0.9, 0.5])
    assert numbers["shifted"]["unscored"] == 1


def test_undefined_intervals_are_null_in_json():
    numbers = group_numbers([_row("a", dsc=0.9)])
    assert numbers["dsc"]["interval"] == [None, None]
    json.dumps(numbers, allow_nan=False)


def test_bootstrap_resamples_cases_together():
    # The error of every case is halved: whatever the cases drawn, the ratio is one half.
    coarse = np.random.default_rng(0).uniform(0.4, 0.9, size=20)
    final = 1 - (1 - coarse) / 2
    assert error_ratio(final, coarse) == pytest.approx(0.5)
    np.testing.assert_allclose(bootstrap_interval(final, coarse, statistic=error_ratio), (0.5, 0.5))


def test_error_ratio_is_of_the_means_and_undefined_for_a_perfect_start():
    assert error_ratio(np.array([1.0, 0.8]), np.array([0.8, 0.4])) == pytest.approx(0.1 / 0.4)
    assert np.isnan(error_ratio(np.array([1.0]), np.array([1.0])))

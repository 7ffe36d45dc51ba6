# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2f_monai.data.folds import assign_folds, fold_sizes


@pytest.mark.parametrize(
    ("cases", "folds", "expected"),
    [
        (82, 4, [20, 20, 21, 21]),
        (80, 4, [20, 20, 20, 20]),
        (83, 4, [20, 21, 21, 21]),
        (4, 4, [1, 1, 1, 1]),
        (7, 2, [3, 4]),
    ],
)
def test_sizes_are_those_of_the_original_code(cases: int, folds: int, expected: list[int]) -> None:
    assert fold_sizes(cases, folds) == expected


def test_cases_in_order_are_tested_together() -> None:
    folds = assign_folds(82)
    assert [folds.index(fold) for fold in range(4)] == [0, 20, 40, 61]
    assert folds == sorted(folds)


@given(st.integers(2, 9), st.integers(0, 60), st.none() | st.integers(0, 5))
def test_every_case_is_in_one_fold_and_folds_are_even(folds: int, more: int, seed: int | None) -> None:
    cases = folds + more
    assigned = assign_folds(cases, folds, seed)
    assert [assigned.count(fold) for fold in range(folds)] == fold_sizes(cases, folds)
    assert len(assigned) == cases and assigned == assign_folds(cases, folds, seed)


def test_a_seed_shuffles() -> None:
    assert assign_folds(20, 4, 1) != assign_folds(20, 4, 2) != assign_folds(20, 4)


@pytest.mark.parametrize(
    ("cases", "folds", "message"),
    [(3, 4, "4 folds need at least as many cases, got 3"), (10, 1, "folds must be at least 2, got 1")],
)
def test_impossible_folds_are_refused(cases: int, folds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assign_folds(cases, folds)

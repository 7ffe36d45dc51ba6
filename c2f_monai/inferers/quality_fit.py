# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The prediction of the DSC, fitted on labeled cases that the networks were not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from .quality import FLOOR, SIGNALS, TRAITS, QualityModel

__all__ = ["check_case_count", "fit_quality"]

#: Share of the cases whose DSC is to lie at or above the lower bound, and whose volume in its interval.
CONFIDENCE = 0.9
_RIDGE = 0.05  # keeps weights small where cases are few and signals say the same
_BEYOND = 0.25  # of their width, how far ranges reach beyond the fitted cases, which are few


def check_case_count(count: int) -> None:
    """Refuse to fit a bound on too few cases.

    Raises:
        ValueError: for fewer than nine.
    """
    least = math.ceil(CONFIDENCE / (1.0 - CONFIDENCE) - 1e-9)
    if count < least:
        raise ValueError(f"a bound that holds for 90 % of the cases needs {least} labeled cases, got {count}.")


def fit_quality(
    cases: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    sha256: str = "",
    volumes: Sequence[tuple[float, float]] | None = None,
    traits: Sequence[Mapping[str, float]] = (),
) -> QualityModel:
    """Fit the prediction and its bound on labeled cases that the networks were not trained on.

    Args:
        cases: signals of each; the names that all have are used.
        scores: their true DSC in [0, 1].
        sha256: of the file of weights that the signals are of.
        volumes: found and true volume of each, above 0, in any unit; None leaves their interval out.
        traits: "ml" and :py:data:`TRAITS` of each, whose ranges are kept; the names that all have are used.

    Raises:
        ValueError: for fewer than nine cases, too few for a bound that holds for 90 %, or no common signal.
    """
    check_case_count(len(cases))
    names = [name for name in SIGNALS if all(name in case for case in cases)]
    if not names:
        raise ValueError(f"the cases have none of the signals {', '.join(SIGNALS)} in common.")
    doubts = np.array([[1.0 - case[name] for name in names] for case in cases])
    missing = 1.0 - np.asarray(scores, dtype=np.float64)
    everyone = np.arange(len(missing))
    solution = _solve(doubts, missing)
    # What a case's own label has not taught says how wrong a prediction is.
    left_out = [_missing(doubts[i], _solve(doubts[everyone != i], missing[everyone != i])) for i in everyone]
    margin = _conformal(missing - np.array(left_out))
    predicted = [1.0 - _missing(row, solution) for row in doubts]
    return QualityModel(
        weights={name: float(weight) for name, weight in zip(names, solution[1:], strict=True)},
        intercept=float(solution[0]),
        margin=max(margin, 0.0),
        look_below=float(np.quantile(predicted, 0.1)),
        cases=len(cases),
        sha256=sha256,
        volume=None if volumes is None else _volume_of(volumes, left_out),
        usual=_ranges(traits),
    )


def _conformal(errors: np.ndarray) -> float:
    """The error that a further case's exceeds in one of ten cases."""
    return float(np.sort(errors)[math.ceil((len(errors) + 1) * CONFIDENCE - 1e-9) - 1])


def _volume_of(volumes: Sequence[tuple[float, float]], missing: Sequence[float]) -> tuple[float, float]:
    """Center and spread of the logarithm of true over found volume, the spread in units of the missing DSC."""
    logs = np.log([true / found for found, true in volumes])
    others = (logs.sum() - logs) / (len(logs) - 1)
    return float(logs.mean()), _conformal(np.abs(logs - others) / np.maximum(missing, FLOOR))


def _ranges(traits: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """What the cases' traits lie between, and a little beyond."""
    names = [name for name in ("ml", *TRAITS) if traits and all(name in case for case in traits)]
    found = {}
    for name in names:
        low, high = min(case[name] for case in traits), max(case[name] for case in traits)
        found[name] = (low - _BEYOND * (high - low), high + _BEYOND * (high - low))
    return found


def _solve(doubts: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(1 + signals,) intercept and weights, none below zero, by least squares with a ridge on the weights."""
    count = doubts.shape[1]
    rows = np.hstack([np.ones((len(doubts), 1)), doubts])
    ridge = np.hstack([np.zeros((count, 1)), _RIDGE * np.eye(count)])
    solution: np.ndarray = nnls(np.vstack([rows, ridge]), np.concatenate([missing, np.zeros(count)]))[0]
    return solution


def _missing(doubts: np.ndarray, solution: np.ndarray) -> float:
    return float(solution[0] + doubts @ solution[1:])

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether what the chapter claims is found: differences over cases and training seeds, and a rule for the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from c2f_monai.metrics.rounds import RoundCurve
from c2f_monai.metrics.statistics import Interval, bootstrap_interval

from .plan import Evaluation
from .scores import Curves

__all__ = ["EQUAL", "OPEN", "SEEDS", "Claim", "Measured", "Term", "Verdict", "judge", "measure"]

#: Training seeds that a comparison of two trainings needs.
SEEDS = 3
#: Points of DSC that are no difference in practice.
EQUAL = 1.0

Verdict = str
FOUND, OPPOSITE, OPEN = "found", "not found", "not distinguishable"
FEW = f"{OPEN}: needs {SEEDS} training seeds"


@dataclass(frozen=True)
class Term:
    """Part of a sum: ``factor`` times what ``value`` reads from a case of ``evaluation``."""

    factor: float
    evaluation: Evaluation
    value: Callable[[RoundCurve], float]


@dataclass(frozen=True)
class Claim:
    """What the chapter says, as a sum that is above 0 when it holds.

    Attributes:
        text: the claim.
        compared: the sum, in words.
        terms: the sum, in points where it is of DSC; none where the data set has not what the claim is about.
        equal: the claim is that the sum is 0, within :data:`EQUAL`.
        worst: of the mean over the lowest tenth of the cases, at least one, instead of all: the lowest alone is one
            case, whose bootstrap interval ends at its own value.
    """

    text: str
    compared: str
    terms: tuple[Term, ...]
    equal: bool = False
    worst: bool = False

    @property
    def trainings(self) -> int:
        """Weights that are compared: more than one need several training seeds."""
        return len({term.evaluation.weights.name for term in self.terms})


@dataclass(frozen=True)
class Measured:
    """The sum of a claim: over all, its bootstrap 95 % interval over the cases, and with each training seed."""

    mean: float
    interval: Interval
    seeds: tuple[float, ...]


def measure(claim: Claim, curves: Mapping[str, Curves]) -> Measured:
    """The sum of a claim.

    Args:
        claim: whose evaluations are there.
        curves: by the name of the evaluation.

    Raises:
        ValueError: When the evaluations are not of the same cases and seeds.
    """
    values = [_values(term, curves[term.evaluation.name]) for term in claim.terms]
    if len({(tuple(v), *(tuple(c) for c in v.values())) for v in values}) != 1:
        raise ValueError(f"{claim.compared}: not about the same cases and training seeds.")
    factors = np.array([term.factor for term in claim.terms])
    # (terms, seeds, cases)
    numbers = np.array([[list(cases.values()) for cases in found.values()] for found in values])
    if not claim.worst:
        sums = np.tensordot(factors, numbers, axes=1)
        return Measured(float(sums.mean()), bootstrap_interval(sums.mean(axis=0)), tuple(sums.mean(axis=1).tolist()))
    lowest = np.tensordot(factors, _lowest_tenth(numbers, axis=2), axes=1)

    def statistic(*arrays: np.ndarray, axis: int = -1) -> np.ndarray:
        return sum(f * _lowest_tenth(a, axis) for f, a in zip(factors, arrays, strict=True))

    interval = bootstrap_interval(*numbers.mean(axis=1), statistic=statistic)
    return Measured(float(lowest.mean()), interval, tuple(lowest.tolist()))


def _lowest_tenth(values: np.ndarray, axis: int) -> np.ndarray:
    count = -(-values.shape[axis] // 10)
    return np.sort(values, axis=axis).take(range(count), axis=axis).mean(axis=axis)


def _values(term: Term, curves: Curves) -> dict[int, dict[str, float]]:
    """By training seed and case, in the same order for each evaluation."""
    return {
        seed: {curve.case: term.value(curve) for curve in sorted(cases, key=lambda c: c.case)}
        for seed, cases in sorted(curves.items())
    }


def judge(claim: Claim, found: Measured) -> Verdict:
    """The verdict.

    A difference is found when the interval over the cases lies above 0 and every training seed has its sign, not found
    when the interval lies below 0 and every seed says so. Equality is found when the interval lies within
    :data:`EQUAL` points of 0, not found when it lies beyond 0 and its mean beyond these points. Else the data do not
    distinguish, also for want of training seeds where trainings are compared or equality is claimed.
    """
    if (claim.equal or claim.trainings > 1) and len(found.seeds) < SEEDS:
        return FEW
    low, high = found.interval
    signs = {float(np.sign(seed)) for seed in found.seeds}
    beyond = 1.0 if low > 0 else -1.0 if high < 0 else 0.0
    if claim.equal:
        if -EQUAL <= low and high <= EQUAL:
            return FOUND
        return OPPOSITE if beyond and abs(found.mean) > EQUAL else OPEN
    if not beyond or signs != {beyond}:
        return OPEN
    return FOUND if beyond > 0 else OPPOSITE

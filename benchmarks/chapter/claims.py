# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether what the chapter claims is found: differences over cases and training seeds, and a rule for the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2f_monai.metrics.random_effects import Estimate, two_way_bootstrap
from c2f_monai.metrics.rounds import RoundCurve

from .plan import Evaluation
from .scores import Curves

__all__ = [
    "EQUAL",
    "LEVEL",
    "NO_SEEDS",
    "OPEN",
    "SEEDS",
    "TOO_LONG",
    "Claim",
    "Measured",
    "Term",
    "Verdict",
    "judge",
    "lowest_tenth",
    "measure",
    "p_values_of",
]

#: Training seeds that a comparison of two trainings needs.
SEEDS = 5
#: Those that any verdict needs. One alone says nothing about other trainings, and two may agree by chance: where seeds
#: bring three times the error of the cases, two find what is not there in 13 % at a level of 5 %, three in 7 %.
FEWEST = 3
#: Points of DSC that are no difference in practice.
EQUAL = 1.0
#: Chance of any false verdict among all claims of a list.
LEVEL = 0.05

Verdict = str
FOUND, OPPOSITE, OPEN, NO_SEEDS = "found", "not found", "not distinguishable", "not enough seeds"
#: In the place of the last two, where as many seeds as would tell are more than the hours that one has.
TOO_LONG = "cannot be told on this machine"


@dataclass(frozen=True)
class Term:
    """Part of a sum: ``factor`` times what ``value`` reads from a case of ``evaluation``.

    Attributes:
        factor: of the value.
        evaluation: whose cases are read.
        value: what counts of a case.
        chapter: the mean that the chapter prints of it; None where it prints none.
    """

    factor: float
    evaluation: Evaluation
    value: Callable[[RoundCurve], float]
    chapter: float | None = None


@dataclass(frozen=True)
class Claim:
    """What the chapter says, as a sum that is above 0 when it holds.

    Attributes:
        text: the claim.
        compared: the sum, in words.
        terms: the sum, in points where it is of DSC; none where the data set has not what the claim is about.
        equal: the claim is that the sum is 0, within :data:`EQUAL`.
        worst: of the mean over the lowest tenth of the cases of each seed, at least one, instead of all: the lowest
            alone is one case.
    """

    text: str
    compared: str
    terms: tuple[Term, ...]
    equal: bool = False
    worst: bool = False

    @property
    def trainings(self) -> int:
        """Sets of weights that are compared, those of another organ included: more than one need several seeds."""
        return len({frozenset(weights.name for weights in term.evaluation.needs) for term in self.terms})

    def over_cases(self, values: np.ndarray) -> np.ndarray:
        """What the claim is of: the mean over the cases, the last axis, or that of the lowest tenth of them."""
        return lowest_tenth(values) if self.worst else values.mean(axis=-1)

    @property
    def least_seeds(self) -> int:
        """Training seeds that a verdict needs."""
        return SEEDS if self.equal or self.trainings > 1 else FEWEST

    @property
    def chapter(self) -> float | None:
        """The sum as the chapter prints it; None where it does not print all of it, or means, not lowest cases."""
        printed = [term.factor * term.chapter for term in self.terms if term.chapter is not None]
        return sum(printed) if self.terms and len(printed) == len(self.terms) and not self.worst else None


@dataclass(frozen=True)
class Measured:
    """The sum of a claim: over all seeds and cases with its error, and with each training seed."""

    estimate: Estimate
    seeds: tuple[float, ...]


def measure(claim: Claim, curves: Mapping[str, Curves]) -> Measured:
    """The sum of a claim; estimate, interval and each seed's number are of the same statistic.

    Args:
        claim: whose evaluations are there.
        curves: by the name of the evaluation.

    Raises:
        ValueError: When the evaluations are not of the same cases and seeds, or the seeds of other cases.
    """
    values = [_values(term, curves[term.evaluation.name]) for term in claim.terms]
    if len({tuple(v) for v in values}) != 1 or len({tuple(cases) for v in values for cases in v.values()}) != 1:
        raise ValueError(f"{claim.compared}: not about the same cases and training seeds.")
    factors = [term.factor for term in claim.terms]
    # For each term (seeds, cases)
    numbers = [np.array([list(cases.values()) for cases in found.values()]) for found in values]

    def statistic(*arrays: np.ndarray) -> np.ndarray:
        of_seeds = [claim.over_cases(a) for a in arrays]
        return np.tensordot(factors, np.stack(of_seeds), axes=1).mean(axis=-1)

    seeds = [float(statistic(*(a[i : i + 1] for a in numbers))) for i in range(len(numbers[0]))]
    return Measured(two_way_bootstrap(*numbers, statistic=statistic), tuple(seeds))


def lowest_tenth(values: np.ndarray) -> np.ndarray:
    """Mean of the lowest tenth of the cases, at least one, of (..., cases)."""
    count = -(-values.shape[-1] // 10)
    return np.sort(values, axis=-1)[..., :count].mean(axis=-1)


def _values(term: Term, curves: Curves) -> dict[int, dict[str, float]]:
    """By training seed and case, in the same order for each evaluation."""
    return {
        seed: {curve.case: term.value(curve) for curve in sorted(cases, key=lambda c: c.case)}
        for seed, cases in sorted(curves.items())
    }


def p_values_of(claim: Claim, found: Measured) -> list[float]:
    """P-values of what is tested of a claim: that it differs from 0, and of equality that it is within :data:`EQUAL`.

    None where there are too few training seeds, or too few cases.
    """
    if len(found.seeds) < claim.least_seeds or np.isnan(found.estimate.error):
        return []
    differs = found.estimate.p_value()
    if not claim.equal:
        return [differs]
    # Two one-sided tests: within the margin on both sides.
    within = max(found.estimate.p_value(-EQUAL, "greater"), found.estimate.p_value(EQUAL, "less"))
    return [differs, within]


def judge(claim: Claim, found: Measured, corrected: Sequence[float]) -> Verdict:
    """The verdict.

    A difference is found, or its opposite, when its corrected p-value is below :data:`LEVEL`. Equality is found when it
    is shown to lie within :data:`EQUAL` points of 0, not found when it differs from 0 and is larger than that.

    Args:
        claim: what is claimed.
        found: its sum.
        corrected: its p-values of :func:`p_values_of`, corrected for the number of all tests of the list.
    """
    if not corrected:
        return NO_SEEDS if not np.isnan(found.estimate.error) else OPEN
    differs, value = corrected[0] < LEVEL, found.estimate.value
    if claim.equal:
        if corrected[1] < LEVEL:
            return FOUND
        return OPPOSITE if differs and abs(value) > EQUAL else OPEN
    return OPEN if not differs else FOUND if value > 0 else OPPOSITE

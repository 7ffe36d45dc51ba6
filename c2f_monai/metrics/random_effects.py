# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of scores in which cases and training seeds both vary at random, and of many claims at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Estimate", "holm", "mean_of_groups", "two_way_bootstrap"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A statistic, with the error that other cases and other training seeds would bring.

    Attributes:
        value: of the statistic.
        error: standard error; NaN where there are fewer than two cases.
        freedom: degrees of freedom of Student's t: few where few seeds vary most.
        of_seeds: variance of the statistic from these training seeds; 0 of a single one, which does not tell it.
        of_cases: variance of the statistic from these cases.
        seeds: number of training seeds.
        cases: number of cases.
    """

    value: float
    error: float
    freedom: float
    of_seeds: float = math.nan
    of_cases: float = math.nan
    seeds: int = 0
    cases: int = 0

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided interval of the statistic."""
        half = float(stats.t.ppf(0.5 + level / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    def planned(self, seeds: int, cases: int | None = None) -> Estimate:
        """What so many training seeds and cases would give, were the variances those that were measured.

        Args:
            seeds: number of training seeds.
            cases: number of cases. Defaults to that of these.

        Examples:
            >>> found = two_way_bootstrap([[0.0, 0.1, 0.2], [2.0, 2.1, 2.2]])
            >>> round(found.error / found.planned(8).error, 1)  # four times the seeds halve what is theirs
            2.0

        Raises:
            ValueError: for less than one seed or two cases, or where fewer than two seeds were measured.
        """
        number = self.cases if cases is None else cases
        if seeds < 1 or number < 2 or self.seeds < 2:
            raise ValueError(
                f"planned needs seeds >= 1, cases >= 2, and two seeds measured: {seeds}, {number}, {self.seeds}."
            )
        of_seeds, of_cases = self.of_seeds * self.seeds / seeds, self.of_cases * self.cases / number
        now, then = self.of_seeds + self.of_cases, of_seeds + of_cases
        error = self.error * math.sqrt(then / now) if now else self.error
        freedom = _freedom(of_seeds, seeds, of_cases, number)
        return Estimate(self.value, error, freedom, of_seeds, of_cases, seeds, number)

    def p_value(self, null: float = 0.0, side: str = "two-sided") -> float:
        """That the statistic is ``null`` or, on one side, that it is not "greater" or not "less".

        Raises:
            ValueError: for another side.
        """
        if side not in ("two-sided", "greater", "less"):
            raise ValueError(f"side must be two-sided, greater or less, got {side!r}.")
        distance = self.value - null
        if not self.error:  # also 0 / 0
            right = {"two-sided": distance != 0, "greater": distance > 0, "less": distance < 0}[side]
            return 0.0 if right else 1.0
        t = distance / self.error
        if side == "two-sided":
            return float(2 * stats.t.sf(abs(t), self.freedom))
        return float(stats.t.sf(t if side == "greater" else -t, self.freedom))


def _mean(*samples: np.ndarray) -> Any:
    return samples[0].mean(axis=(-2, -1))


def two_way_bootstrap(
    *samples: np.ndarray | Sequence[Sequence[float]],
    statistic: Callable[..., Any] = _mean,
    resamples: int = 4000,
    seed: int = 0,
) -> Estimate:
    """A statistic of cases and training seeds, both of which are random effects.

    Every resample draws seeds and cases with replacement, each independently of the other, as every seed is scored on
    the same cases. The spread of the resamples is the standard error, but for the factor n / (n - 1) that resampling n
    things leaves out. The interval is Student's t, as of few seeds no percentile tells the tails, with Satterthwaite's
    degrees of freedom: near the number of seeds where these vary most, near that of the cases where those do.

    Based on: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics, 2007; it errs on the side of caution.

    Args:
        samples: one or several (S, C) scores of the same seeds and cases.
        statistic: takes arrays (..., S, C), as many as there are samples, and gives (...). Defaults to the mean.
        resamples: number of resamples. Defaults to 4000.
        seed: of the resampling, so that the same scores give the same numbers. Defaults to 0.

    Raises:
        ValueError: for samples of different shapes, without values, or with values that are not finite.

    Examples:
        >>> found = two_way_bootstrap([[0.1, 0.3, 0.2], [0.2, 0.4, 0.3], [0.0, 0.2, 0.1]])
        >>> round(found.value, 3), found.interval()[0] < 0.0  # of three seeds that differ, little is known
        (0.2, True)
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if len({x.shape for x in arrays}) != 1 or arrays[0].ndim != 2 or not arrays[0].size:
        raise ValueError(f"samples must be (seeds, cases) of the same ones, got shapes {[x.shape for x in arrays]}.")
    if not all(np.isfinite(x).all() for x in arrays):
        raise ValueError("scores must be finite: leave cases without a score out.")
    seeds, cases = arrays[0].shape
    value = float(statistic(*arrays))
    if cases < 2:
        return Estimate(value, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn_cases = rng.integers(cases, size=(resamples, cases))
    drawn_seeds = rng.integers(seeds, size=(resamples, seeds))
    # (resamples, S, C)
    both = statistic(*(x[drawn_seeds[:, :, None], drawn_cases[:, None, :]] for x in arrays))
    alone = statistic(*(x[:, drawn_cases].swapaxes(0, 1) for x in arrays))
    by_seed = np.array([statistic(*(x[i : i + 1] for x in arrays)) for i in range(seeds)])
    # Variances of the statistic from seeds and from cases, each with the factor that resampling leaves out.
    of_seeds = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    of_cases = float(alone.var()) * cases / (cases - 1)
    if of_seeds + of_cases <= np.finfo(float).tiny:
        return Estimate(value, 0.0, float(cases - 1), 0.0, 0.0, seeds, cases)
    left_out = (of_seeds + of_cases) / (of_seeds * (seeds - 1) / seeds + of_cases * (cases - 1) / cases)
    error = math.sqrt(float(both.var()) * left_out)
    return Estimate(value, error, _freedom(of_seeds, seeds, of_cases, cases), of_seeds, of_cases, seeds, cases)


def _freedom(of_seeds: float, seeds: int, of_cases: float, cases: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of two variances."""
    spread = of_cases**2 / (cases - 1) + (of_seeds**2 / (seeds - 1) if seeds > 1 else 0.0)
    return (of_seeds + of_cases) ** 2 / spread if spread else float(cases - 1)


def mean_of_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """The mean of the groups' means, where the groups are the random effect: each was made by a training of its own.

    For a cross-validation with one training a fold. What the cases of a fold vary by is in the fold's mean, and what
    trainings vary by too; folds count alike. The folds' trainings share most of their cases, which the error does not
    know.

    Args:
        groups: scores of each group's own cases.

    Raises:
        ValueError: for a group without scores, or fewer than two groups.

    Examples:
        >>> found = mean_of_groups([[1.0, 3.0], [4.0], [3.0, 3.0]])
        >>> found.value, found.freedom
        (3.0, 2.0)
    """
    if len(groups) < 2 or not all(len(group) for group in groups):
        raise ValueError(
            f"groups must be two or more, each with scores, got {[len(group) for group in groups]} scores."
        )
    means = np.array([np.mean(group) for group in groups])
    variance = float(means.var(ddof=1)) / len(means)
    cases = sum(len(group) for group in groups)
    return Estimate(float(means.mean()), math.sqrt(variance), len(means) - 1.0, variance, 0.0, len(means), cases)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected for their number, in the same order.

    Based on: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics, 1979.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected

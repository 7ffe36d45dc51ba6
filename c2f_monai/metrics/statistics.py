# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics over cases: summaries as the chapter prints them, and paired comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Comparison", "Summary", "bootstrap_interval", "compare_paired", "summarize"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """Mean, population standard deviation (as in the chapter's tables and MONAI's reports), max and min of cases."""

    count: int
    mean: float
    std: float
    max: float
    min: float

    def format(self, scale: float = 1.0, digits: int = 4) -> str:
        """``mean±std (max .., min .., n cases)``, every value times ``scale``."""
        mean, std, high, low = (f"{scale * v:.{digits}f}" for v in (self.mean, self.std, self.max, self.min))
        return f"{mean}±{std} (max {high}, min {low}, {self.count} cases)"


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two sets of scores of the same cases; differences are first minus second.

    ``interval`` is the bootstrap 95 % interval of the mean difference, ``p_value`` that of Wilcoxon's signed-rank
    test (two-sided). ``wins`` counts the cases in which the first score is the higher one.
    """

    difference: Summary
    interval: Interval
    p_value: float
    wins: int
    losses: int
    ties: int


def summarize(values: Sequence[float] | np.ndarray) -> Summary:
    """Summary of one score per case, shape (N,).

    Raises:
        ValueError: When there are no values, or one is not finite.

    Examples:
        >>> summarize([0.8, 0.9, 0.7]).format(scale=100, digits=2)
        '80.00±8.16 (max 90.00, min 70.00, 3 cases)'
    """
    x = _scores(values)
    return Summary(len(x), float(x.mean()), float(x.std()), float(x.max()), float(x.min()))


def bootstrap_interval(
    *samples: Sequence[float] | np.ndarray,
    statistic: Callable[..., Any] = np.mean,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap 95 % percentile interval of a statistic of cases.

    Args:
        samples: one or several (N,) scores of the same cases; several are resampled together (paired).
        statistic: takes as many arrays as there are samples, and ``axis``. Defaults to the mean.
        resamples: number of resamples. Defaults to 10000.
        seed: seed of the resampling, so that the same scores give the same interval. Defaults to 0.

    Returns:
        (low, high); NaN for fewer than two cases, where no interval exists.

    Raises:
        ValueError: for samples of different lengths, without values, or with values that are not finite.
    """
    arrays = [_scores(sample) for sample in samples]
    if len({len(x) for x in arrays}) != 1:
        raise ValueError(f"paired scores must be of the same cases, got {[len(x) for x in arrays]} values.")
    if len(arrays[0]) < 2:
        return float("nan"), float("nan")
    # Percentile rather than BCa: the latter is undefined when a resampled statistic does not vary.
    interval = stats.bootstrap(
        arrays, statistic, paired=True, vectorized=True, n_resamples=resamples, method="percentile", rng=seed
    ).confidence_interval
    return float(interval.low), float(interval.high)


def compare_paired(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> Comparison:
    """Compare two methods case by case, both (N,) in the same order of cases.

    Raises:
        ValueError: When the numbers of cases differ, there are none, or a score is not finite.

    Examples:
        >>> found = compare_paired([0.8, 0.9, 0.7, 0.6], [0.7, 0.8, 0.7, 0.4])
        >>> round(found.difference.mean, 4), found.wins, found.losses, found.ties
        (0.1, 3, 0, 1)
    """
    a, b = _scores(first), _scores(second)
    if len(a) != len(b):
        raise ValueError(f"paired scores must be of the same cases, got {[len(a), len(b)]} values.")
    # Tables have six digits; beyond them ties differ by noise, which ranks would take for an order.
    difference = np.round(a - b, 6)
    # Wilcoxon's test drops ties; with nothing else there is no evidence of a difference.
    p_value = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    return Comparison(
        difference=summarize(difference),
        interval=bootstrap_interval(difference),
        p_value=p_value,
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        ties=int((difference == 0).sum()),
    )


def _scores(values: Sequence[float] | np.ndarray) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"scores must be a non-empty list of one value for each case, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"scores must be finite, got {x[~np.isfinite(x)][0]} at position {np.argmin(np.isfinite(x))}.")
    return x

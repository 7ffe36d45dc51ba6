# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How many training seeds, and how many hours, would tell what the measured ones do not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from scipy import stats

from c2f_monai.metrics.random_effects import Estimate

from .claims import EQUAL, LEVEL, Claim, Measured
from .parts import ExperimentSettings, parts_of
from .plan import Row, Table
from .results import read_made

__all__ = ["MANY", "MOST", "POWER", "Plan", "PartSeconds", "plan_of", "seconds_of_a_seed", "seeds_to_tell"]

#: Chance that a difference which is there is found.
POWER = 0.8
#: More training seeds, and more times as many cases, are not looked at.
MOST, MANY = 100, (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class PartSeconds:
    """Seconds of one training seed: of trainings and merges, and of evaluations, which grow with the cases."""

    training: float
    evaluation: float

    def hours(self, seeds: int, times: int) -> float:
        """Of so many seeds and so many times the cases, one part after the other."""
        return seeds * (self.training + times * self.evaluation) / 3600


@dataclass(frozen=True)
class Plan:
    """What would tell a difference.

    Attributes:
        difference: that is to be told, in points or rounds.
        seeds: training seeds; None where none up to :data:`MOST` does, with up to so many times the cases of
            :data:`MANY`.
        cases: tested cases.
        hours: that all of them take; None where the parts' seconds are not known.
    """

    difference: float
    seeds: int | None = None
    cases: int = 0
    hours: float | None = None

    def is_within(self, hours: float) -> bool:
        """Whether so many hours suffice, as far as is known."""
        return self.seeds is not None and (self.hours is None or self.hours <= hours)

    def __str__(self) -> str:
        if self.seeds is None:
            return f"{self.difference:.2f}: more than {MOST} seeds"
        hours = "" if self.hours is None else f", {self.hours:.1f} h"
        return f"{self.difference:.2f}: {self.seeds} seeds, {self.cases} cases{hours}"


def seeds_to_tell(
    estimate: Estimate, difference: float, level: float, least: int, cases: int, equal: bool = False
) -> int | None:
    """Training seeds with which a difference is found with the chance :data:`POWER`.

    Args:
        estimate: with the variances that were measured, of two seeds or more. Those of few seeds are known roughly, and
            so is what follows.
        difference: that is there, or, for equality, the margin, where there is none.
        level: of the test, two-sided, or of each of two one-sided ones for equality.
        least: the answer is not below this.
        cases: that are tested.
        equal: equality is to be shown.

    Returns:
        The number, None where none up to :data:`MOST` suffices: the cases' part of the error stays.
    """
    # Equality is shown where both tests succeed: each may fail with half the chance.
    tail, chance = (level, 1 - (1 - POWER) / 2) if equal else (level / 2, POWER)
    for seeds in range(least, MOST + 1):
        planned = estimate.planned(seeds, cases)
        needed = stats.t.isf(tail, planned.freedom) + stats.t.ppf(chance, planned.freedom)
        if difference >= needed * planned.error:
            return seeds
    return None


def plan_of(claim: Claim, found: Measured, tests: int, seconds: PartSeconds | None) -> Plan | None:
    """What would tell the claim at least cost, corrected for the number of all tests.

    To be told is a difference as large as the chapter prints, or of :data:`benchmarks.chapter.claims.EQUAL` where it
    prints none; or as large as the measured one, where that is larger. Of equality, that it is within the margin, if
    the measured difference is.

    Args:
        claim: that is not told.
        found: its sum.
        tests: number of tests of the list, to which the level is shared out.
        seconds: of one training seed; None where they are not known.

    Returns:
        The plan; None where one training seed says no variance.
    """
    estimate = found.estimate
    if estimate.seeds < 2 or math.isnan(estimate.error):
        return None
    equal = claim.equal and abs(estimate.value) <= EQUAL
    printed = abs(claim.chapter) if claim.chapter is not None and not claim.equal else 0.0
    difference = EQUAL if equal else max(printed or EQUAL, abs(estimate.value))
    plans = []
    for times in MANY:
        cases = times * estimate.cases
        if seeds := seeds_to_tell(estimate, difference, LEVEL / tests, claim.least_seeds, cases, equal):
            hours = None if seconds is None else seconds.hours(seeds, times)
            plans.append(Plan(difference, seeds, cases, hours))
    return min(plans, key=lambda plan: (plan.hours or 0.0, plan.cases), default=Plan(difference))


def seconds_of_a_seed(
    claim: Claim, settings: ExperimentSettings, seeds: Iterable[int], longer: float = 1.0
) -> PartSeconds | None:
    """Seconds of all parts that a claim needs, of all folds, the mean over the seeds that are there.

    Args:
        claim: the claim.
        settings: of the experiment.
        seeds: that are there.
        longer: as if trainings that go on from coarse networks were so many times as long.

    Returns:
        The seconds; None where those of a part are not recorded.
    """
    evaluations = {term.evaluation.name: term.evaluation for term in claim.terms}
    table = Table("claim", claim.text, tuple(Row(name, one) for name, one in evaluations.items()))
    trained, tested, measured = 0.0, 0.0, list(seeds)
    for seed in measured:
        parts = parts_of([table], replace(settings, seeds=(seed,)))
        try:
            made = read_made(parts, settings)
        except (KeyError, OSError):
            return None
        for part, one in zip(parts, made, strict=True):
            if part.kind == "evaluation":
                tested += float(one["seconds"])
            else:
                trained += float(one["seconds"]) * (longer if part.kind == "training" and part.needs else 1.0)
    return PartSeconds(trained / len(measured), tested / len(measured)) if measured else None

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on each claim of the chapter, from the results that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.metrics.random_effects import holm
from c2f_monai.metrics.rounds import NoRoundError
from c2f_monai.utils import atomic_write

from .claim_list import build_claims
from .claims import (
    EQUAL,
    FEWEST,
    LEVEL,
    NO_SEEDS,
    OPEN,
    SEEDS,
    TOO_LONG,
    Claim,
    Measured,
    Verdict,
    judge,
    measure,
    p_values_of,
)
from .methods import RSTN
from .parts import ExperimentSettings
from .plan import Table, rounds_of
from .power import MOST, POWER, Plan, plan_of, seconds_of_a_seed
from .results import has_result, read_saliency
from .scores import gather

__all__ = ["HOURS", "Judged", "corrected_p_values", "judged_claims", "write_verdicts"]

#: Of a machine that one may spend on one claim, a night.
HOURS = 12.0

_HEADER = ("claim", "compared", "difference", "95 % interval", "each seed", "chapter", "p", "verdict", "to tell")
_RULE = f"""Cases and training seeds are random effects: the interval is that of a two-way bootstrap, which draws
both, with Student's t for the few seeds; that of a single seed knows the cases alone. A difference is *found* when it
is above 0 with a p-value below {LEVEL:g}, *not found* when it is below 0 with such a p-value, and *not
distinguishable* otherwise. That two things are equal is found when the difference is shown to lie within {EQUAL:g}
point of 0 (two one-sided tests), and not found when it differs from 0 and is larger than that. P-values are corrected
for the number of tests of this list (Holm), intervals are not: one that excludes 0 may be of a claim that is not
found among so many. Comparisons of different trainings, and equality, need {SEEDS} training seeds, all others
{FEWEST}; with fewer the verdict is *{NO_SEEDS}*, whatever the numbers. What is said of the worst case, which is one,
is judged by the mean of the lowest tenth of the cases in each row, seed by seed. What is not told has in the last
column what would tell it: a difference as large as the chapter's, or of {EQUAL:g} where it prints none, or as large
as here where that is larger; the training seeds and cases that find it with a chance of {POWER:.0%} among so many
tests, were the variances those of these results; and the hours of all their parts, one after the other, in the
seconds that they took here{{longer}}. Of few seeds that is a rough number. Where it is more than {{hours:g}} hours,
or more than {MOST} seeds, the verdict is *{TOO_LONG}*."""


@dataclass(frozen=True)
class Judged:
    """A claim and what the results say of it.

    Attributes:
        claim: the claim.
        found: its sum; None where there are no results.
        corrected: its p-values, corrected for the number of all tests of the list.
        plan: what would tell it, where it is not told.
        verdict: with as many hours as may be spent.
    """

    claim: Claim
    found: Measured | None
    corrected: Sequence[float]
    plan: Plan | None
    verdict: Verdict


def judged_claims(
    tables: Mapping[str, Table],
    settings: ExperimentSettings,
    chosen: Sequence[Table] | None = None,
    hours: float = HOURS,
    longer: float = 1.0,
) -> list[Judged]:
    """All claims with their verdicts, see :func:`write_verdicts`."""
    rows = {e.name for table in (tables.values() if chosen is None else chosen) for e in table.evaluations}
    claims = [
        claim
        for claim in build_claims(tables)
        if chosen is None or (claim.terms and {term.evaluation.name for term in claim.terms} <= rows)
    ]
    found = [_measured(claim, settings) for claim in claims]
    corrected = corrected_p_values(claims, found)
    # Those of the whole list, whose seeds may be too few today.
    tests = sum(1 + claim.equal for claim, one in zip(claims, found, strict=True) if one)
    return [
        _judged(claim, one, p_values, tests, settings, hours, longer)
        for claim, one, p_values in zip(claims, found, corrected, strict=True)
    ]


def _judged(
    claim: Claim,
    found: Measured | None,
    corrected: Sequence[float],
    tests: int,
    settings: ExperimentSettings,
    hours: float,
    longer: float,
) -> Judged:
    if found is None:
        return Judged(claim, None, corrected, None, "no results" if claim.terms else OPEN)
    verdict = judge(claim, found, corrected)
    if verdict not in (NO_SEEDS, OPEN):
        return Judged(claim, found, corrected, None, verdict)
    seeds = [seed for seed in settings.seeds if _is_there(claim, settings, seed)]
    plan = plan_of(claim, found, tests, seconds_of_a_seed(claim, settings, seeds, longer))
    return Judged(claim, found, corrected, plan, verdict if plan is None or plan.is_within(hours) else TOO_LONG)


def write_verdicts(
    tables: Mapping[str, Table],
    settings: ExperimentSettings,
    command: str,
    chosen: Sequence[Table] | None = None,
    hours: float = HOURS,
    longer: float = 1.0,
) -> Path:
    """Write ``<output>/tables/claims.md``.

    Args:
        tables: see :func:`benchmarks.chapter.tables.build_tables`.
        settings: of the experiment.
        command: that printed it.
        chosen: only the claims that rows of these tables answer; None: all of them.
        hours: that may be spent on one claim.
        longer: hours are told as if what goes on from coarse networks were so many times as long.

    Returns:
        The file.

    Raises:
        ValueError: When a result was made with other settings.
    """
    told = "" if longer == 1 else f", those of refining trainings {longer:g} times"
    lines = ["# What the chapter claims, on this data set", "", _RULE.format(hours=hours, longer=told), ""]
    lines += ["Differences in points of DSC on the working grid, or in rounds.", ""]
    judged = judged_claims(tables, settings, chosen, hours, longer)
    lines += markdown_table(_HEADER, [_cells(one) for one in judged])
    lines += ["", f"{sum(len(one.corrected) for one in judged)} tests are corrected for."]
    if any(e.name == rounds_of(RSTN).name for table in chosen or tables.values() for e in table.evaluations):
        lines += ["", *_channel_lines(settings)]
    lines += ["", f"`{command}`", ""]
    path = settings.output / "tables" / "claims.md"
    with atomic_write(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
    return path


def _measured(claim: Claim, settings: ExperimentSettings) -> Measured | None:
    """From the seeds that all evaluations of the claim have; None where there is none, or a run was too short."""
    own = replace(settings, seeds=[seed for seed in settings.seeds if _is_there(claim, settings, seed)])
    if not (claim.terms and own.seeds):
        return None
    curves = {term.evaluation.name: gather(term.evaluation, own)[0] for term in claim.terms}
    try:
        return measure(claim, curves)
    except NoRoundError:  # max_rounds was less than the claim is about
        return None


def _is_there(claim: Claim, settings: ExperimentSettings, seed: int) -> bool:
    """Whether the seed's evaluations are done, with these settings."""
    return all(has_result(term.evaluation, settings, fold, seed) for term in claim.terms for fold in settings.folds)


def corrected_p_values(claims: Sequence[Claim], found: Sequence[Measured | None]) -> list[list[float]]:
    """P-values of each claim, corrected for the number of all; none where nothing is tested."""
    tests = [p_values_of(claim, one) if one else [] for claim, one in zip(claims, found, strict=True)]
    corrected = iter(holm([p for of_claim in tests for p in of_claim]))
    return [[next(corrected) for _ in of_claim] for of_claim in tests]


def _cells(one: Judged) -> list[str]:
    """A row of the table."""
    told = [one.claim.text, one.claim.compared]
    if one.found is None:
        return [*told, *[""] * 5, one.verdict, ""]
    low, high = one.found.estimate.interval()
    seeds = ", ".join(f"{seed:+.2f}" for seed in one.found.seeds)
    p_values = ", ".join(f"{p:.2g}" if p >= 1e-4 else "< 0.0001" for p in one.corrected)
    printed = "" if one.claim.chapter is None else f"{one.claim.chapter:+.2f}"
    numbers = [f"{one.found.estimate.value:+.2f}", f"{low:+.2f} .. {high:+.2f}", seeds, printed, p_values]
    return [*told, *numbers, one.verdict, "" if one.plan is None else str(one.plan)]


def _channel_lines(settings: ExperimentSettings) -> list[str]:
    """Of g's channels two look at the target and one at the background: mean weights on and around the target."""
    counts, networks = [], []
    for seed in settings.seeds:
        rows = read_saliency(rounds_of(RSTN), settings, seed)
        means = (rows["target"] - rows["around"]).groupby([rows["view"], rows["channel"]], sort=False).mean()
        for view, differences in means.groupby(level="view", sort=False):
            counts.append(int((differences > 0).sum()))
            numbers = [f"{d:+.3f}" for d in differences]
            networks.append([str(seed), str(view), *numbers, f"{counts[-1]} of {len(differences)}"])
    two = counts.count(2)
    return [
        "Of g's channels two look at the target and one at the background: mean weight on the target - around it, in",
        "the slab with most of the target, and the channels with more weight on the target.",
        "",
        *markdown_table(("seed", "view", "channel 1", "channel 2", "channel 3", "on the target"), networks),
        "",
        f"Two channels on the target and one beside it in {two} of {len(counts)} networks.",
    ]

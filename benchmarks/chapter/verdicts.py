# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on each claim of the chapter, from the results that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.metrics.random_effects import holm
from c2f_monai.utils import atomic_write

from .claim_list import build_claims
from .claims import EQUAL, LEVEL, NO_SEEDS, OPEN, SEEDS, Claim, Measured, judge, measure, p_values_of
from .methods import RSTN
from .parts import ExperimentSettings
from .plan import Table, rounds_of
from .results import has_result, read_saliency
from .scores import gather

__all__ = ["write_verdicts"]

_HEADER = ("claim", "compared", "difference", "95 % interval", "each seed", "p", "verdict")
_RULE = f"""Cases and training seeds are random effects: the interval is that of a two-way bootstrap, which draws
both, with Student's t for the few seeds. A difference is *found* when it is above 0 with a p-value below {LEVEL:g},
*not found* when it is below 0 with such a p-value, and *not distinguishable* otherwise. That two things are equal is
found when the difference is shown to lie within {EQUAL:g} point of 0 (two one-sided tests), and not found when it
differs from 0 and is larger than that. P-values are corrected for the number of tests of this list (Holm), intervals
are not: one that excludes 0 may be of a claim that is not found among so many. Comparisons of different trainings,
and equality, need {SEEDS} training seeds; with fewer the verdict is *{NO_SEEDS}*, whatever the numbers. What is said
of the worst case, which is one, is judged by the mean of the lowest tenth of the cases in each row, seed by seed."""


def write_verdicts(
    tables: Mapping[str, Table], settings: ExperimentSettings, command: str, chosen: Sequence[Table] | None = None
) -> Path:
    """Write ``<output>/tables/claims.md``.

    Args:
        tables: see :func:`benchmarks.chapter.tables.build_tables`.
        settings: of the experiment.
        command: that printed it.
        chosen: only the claims that rows of these tables answer; None: all of them.

    Returns:
        The file.

    Raises:
        ValueError: When a result was made with other settings.
    """
    lines = ["# What the chapter claims, on this data set", "", _RULE, ""]
    lines += ["Differences in points of DSC on the working grid, or in rounds.", ""]
    compared: list[list[str]] = []
    rows = {e.name for table in (tables.values() if chosen is None else chosen) for e in table.evaluations}
    claims = [
        claim
        for claim in build_claims(tables)
        if chosen is None or (claim.terms and {term.evaluation.name for term in claim.terms} <= rows)
    ]
    found = [_measured(claim, settings) for claim in claims]
    corrected = _corrected(claims, found)
    for claim, numbers, p_values in zip(claims, found, corrected, strict=True):
        missing = "no results" if claim.terms else OPEN
        row = _numbers(claim, numbers, p_values) if numbers else ["", "", "", "", missing]
        compared.append([claim.text, claim.compared, *row])
    lines += markdown_table(_HEADER, compared)
    lines += ["", f"{sum(map(len, corrected))} tests are corrected for."]
    if rounds_of(RSTN).name in rows:
        lines += ["", *_channel_lines(settings)]
    lines += ["", f"`{command}`", ""]
    path = settings.output / "tables" / "claims.md"
    with atomic_write(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
    return path


def _measured(claim: Claim, settings: ExperimentSettings) -> Measured | None:
    """From the seeds that all evaluations of the claim have; None where there is none."""
    own = replace(settings, seeds=[seed for seed in settings.seeds if _is_there(claim, settings, seed)])
    if not (claim.terms and own.seeds):
        return None
    return measure(claim, {term.evaluation.name: gather(term.evaluation, own)[0] for term in claim.terms})


def _is_there(claim: Claim, settings: ExperimentSettings, seed: int) -> bool:
    """Whether the seed's evaluations are done, with these settings."""
    return all(has_result(term.evaluation, settings, fold, seed) for term in claim.terms for fold in settings.folds)


def _corrected(claims: Sequence[Claim], found: Sequence[Measured | None]) -> list[list[float]]:
    """P-values of each claim, corrected for the number of all; none where nothing is tested."""
    tests = [p_values_of(claim, one) if one else [] for claim, one in zip(claims, found, strict=True)]
    corrected = iter(holm([p for of_claim in tests for p in of_claim]))
    return [[next(corrected) for _ in of_claim] for of_claim in tests]


def _numbers(claim: Claim, found: Measured, corrected: Sequence[float]) -> list[str]:
    low, high = found.estimate.interval()
    seeds = ", ".join(f"{seed:+.2f}" for seed in found.seeds)
    told = ", ".join(f"{p:.2g}" if p >= 1e-4 else "< 0.0001" for p in corrected)
    numbers = [f"{found.estimate.value:+.2f}", f"{low:+.2f} .. {high:+.2f}", seeds, told]
    return [*numbers, judge(claim, found, corrected)]


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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on each claim of the chapter, from the results that are there."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...utils import atomic_write
from .claim_list import build_claims
from .claims import EQUAL, OPEN, SEEDS, Claim, Measured, judge, measure
from .markdown import table_line
from .methods import RSTN
from .parts import Settings, cases_file, evaluation_part
from .plan import Table, rounds_of
from .run import is_done
from .scores import gather

__all__ = ["write_verdicts"]

_RULE = f"""A difference is *found* when the bootstrap 95 % interval of its mean over the test cases lies on the claimed
side of 0 and every training seed has that sign, *not found* when interval and seeds lie on the other side, and *not
distinguishable* otherwise. That two things are equal is found when the interval lies within {EQUAL:g} point of 0, and
not found when it excludes 0 and the mean is larger than that. Comparisons of different trainings, and equality, need
{SEEDS} training seeds. What is said of the worst case, which is one, is judged by the mean of the lowest tenth of the
cases in each row."""


def write_verdicts(
    tables: Mapping[str, Table], settings: Settings, command: str, chosen: Sequence[Table] | None = None
) -> Path:
    """Write ``<output>/tables/claims.md``.

    Args:
        tables: see :func:`c2f_monai.apps.experiment.tables.build_tables`.
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
    lines += ["| claim | compared | difference | 95 % interval | each seed | verdict |", "|---|---|---|---|---|---|"]
    rows = {e.name for table in (tables.values() if chosen is None else chosen) for e in table.evaluations}
    for claim in build_claims(tables):
        if chosen is not None and not (claim.terms and {term.evaluation.name for term in claim.terms} <= rows):
            continue
        found = _measured(claim, settings)
        missing = "no results" if claim.terms else OPEN
        cells = [claim.text, claim.compared, *(_numbers(claim, found) if found else ["", "", "", missing])]
        lines.append(table_line(cells))
    if rounds_of(RSTN).name in rows:
        lines += ["", *_channel_lines(settings)]
    lines += ["", f"`{command}`", ""]
    path = settings.output / "tables" / "claims.md"
    with atomic_write(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
    return path


def _measured(claim: Claim, settings: Settings) -> Measured | None:
    """From the seeds that all evaluations of the claim have; None where there is none."""
    own = replace(settings, seeds=[seed for seed in settings.seeds if _is_there(claim, settings, seed)])
    if not (claim.terms and own.seeds):
        return None
    return measure(claim, {term.evaluation.name: gather(term.evaluation, own)[0] for term in claim.terms})


def _is_there(claim: Claim, settings: Settings, seed: int) -> bool:
    """Whether the seed's evaluations are done, with these settings."""
    return all(
        is_done(evaluation_part(term.evaluation, settings, fold, seed))
        for term in claim.terms
        for fold in settings.folds
    )


def _numbers(claim: Claim, found: Measured) -> list[str]:
    low, high = found.interval
    seeds = ", ".join(f"{seed:+.2f}" for seed in found.seeds)
    return [f"{found.mean:+.2f}", f"{low:+.2f} .. {high:+.2f}", seeds, judge(claim, found)]


def _channel_lines(settings: Settings) -> list[str]:
    """Of g's channels two look at the target and one at the background: mean weights on and around the target."""
    lines = [
        "Of g's channels two look at the target and one at the background: mean weight on the target - around it, in",
        "the slab with most of the target, and the channels with more weight on the target.",
        "",
        "| seed | view | channel 1 | channel 2 | channel 3 | on the target |",
        "|---|---|---|---|---|---|",
    ]
    counts = []
    for seed in settings.seeds:
        path = cases_file(rounds_of(RSTN), settings, settings.folds[0], seed).parent / "saliency.csv"
        for view, differences in _channels(path).items():
            counts.append(sum(d > 0 for d in differences))
            numbers = [f"{d:+.3f}" for d in differences]
            lines.append(table_line([str(seed), view, *numbers, f"{counts[-1]} of {len(differences)}"]))
    two = counts.count(2)
    return [*lines, "", f"Two channels on the target and one beside it in {two} of {len(counts)} networks."]


def _channels(path: Path) -> dict[str, list[float]]:
    """By view, the mean over the cases of each channel; nothing where there is no such file."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found[row["view"]][row["channel"]].append(float(row["target"]) - float(row["around"]))
    return {view: [float(np.mean(v)) for v in channels.values()] for view, channels in found.items()}

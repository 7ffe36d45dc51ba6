# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables over rounds from one run of T rounds with stopping off: what any other stopping would give [3.5]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .statistics import summarise
from .tables import CaseRow

__all__ = ["RoundCurve", "best_round", "curves_of", "inter_round_rows", "round_rows", "stop_round"]

FIXED_ROUNDS = (1, 2, 3, 5, 10)
STOP_THRESHOLDS = (0.90, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class RoundCurve:
    """One case.

    Attributes:
        case: its name.
        dsc: (T + 1,) DSC with the truth of Z(0), the coarse result, to Z(T).
        changes: (T,) inter-round d(1) .. d(T). Fewer than the run's T where the mask became empty: nothing follows.
    """

    case: str
    dsc: tuple[float, ...]
    changes: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.dsc) != len(self.changes) + 1:
            raise ValueError(
                f"{self.case}: {len(self.changes)} rounds need {len(self.changes) + 1} DSC with the coarse result, "
                f"got {len(self.dsc)}."
            )

    def after(self, rounds: int) -> float:
        """DSC after so many rounds; an empty mask stays as it is."""
        return self.dsc[min(rounds, len(self.changes))]


def curves_of(cases: Mapping[str, CaseRow]) -> list[RoundCurve]:
    """Curves from the table of cases of an evaluation with ``stop`` None and rounds kept.

    Args:
        cases: rows with the columns ``dsc_round_0`` .., ``d_1`` .. and ``stop_reason``.

    Raises:
        ValueError: When a case has no DSC of a round, or its loop was stopped by a threshold: what would have come
            after is not known.
    """
    curves = []
    for name, row in cases.items():
        if row.values.get("stop_reason") == "converged":
            raise ValueError(f"the case {name} was stopped when it converged: evaluate with stop None.")
        changes: list[float] = []
        while (change := row.number(f"d_{len(changes) + 1}")) is not None:
            changes.append(change)
        scores = [row.number(f"dsc_round_{t}") for t in range(len(changes) + 1)]
        known = tuple(score for score in scores if score is not None)
        if len(known) < len(scores):
            raise ValueError(f"the case {name} has no dsc_round_{scores.index(None)}: evaluate with keep_rounds true.")
        curves.append(RoundCurve(name, known, tuple(changes)))
    return curves


def stop_round(curve: RoundCurve, threshold: float) -> tuple[int, bool]:
    """Rounds that are run when d(t) >= threshold ends the loop, and whether it did so."""
    for t, change in enumerate(curve.changes, start=1):
        if change >= threshold:
            return t, True
    return len(curve.changes), False


def best_round(curve: RoundCurve) -> int:
    """Round t = 1 .. T, without the coarse result, of the highest DSC; the first of equals, 0 without rounds."""
    return 1 + int(np.argmax(curve.dsc[1:])) if curve.changes else 0


def round_rows(
    curves: Sequence[RoundCurve],
    fixed: Sequence[int] = FIXED_ROUNDS,
    thresholds: Sequence[float] = STOP_THRESHOLDS,
) -> list[dict[str, Any]]:
    """Rows of the table of rounds: coarse, fixed rounds, stop thresholds, best of all rounds.

    Args:
        curves: all cases of one run.
        fixed: numbers of rounds.
        thresholds: d(t) at and above which the loop stops.

    Returns:
        one dict for each row: ``row``, its name; ``cases``; ``mean``, ``std``, ``max``, ``min`` of the DSC;
        ``rounds_mean`` and ``rounds_std`` of the rounds used; ``converged``, the cases that reached the threshold, None
        where there is none.

    Raises:
        ValueError: for no cases, or more fixed rounds than the run had.
    """
    longest = _longest(curves)
    if fixed and not 1 <= min(fixed) <= max(fixed) <= longest:
        raise ValueError(f"fixed rounds must lie between 1 and the run's {longest}, got {list(fixed)}.")
    rows = [_row("coarse", curves, [0] * len(curves))]
    for rounds in fixed:
        rows.append(_row(f"{rounds} round{'s' if rounds > 1 else ''}", curves, [rounds] * len(curves)))
    for threshold in thresholds:
        used = [stop_round(curve, threshold) for curve in curves]
        converged = sum(reached for _, reached in used)
        rows.append(_row(f"d >= {threshold:.2f}", curves, [rounds for rounds, _ in used], converged))
    rows.append(_row("best of all rounds", curves, [best_round(curve) for curve in curves]))
    return rows


def inter_round_rows(curves: Sequence[RoundCurve], rounds: Sequence[int] = FIXED_ROUNDS) -> list[dict[str, Any]]:
    """Inter-round DSC d(t) after t rounds, over the cases that ran so many.

    Args:
        curves: all cases of one run.
        rounds: t, each from 1 to the run's T.

    Returns:
        one dict for each t: ``round``, ``cases``, ``mean``, ``median``, ``min``.

    Raises:
        ValueError: for no cases, or more rounds than the run had.
    """
    longest = _longest(curves)
    if rounds and not 1 <= min(rounds) <= max(rounds) <= longest:
        raise ValueError(f"rounds must lie between 1 and the run's {longest}, got {list(rounds)}.")
    rows = []
    for t in rounds:
        values = [curve.changes[t - 1] for curve in curves if len(curve.changes) >= t]
        summary = summarise(values)
        median = float(np.median(values))
        rows.append({"round": t, "cases": summary.count, "mean": summary.mean, "median": median, "min": summary.min})
    return rows


def _longest(curves: Sequence[RoundCurve]) -> int:
    if not curves:
        raise ValueError("there are no cases.")
    return max(len(curve.changes) for curve in curves)


def _row(
    name: str, curves: Sequence[RoundCurve], rounds: Sequence[int], converged: int | None = None
) -> dict[str, Any]:
    scores = summarise([curve.after(t) for curve, t in zip(curves, rounds, strict=True)])
    used = summarise(rounds)
    return {
        "row": name,
        "cases": scores.count,
        "mean": scores.mean,
        "std": scores.std,
        "max": scores.max,
        "min": scores.min,
        "rounds_mean": used.mean,
        "rounds_std": used.std,
        "converged": converged,
    }

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables over rounds from one run of T rounds with stopping off: what any other stopping would give [3.5]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..inferers.stopping import StopRule
from ..utils import StopReason
from .statistics import bootstrap_interval, summarize
from .tables import CaseRow

__all__ = [
    "NoRoundError",
    "Pick",
    "Picked",
    "RoundCurve",
    "after_rounds",
    "best_of_all",
    "curves_of",
    "inter_round_rows",
    "last_round",
    "mean_picked",
    "round_picks",
    "score_row",
    "stopped_at",
]

FIXED_ROUNDS = (1, 2, 3, 5, 10)
STOP_THRESHOLDS = (0.90, 0.95, 0.98, 0.99)


class NoRoundError(ValueError):
    """A round that the run did not have is asked for."""


@dataclass(frozen=True)
class Picked:
    """What a rule of stopping makes of one case: DSC, rounds used, and whether d(t) reached the threshold (None: none).

    Means over the training seeds of a case are fractions, ``rounds`` and ``converged`` too.
    """

    dsc: float
    rounds: float
    converged: float | None = None


@dataclass(frozen=True)
class RoundCurve:
    """One case.

    Attributes:
        case: its name.
        dsc: (T + 1,) DSC with the truth of Z(0), the coarse result, to Z(T).
        changes: (T,) inter-round d(1) .. d(T). Fewer than the run's T where the mask became empty: nothing follows.
        empty: the last mask is empty.
        stopped: a stop rule ended the loop: what would have come after is not known.
    """

    case: str
    dsc: tuple[float, ...]
    changes: tuple[float, ...]
    empty: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        if len(self.dsc) != len(self.changes) + 1:
            raise ValueError(
                f"{self.case}: {len(self.changes)} rounds need {len(self.changes) + 1} DSC with the coarse result, "
                f"got {len(self.dsc)}."
            )

    def after(self, rounds: int) -> float:
        """DSC after so many rounds; an empty mask stays as it is.

        Raises:
            NoRoundError: When the run had fewer rounds and did not end with an empty mask.
        """
        if rounds > len(self.changes) and not self.empty:
            raise NoRoundError(f"{self.case}: the run had {len(self.changes)} rounds, there is no round {rounds}.")
        return self.dsc[min(rounds, len(self.changes))]


def curves_of(cases: Mapping[str, CaseRow]) -> list[RoundCurve]:
    """Curves from the table of cases of an evaluation with rounds kept.

    Args:
        cases: rows with the columns ``dsc_round_0`` .., ``d_1`` .. and ``stop_reason``.

    Raises:
        ValueError: When a case has no DSC of a round.
    """
    curves, reasons = [], []
    for name, row in cases.items():
        reasons.append(row.values.get("stop_reason"))
        changes: list[float] = []
        while (change := row.number(f"d_{len(changes) + 1}")) is not None:
            changes.append(change)
        scores = [row.number(f"dsc_round_{t}") for t in range(len(changes) + 1)]
        known = tuple(score for score in scores if score is not None)
        if len(known) < len(scores):
            raise ValueError(f"the case {name} has no dsc_round_{scores.index(None)}: evaluate with keep_rounds true.")
        curves.append(RoundCurve(name, known, tuple(changes), reasons[-1] == StopReason.EMPTY))
    longest = max((len(curve.changes) for curve in curves), default=0)
    return [
        # A cycle is what the last round ended with, or, where there are fewer rounds, what the rule ended.
        replace(curve, stopped=reason == StopReason.CONVERGED or (reason == StopReason.CYCLE and rounds < longest))
        for curve, reason, rounds in zip(curves, reasons, [len(curve.changes) for curve in curves], strict=True)
    ]


#: What a table makes of a case: its DSC where some stop rule would have ended, or another choice of a round.
Pick = Callable[[RoundCurve], Picked]


def after_rounds(rounds: int) -> Pick:
    """The rule that stops after so many rounds, 0 for the coarse result."""
    return lambda curve: Picked(curve.after(rounds), min(rounds, len(curve.changes)))


def stopped_at(rule: float | StopRule) -> Pick:
    """The round with which the inferer's own rule ends, or the run did; it needs a run with stopping off.

    Args:
        rule: the rule, or its threshold on d(t) with as many rounds as the run had.
    """

    def pick(curve: RoundCurve) -> Picked:
        _refuse_stopped(curve)
        own = rule if isinstance(rule, StopRule) else StopRule(dice=rule, max_rounds=len(curve.changes))
        rounds = own.replay(curve.changes)
        return Picked(curve.dsc[rounds], rounds, own.reason(curve.changes[:rounds]) == StopReason.CONVERGED)

    return pick


def best_of_all(curve: RoundCurve) -> Picked:
    """Highest DSC of the rounds 1 .. T, the first of equals; the coarse result only where there is no round."""
    _refuse_stopped(curve)
    rounds = 1 + int(np.argmax(curve.dsc[1:])) if curve.changes else 0
    return Picked(curve.dsc[rounds], rounds)


def last_round(curve: RoundCurve) -> Picked:
    """What the run itself ended with."""
    return Picked(curve.dsc[-1], len(curve.changes))


def round_picks(fixed: Sequence[int] = FIXED_ROUNDS, thresholds: Sequence[float] = STOP_THRESHOLDS) -> dict[str, Pick]:
    """Rules of the table of rounds by name: coarse, fixed rounds, thresholds, best of all rounds."""
    named: dict[str, Pick] = {"coarse": after_rounds(0)}
    named |= {f"{rounds} round{'s' if rounds > 1 else ''}": after_rounds(rounds) for rounds in fixed}
    named |= {f"d >= {threshold:.2f}": stopped_at(threshold) for threshold in thresholds}
    return named | {"best of all rounds": best_of_all}


def mean_picked(picked: Sequence[Picked]) -> Picked:
    """Mean of one case over several training seeds."""
    converged = [float(one.converged) for one in picked if one.converged is not None]
    dsc, rounds = (float(np.mean([getattr(one, name) for one in picked])) for name in ("dsc", "rounds"))
    return Picked(dsc, rounds, float(np.mean(converged)) if converged else None)


def score_row(name: str, picked: Sequence[Picked]) -> dict[str, Any]:
    """One row of a table.

    Args:
        name: the row's.
        picked: of all cases, each once.

    Returns:
        ``row``; ``cases``; ``mean``, ``std``, ``max``, ``min`` of the DSC; ``rounds_mean``, ``rounds_std``;
        ``converged``, the cases that reached the threshold, None where there is none; ``low`` and ``high``, the
        bootstrap 95 % interval of the mean.

    Raises:
        ValueError: for no cases.
    """
    scores, used = summarize([one.dsc for one in picked]), summarize([one.rounds for one in picked])
    converged = [one.converged for one in picked if one.converged is not None]
    low, high = bootstrap_interval([one.dsc for one in picked])
    return {
        "row": name,
        "cases": scores.count,
        "mean": scores.mean,
        "std": scores.std,
        "max": scores.max,
        "min": scores.min,
        "rounds_mean": used.mean,
        "rounds_std": used.std,
        "converged": sum(converged) if converged else None,
        "low": low,
        "high": high,
    }


def inter_round_rows(curves: Sequence[RoundCurve], rounds: Sequence[int] = FIXED_ROUNDS) -> list[dict[str, Any]]:
    """Inter-round DSC d(t) after t rounds, over the cases that ran so many.

    Args:
        curves: of one run with stopping off, or of several.
        rounds: t, each at least 1.

    Returns:
        one dict for each t that a case ran: ``round``, ``cases``, ``mean``, ``median``, ``min``.

    Raises:
        ValueError: for a run with another number of rounds, or one that a threshold stopped.
    """
    rows = []
    for curve in curves:
        _refuse_stopped(curve)
        curve.after(max(rounds, default=0))
    for t in rounds:
        values = [curve.changes[t - 1] for curve in curves if len(curve.changes) >= t]
        if values:
            found, median = summarize(values), float(np.median(values))
            rows.append({"round": t, "cases": found.count, "mean": found.mean, "median": median, "min": found.min})
    return rows


def _refuse_stopped(curve: RoundCurve) -> None:
    if curve.stopped:
        raise ValueError(f"the case {curve.case} was stopped when it converged: evaluate with stop_dice None.")

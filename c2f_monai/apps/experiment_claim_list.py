# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the chapter claims, as differences between evaluations of the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..metrics.rounds import Pick, RoundCurve, after_rounds, last_round, stopped_at
from ..utils import View
from .experiment_claims import Claim, Term
from .experiment_methods import RSTN, STEPWISE, TRUTH_REFERENCE, saliency_training
from .experiment_plan import Evaluation, Table, oracle_of, rounds_of, view_of

__all__ = ["build_claims"]

_METHODS = {"step-wise": (STEPWISE, 0.95), "RSTN": (RSTN, 0.99)}


def _dsc(pick: Pick) -> Callable[[RoundCurve], float]:
    return lambda curve: 100 * pick(curve).dsc


def _rounds(pick: Pick) -> Callable[[RoundCurve], float]:
    return lambda curve: pick(curve).rounds


def _minus(text: str, names: tuple[str, str], first: Term, second: Term, **more: bool) -> Claim:
    return Claim(
        text, f"{names[0]} - {names[1]}", (first, Term(-second.factor, second.evaluation, second.value)), **more
    )


def _final(evaluation: Evaluation, threshold: float | None = None) -> Term:
    return Term(1.0, evaluation, _dsc(last_round if threshold is None else stopped_at(threshold)))


def _after(evaluation: Evaluation, rounds: int) -> Term:
    return Term(1.0, evaluation, _dsc(after_rounds(rounds)))


def build_claims(tables: Mapping[str, Table]) -> list[Claim]:
    """All claims of the chapter that differences of DSC or rounds answer, in its order.

    Args:
        tables: see :func:`c2f_monai.apps.experiment_tables.build_tables`.
    """
    found = [*_round_claims(), *_joint_claims(), *_saliency_claims(), *_tuning_claims(), *_view_claims()]
    return [*found, *_cyst_claims(tables["cyst"]), *_insensitive_claims(tables)]


def _round_claims() -> list[Claim]:
    claims = []
    for name, (weights, threshold) in _METHODS.items():
        run = rounds_of(weights)
        claims.append(
            _minus("fine beats coarse", (f"{name}, d >= {threshold}", "coarse"), _final(run, threshold), _after(run, 0))
        )
        most = (Term(1.0, run, _dsc(after_rounds(1))), *(Term(-0.5, run, _dsc(after_rounds(t))) for t in (0, 10)))
        claims.append(
            Claim("one round brings most of it", f"{name}, 1 round - midway between coarse and 10 rounds", most)
        )
        names = (f"{name}, worst case, 10 rounds", "1 round")
        claims.append(_minus("more rounds help the worst case", names, _after(run, 10), _after(run, 1), worst=True))
    return claims


def _joint_claims() -> list[Claim]:
    rstn, apart = rounds_of(RSTN), rounds_of(STEPWISE)
    text = "end-to-end beats step-wise"
    steps = _rounds(stopped_at(0.95))
    return [
        _minus(f"{text}, coarse stage", ("RSTN", "step-wise"), _after(rstn, 0), _after(apart, 0)),
        _minus(
            f"{text}, fine stage", ("RSTN, d >= 0.99", "step-wise, d >= 0.95"), _final(rstn, 0.99), _final(apart, 0.95)
        ),
        Claim(
            "RSTN converges faster",
            "rounds until d >= 0.95, step-wise - RSTN",
            (Term(1.0, apart, steps), Term(-1.0, rstn, steps)),
        ),
    ]


def _saliency_claims() -> list[Claim]:
    kernels = {"1x1": (1,), "3x3": (3,), "5x5": (5,), "7x7": (7,), "two-layer 3x3": (3, 3)}
    runs = {name: _final(rounds_of(saliency_training(sizes, tuned=False)), 0.95) for name, sizes in kernels.items()}
    pairs = [("3x3", "1x1"), ("5x5", "3x3"), ("5x5", "7x7")]
    claims = [_minus(f"{b} < {a}", (a, b), runs[a], runs[b]) for a, b in pairs]
    best = [other for other in kernels if other != "two-layer 3x3"]
    return claims + [
        _minus("two-layer 3x3 best", ("two-layer 3x3", other), runs["two-layer 3x3"], runs[other]) for other in best
    ]


def _tuning_claims() -> list[Claim]:
    untuned = rounds_of(TRUTH_REFERENCE)
    small, small_untuned = (rounds_of(saliency_training((3,), tuned)) for tuned in (True, False))
    text = "fine-tuning on predicted references helps"
    gap = (
        *(Term(f, e, _dsc(last_round)) for f, e in ((1.0, oracle_of(TRUTH_REFERENCE)), (-1.0, oracle_of(RSTN)))),
        *(Term(f, e, _dsc(stopped_at(0.99))) for f, e in ((-1.0, untuned), (1.0, rounds_of(RSTN)))),
    )
    names = ("two-layer 3x3, fine-tuned", "not")
    return [
        _minus(text, names, _final(rounds_of(RSTN), 0.95), _final(untuned, 0.95)),
        _minus(text, ("3x3, fine-tuned", "not"), _final(small, 0.95), _final(small_untuned, 0.95)),
        Claim("fine-tuning shrinks the gap to the oracle box", "gap, not fine-tuned - fine-tuned", gap),
    ]


def _view_claims() -> list[Claim]:
    return [
        _minus(
            "fusion beats each view",
            (f"{name}, coarse, fused", view.value),
            _after(rounds_of(weights), 0),
            _after(view_of(weights, view), 0),
        )
        for name, (weights, _) in _METHODS.items()
        for view in View
    ]


def _cyst_claims(table: Table) -> list[Claim]:
    rows = {row.label: _final(row.evaluation) for row in table.rows if row.evaluation is not None}
    claims = [
        _minus(
            "the cyst gains from the organ",
            (f"{name}, with organ", "without"),
            rows[f"cyst with organ, {name}"],
            rows[f"cyst without organ, {name}"],
        )
        for name in _METHODS
    ]
    alone = [rows[f"cyst without organ, {name}"] for name in ("RSTN", "step-wise")]
    text = "without the organ the two approaches tie"
    return [*claims, _minus(text, ("RSTN", "step-wise"), alone[0], alone[1], equal=True)]


def _insensitive_claims(tables: Mapping[str, Table]) -> list[Claim]:
    varied = {"the pixel threshold": "pixels", "K": "testing", "t": "distance"}
    claims = []
    for what, name in varied.items():
        rows = {row.label: _final(row.evaluation) for row in tables[name].rows if row.evaluation is not None}
        for pair in tables[name].comparisons:
            if name != "testing" or pair.first.startswith("margin"):
                names = (pair.first, pair.second)
                claims.append(_minus(f"insensitive to {what}", names, rows[pair.first], rows[pair.second], equal=True))
    return claims

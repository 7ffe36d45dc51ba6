# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the chapter claims, as differences between rows of the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from c2f_monai.metrics.rounds import Pick, RoundCurve, stopped_at
from c2f_monai.utils import View

from .claims import Claim, Term
from .plan import Table

__all__ = ["build_claims"]

#: By the labels of a table's rows, their DSC in points.
Rows = Mapping[str, Term]

# The table of each method's rounds, and the method's own rule of stopping in it.
_METHODS = {"step-wise": ("stepwise", "d >= 0.95"), "RSTN": ("rounds", "d >= 0.99")}


def build_claims(tables: Mapping[str, Table]) -> list[Claim]:
    """All claims of the chapter that differences of DSC or rounds answer, in its order.

    Args:
        tables: see :func:`benchmarks.chapter.tables.build_tables`.
    """
    rows = {name: _rows(table) for name, table in tables.items()}
    found = [*_premise_claims(rows), *_round_claims(rows), *_joint_claims(rows), *_saliency_claims(rows["saliency"])]
    found += [*_tuning_claims(rows["saliency"], rows["overfitting"]), *_view_claims(rows), *_cyst_claims(rows["cyst"])]
    return [*found, *_losing_claims(rows["organs"]), *_insensitive_claims(tables, rows)]


def _rows(table: Table) -> Rows:
    return {
        row.label: Term(1.0, row.evaluation, _dsc(row.pick), _printed_mean(row.chapter))
        for row in table.rows
        if row.evaluation is not None
    }


def _printed_mean(chapter: str) -> float | None:
    """The mean of what the chapter prints of a row."""
    found = re.match(r"[0-9.]+", chapter)
    return float(found.group()) if found else None


def _dsc(pick: Pick) -> Callable[[RoundCurve], float]:
    return lambda curve: 100 * pick(curve).dsc


def _times(factor: float, term: Term) -> Term:
    return replace(term, factor=factor * term.factor)


def _minus(text: str, rows: Rows, first: str, second: str, of: str = "", **more: bool) -> Claim:
    """One row minus another one; ``of`` is said before them."""
    return Claim(text, f"{of}{first} - {second}", (rows[first], _times(-1.0, rows[second])), **more)


def _premise_claims(tables: Mapping[str, Rows]) -> list[Claim]:
    """What the chapter is about: small targets are lost in whole images (Fig. 3.2)."""
    rows = tables["premise"]
    return [
        _minus("a box beats the whole image", rows, "coarse to fine", "whole image, coarse networks"),
        _minus("the true box beats the predicted one", rows, "true box", "coarse to fine"),
    ]


def _round_claims(tables: Mapping[str, Rows]) -> list[Claim]:
    claims = []
    for name, (table, stop) in _METHODS.items():
        rows, of = tables[table], f"{name}, "
        most = (rows["1 round"], *(_times(-0.5, rows[label]) for label in ("coarse", "10 rounds")))
        compared = f"{of}1 round - midway between coarse and 10 rounds"
        claims += [
            _minus("fine beats coarse", rows, stop, "coarse", of),
            Claim("one round brings most of it", compared, most),
            _minus("more rounds help the worst case", rows, "10 rounds", "1 round", f"{of}lowest tenth, ", worst=True),
        ]
    return claims


def _joint_claims(tables: Mapping[str, Rows]) -> list[Claim]:
    text, stop = "end-to-end beats step-wise", stopped_at(0.95)
    used = [
        replace(tables[table]["coarse"], value=lambda curve: stop(curve).rounds, chapter=None)
        for table, _ in _METHODS.values()
    ]
    # With one fusion for both, as the approaches differ in that too; the chapter's numbers are those of either's own.
    coarse, rows = f"{text}, coarse stage", {name: replace(t, chapter=None) for name, t in tables["joint"].items()}
    joint, control = "coarse, trained jointly, vote", "coarse networks alone, as long, vote"
    return [
        replace(_minus(coarse, rows, joint, "coarse, trained apart"), compared="both by vote, jointly - apart"),
        replace(
            _minus(coarse, rows, "coarse, trained jointly", "coarse, trained apart, mean"),
            compared="both by mean, jointly - apart",
        ),
        _minus("joint training beats coarse networks alone, as long", rows, joint, control),
        _minus(f"{text}, fine stage", tables["methods"], "RSTN", "step-wise"),
        Claim("RSTN converges faster", "rounds until d >= 0.95, step-wise - RSTN", (used[0], _times(-1.0, used[1]))),
    ]


def _saliency_claims(rows: Rows) -> list[Claim]:
    pairs = {"1x1 < 3x3": ("3x3 (basic)", "1x1"), "3x3 < 5x5": ("5x5", "3x3 (basic)"), "7x7 < 5x5": ("5x5", "7x7")}
    claims = [_minus(text, rows, *pair) for text, pair in pairs.items()]
    others = ("1x1", "3x3 (basic)", "5x5", "7x7")
    return claims + [_minus("two-layer 3x3 best", rows, "two-layer 3x3", other) for other in others]


def _tuning_claims(rows: Rows, gaps: Rows) -> list[Claim]:
    text = "fine-tuning on predicted references helps"
    # With the published constants what is kept after the 80,000 iterations, else a control that learns as long.
    other = next(label for label in ("not fine-tuned", "longer control") if label in gaps)
    signs = {f"{other}, oracle box": 1.0, other: -1.0, "fine-tuned, oracle box": -1.0, "fine-tuned": 1.0}
    gap = tuple(_times(sign, gaps[label]) for label, sign in signs.items())
    return [
        _minus(text, rows, "two-layer 3x3, fine-tuned", "two-layer 3x3"),
        _minus(text, rows, "3x3, fine-tuned", "3x3 (basic)"),
        Claim("fine-tuning shrinks the gap to the oracle box", f"gap, {other} - fine-tuned", gap),
    ]


def _view_claims(tables: Mapping[str, Rows]) -> list[Claim]:
    return [
        _minus("fusion beats each view", tables[table], "coarse", f"coarse, {view.value}", f"{name}, ")
        for name, (table, _) in _METHODS.items()
        for view in View
    ]


def _cyst_claims(rows: Rows) -> list[Claim]:
    text, without = "the cyst gains from the organ", "cyst without organ, "
    claims = [_minus(text, rows, f"cyst with organ, {name}", f"{without}{name}") for name in _METHODS]
    tie = _minus("without the organ the two approaches tie", rows, f"{without}RSTN", f"{without}step-wise", equal=True)
    stronger = "a stronger coarse network of the organ helps the cyst"
    with_organ = "cyst with organ, step-wise"
    return [*claims, tie, _minus(stronger, rows, f"{with_organ}, its coarse DeepLab", with_organ)]


def _losing_claims(rows: Rows) -> list[Claim]:
    claims = []
    for organ in ("gallbladder", "inferior vena cava"):
        text, coarse, fine = "may lose in the fine stage", f"{organ}, step-wise, coarse", f"{organ}, step-wise, fine"
        if coarse in rows:
            claims.append(_minus(f"{organ} {text}", rows, coarse, fine))
        else:
            claims.append(Claim(f"{organ} {text}", f"--organs has no {organ}", ()))
    return claims


def _insensitive_claims(tables: Mapping[str, Table], rows: Mapping[str, Rows]) -> list[Claim]:
    # By table, the rows that the chapter is about: the threshold is that of the coarse training.
    varied = {"the pixel threshold": ("pixels", "coarse, "), "K": ("testing", "margin"), "t": ("distance", "")}
    return [
        _minus(f"insensitive to {what}", rows[name], pair.first, pair.second, equal=True)
        for what, (name, start) in varied.items()
        for pair in tables[name].comparisons
        if pair.first.startswith(start)
    ]

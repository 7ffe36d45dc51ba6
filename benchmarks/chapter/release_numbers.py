# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that a release states, from the per-case table of an evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from c2f_monai.metrics.statistics import bootstrap_interval, summarize
from c2f_monai.metrics.tables import CaseRow

__all__ = ["error_ratio", "group_numbers", "release_numbers"]


def release_numbers(cases: Sequence[CaseRow]) -> dict[str, dict[str, Any]]:
    """Numbers over all cases (``all``) and over each group, if there are groups.

    Args:
        cases: rows of the evaluation's per-case CSV file.

    Returns:
        :func:`group_numbers` by group.
    """
    groups: dict[str, list[CaseRow]] = defaultdict(list)
    for row in cases:
        if row.group:
            groups[row.group].append(row)
    members = {"all": list(cases), **dict(sorted(groups.items()))}
    return {name: group_numbers(rows) for name, rows in members.items()}


def group_numbers(cases: Sequence[CaseRow]) -> dict[str, Any]:
    """Numbers of one group of cases; DSC are fractions, distances mm, intervals bootstrap 95 %.

    Args:
        cases: rows with the columns ``dsc`` and, where there are, ``hd95``, ``dsc_round_0``, ``d_1`` .., ``rounds``.

    Returns:
        ``cases``; ``unscored``, those without a DSC (prediction and truth empty); ``dsc`` and ``hd95`` with mean, std,
        max, min, interval. Of methods with fine rounds also ``coarse_dsc`` (round 0), ``gain`` (the final minus the
        coarse DSC), ``error_ratio`` ((1 - DSC) after over before refinement), ``rounds`` and ``d3``, the inter-round
        DSC of the third round, over the cases that ran it (``reached``) and with those that stopped before at their
        last value (``carried``). A case whose coarse mask is empty has no rounds: its answer is the coarse one, and it
        counts in all of them but ``d3``.
    """
    scored = [row for row in cases if row.number("dsc") is not None]
    numbers: dict[str, Any] = {"cases": len(cases), "unscored": len(cases) - len(scored)}
    numbers |= {column: _spread(values) for column in ("dsc", "hd95") if (values := _values(scored, column))}
    refined = [row for row in scored if row.number("dsc_round_0") is not None and row.number("rounds") is not None]
    if not any(row.number("rounds") for row in refined):
        return numbers
    final, coarse = (np.array(_values(refined, column)) for column in ("dsc", "dsc_round_0"))
    numbers["coarse_dsc"] = _spread(coarse)
    numbers["gain"] = _spread(final - coarse)
    numbers["error_ratio"] = {
        "mean": _round(float(error_ratio(final, coarse))),
        "interval": [_round(v) for v in bootstrap_interval(final, coarse, statistic=error_ratio)],
    }
    numbers["rounds"] = _spread(_values(refined, "rounds"))
    numbers["d3"] = _third_change(refined)
    return numbers


def error_ratio(final: np.ndarray, coarse: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean error after refinement over mean error before it, (1 - mean final) / (1 - mean coarse).

    Args:
        final: (..., N) DSC of the last round.
        coarse: (..., N) DSC of round 0 of the same cases.
        axis: axis of the cases. Defaults to the last.

    Returns:
        (...) ratios; below 1 the refinement helps. NaN where the coarse result is perfect.
    """
    before, after = 1 - np.mean(coarse, axis=axis), 1 - np.mean(final, axis=axis)
    return np.divide(after, before, out=np.full_like(before, np.nan), where=before > 0)


def _third_change(cases: Sequence[CaseRow]) -> dict[str, Any]:
    reached = _values(cases, "d_3")
    carried = []
    for row in cases:
        changes = [change for t in (1, 2, 3) if (change := row.number(f"d_{t}")) is not None]
        carried += changes[-1:]
    return {"reached": _spread(reached) if reached else None, "carried": _spread(carried) if carried else None}


def _values(cases: Sequence[CaseRow], column: str) -> list[float]:
    return [value for row in cases if (value := row.number(column)) is not None]


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    summary = summarize(values)
    numbers = {name: _round(getattr(summary, name)) for name in ("mean", "std", "max", "min")}
    return {"cases": summary.count, **numbers, "interval": [_round(v) for v in bootstrap_interval(values)]}


def _round(value: float) -> float | None:
    """Six digits are more than any number of cases supports; what is undefined is null, which JSON knows."""
    return round(value, 6) if value == value else None

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From tables of cases to scores: folds joined, training seeds averaged, rounds picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from c2f_monai.metrics.rounds import Pick, Picked, RoundCurve, curves_of, mean_picked, score_row
from c2f_monai.metrics.tables import CaseRow

from .parts import ExperimentSettings
from .plan import Evaluation, RowPair
from .results import read_evaluation

__all__ = ["Curves", "Scores", "case_scores", "gather", "paired_scores", "scored_row"]

#: Curves of an evaluation, of all folds together, by training seed.
Curves = Mapping[int, Sequence[RoundCurve]]
#: What counts of each case.
Scores = Mapping[str, Picked]


def gather(evaluation: Evaluation, settings: ExperimentSettings) -> tuple[Curves, set[str]]:
    """Curves of an evaluation, and the cases that are left out because their truth is empty: they have no DSC.

    Raises:
        ValueError: When a table of cases is missing, two folds have the same case, a seed has other cases than the
            first, or no case has the target.
    """
    found: dict[int, list[RoundCurve]] = {}
    left_out: set[str] = set()
    for seed in settings.seeds:
        cases: dict[str, CaseRow] = {}
        for fold in settings.folds:
            more = read_evaluation(evaluation, settings, fold, seed)
            if twice := sorted(cases.keys() & more.keys()):
                raise ValueError(f"{evaluation.name}: the case {twice[0]} is tested in two folds.")
            cases |= more
        left_out |= {name for name, row in cases.items() if not row.number("label_voxels")}
        found[seed] = curves_of({name: row for name, row in cases.items() if name not in left_out})
        if not found[seed]:
            raise ValueError(f"{evaluation.name}: none of the {len(cases)} cases has the target.")
        _refuse_other_cases(evaluation.name, found, seed)
    return found, left_out


def _refuse_other_cases(name: str, found: Curves, seed: int) -> None:
    """A mean over seeds that tested other cases would be of neither."""
    first = next(iter(found))
    own, others = ({curve.case for curve in found[one]} for one in (seed, first))
    if other := sorted(own ^ others):
        raise ValueError(f"{name}: the case {other[0]} is scored with one of the seeds {first} and {seed} only.")


def case_scores(curves: Curves, pick: Pick) -> dict[str, Picked]:
    """What a rule of stopping makes of each case, the mean over the training seeds."""
    by_case: dict[str, list[Picked]] = {}
    for cases in curves.values():
        for curve in cases:
            by_case.setdefault(curve.case, []).append(pick(curve))
    return {case: mean_picked(picked) for case, picked in by_case.items()}


def scored_row(label: str, curves: Curves, pick: Pick) -> dict[str, Any]:
    """A row of numbers, see :func:`c2f_monai.metrics.rounds.score_row`; ``seeds``, and ``seed_std`` of their means."""
    means = [float(np.mean([pick(curve).dsc for curve in cases])) for cases in curves.values()]
    row = score_row(label, list(case_scores(curves, pick).values()))
    return {**row, "seeds": len(means), "seed_std": float(np.std(means))}


def paired_scores(pair: RowPair, scores: Mapping[str, Scores]) -> tuple[np.ndarray, np.ndarray]:
    """DSC of two rows, (N,) each in the same order of cases.

    Raises:
        ValueError: When they are not about the same cases.
    """
    first, second = scores[pair.first], scores[pair.second]
    if first.keys() != second.keys():
        raise ValueError(f"{pair.first} and {pair.second} are not about the same cases.")
    return np.array([first[case].dsc for case in first]), np.array([second[case].dsc for case in first])

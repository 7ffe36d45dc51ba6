# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables with the published constants: where their trainings are others than those of the bundle's recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .plan import Evaluation, Kept, Merged, Row, Table, Training, Weights

__all__ = ["LONGER", "as_published"]

#: Behind the label of a row without one of its own for this: the truth as reference as long as fine-tuning takes.
LONGER = ", longer control"


def as_published(tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables as the chapter makes them.

    The step-wise approach is two trainings apart, whose weights are merged [3.3.2]. Not fine-tuned is what a training
    keeps after its 80,000 iterations; the training that goes on without fine-tuning is a row of its own [3.4.2].

    Args:
        tables: of :func:`benchmarks.chapter.tables.build_tables`.
    """
    return {name: _table(table) for name, table in tables.items()}


def _table(table: Table) -> Table:
    rows = [new for row in table.rows for new in _rows(row)]
    convergence = {name: _evaluation(evaluation) for name, evaluation in table.convergence.items()}
    kept = {row.label: row.kept_label for row in table.rows if row.kept_label}
    pairs = [
        replace(pair, first=kept.get(pair.first, pair.first), second=kept.get(pair.second, pair.second))
        for pair in table.comparisons
    ]
    return replace(table, rows=tuple(rows), comparisons=tuple(pairs), convergence=convergence)


def _rows(row: Row) -> list[Row]:
    """A row, and its control."""
    if row.evaluation is None:
        return [row]
    weights = row.evaluation.weights
    evaluation = _evaluation(row.evaluation)
    if not (isinstance(weights, Training) and weights.kept_by is not None):
        return [replace(row, evaluation=evaluation)]
    control = replace(row.evaluation, weights=replace(weights, published=(), kept_by=None))
    label = row.label if row.kept_label else row.label + LONGER
    kept = replace(row, label=row.kept_label or row.label, evaluation=evaluation)
    return [kept, replace(row, label=label, evaluation=control, chapter="")]


def _evaluation(evaluation: Evaluation) -> Evaluation:
    changes: dict[str, Any] = {"weights": _weights(evaluation.weights)}
    if isinstance(changes["weights"], Kept):
        changes["name"] = evaluation.name.replace(evaluation.weights.name, changes["weights"].name)
    changes["further"] = {
        key: _weights(found) if isinstance(found, Weights) else {name: _weights(each) for name, each in found.items()}
        for key, found in evaluation.further.items()
    }
    return replace(evaluation, **changes)


def _weights(weights: Weights) -> Weights:
    if isinstance(weights, Merged):
        # Of the step-wise approach the coarse training alone.
        coarse = _apart(weights.coarse)[0] if weights.coarse.apart else weights.coarse
        return replace(weights, coarse=coarse)
    if not isinstance(weights, Training):
        return weights
    if weights.kept_by is not None:
        tuned = weights.kept_by
        name = weights.name.replace("untuned", "not_tuned")
        return Kept(name, tuned.overlays, tuned.options, tuned.published, training=tuned)
    if weights.apart is not None:
        coarse, fine = _apart(weights)
        return Merged(weights.name, weights.overlays, weights.options, weights.published, joint=fine, coarse=coarse)
    return weights


def _apart(weights: Training) -> list[Training]:
    """The coarse and the fine training of a step-wise approach."""
    return [
        replace(weights, name=f"{weights.name}_{part}", published=(*weights.published, file), apart=None)
        for part, file in zip(("coarse", "fine"), weights.apart or (), strict=True)
    ]

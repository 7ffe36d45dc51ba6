# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the chapter that no table draws: the whole image against a smaller region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from c2f_monai.utils import atomic_write
from c2f_monai.visualize.answer_slices import read_answer_slice, regions_figure

from .methods import CYST, RSTN, near_organ_training, organ_training
from .parts import ExperimentPart, ExperimentSettings, cases_file, parts_of
from .plan import Evaluation, Row, Table, Weights

__all__ = ["FIGURES", "RegionFigure", "boxed_of", "figure_parts", "first_cases", "regions_of", "write_figure"]

_SLICES = "configs/run/answer_slices.json"
_ORACLE = "bundle/configs/oracle_box.json"


@dataclass(frozen=True)
class RegionFigure:
    """A figure.

    Attributes:
        title: what it shows.
        columns: by name of the region, the evaluation, and whether its last answer is shown, not the coarse one.
    """

    title: str
    columns: Mapping[str, tuple[Evaluation, bool]]


def _slices(weights: Weights, *overlays: str) -> Evaluation:
    return Evaluation(f"{weights.name}_slices", weights, (*overlays, _SLICES), {"max_rounds": 2})


def boxed_of(weights: Weights) -> Evaluation:
    """Slices of the answers on the whole image and in the true box, of which Fig. 3.2 is drawn."""
    return _slices(weights, _ORACLE)


def first_cases(evaluation: Evaluation, cases: int) -> Evaluation:
    """The same of the first cases alone."""
    first = {"validate#dataset#data": f"$@validate#cases[:{cases}]"}
    return replace(evaluation, name=f"{evaluation.name}_{cases}", options={**evaluation.options, **first})


def regions_of(distance: float | None = None) -> dict[str, RegionFigure]:
    """The figures by name.

    Args:
        distance: t of the cyst, mm; None for the configuration's.
    """
    boxed = boxed_of(RSTN)
    whole, near = _slices(organ_training(RSTN, "cyst", CYST)), _slices(near_organ_training(RSTN, distance))
    return {
        "box": RegionFigure(
            "Fig. 3.2: the whole image against the true box", {"whole image": (boxed, False), "true box": (boxed, True)}
        ),
        "organ": RegionFigure(
            "Fig. 3.4: the cyst on the whole image against the organ's region",
            {"whole image": (whole, False), "near the true organ": (near, False)},
        ),
    }


#: Names of the figures.
FIGURES = tuple(regions_of())


def figure_parts(figure: RegionFigure, settings: ExperimentSettings, cases: int) -> list[ExperimentPart]:
    """The parts that a figure needs: trainings, and evaluations of the first cases."""
    found = _first_cases(figure, cases)
    rows = tuple(Row(name, evaluation) for name, (evaluation, _) in found.columns.items())
    return parts_of([Table("figure", found.title, rows)], _first_run(settings))


def write_figure(name: str, figure: RegionFigure, settings: ExperimentSettings, cases: int) -> Path:
    """Draw a figure whose parts are done: ``<output>/figures/<name>.png``."""
    own, found = _first_run(settings), _first_cases(figure, cases)
    kept = {
        column: read_answer_slice(cases_file(evaluation, own, own.folds[0], own.seeds[0]).parent)
        for column, (evaluation, _) in found.columns.items()
    }
    names = list(next(iter(kept.values())))
    rows = {case: {column: (kept[column][case], last) for column, (_, last) in found.columns.items()} for case in names}
    path = settings.output / "figures" / f"{name}.png"
    with atomic_write(path) as part:
        regions_figure(rows).savefig(part)
    return path


def _first_run(settings: ExperimentSettings) -> ExperimentSettings:
    """A picture is of one fold and seed."""
    return replace(settings, folds=settings.folds[:1], seeds=settings.seeds[:1])


def _first_cases(figure: RegionFigure, cases: int) -> RegionFigure:
    columns = {name: (first_cases(evaluation, cases), last) for name, (evaluation, last) in figure.columns.items()}
    return replace(figure, columns=columns)

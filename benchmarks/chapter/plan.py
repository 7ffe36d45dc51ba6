# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an experiment is made of: weights, evaluations of them, and the rows of a table that pick from evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from c2f_monai.metrics.rounds import Pick, last_round
from c2f_monai.utils import View

__all__ = [
    "RowPair",
    "Evaluation",
    "Kept",
    "MeanGain",
    "Merged",
    "Row",
    "Table",
    "Training",
    "Weights",
    "oracle_of",
    "rounds_of",
    "view_of",
]

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Weights:
    """Weights of a method, and how its configuration differs from the bundle's.

    Attributes:
        name: unique among all tables: tables that name the same weights share them.
        overlays: files after bundle/configs/three_views.json, from the project's folder, in training and evaluation.
        options: ids that are set, in training and evaluation.
        published: files after those, where the published constants are asked for.
        own_recipe: the published constants, which are those of the 2D networks, are no constants of this training: of
            them it has what ``published`` says.
    """

    name: str
    overlays: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    published: tuple[str, ...] = ()
    own_recipe: bool = False


@dataclass(frozen=True)
class Training(Weights):
    """Weights that are trained here.

    Attributes:
        small: further ids of the small version, in training and evaluation.
        start: weights of coarse networks that this training goes on from, but with the published constants, whose
            stages begin otherwise.
        effort: time of an epoch as a share of what items and batch size suggest, for the estimate.
        apart: files of a coarse and of a fine training, which the published constants have in the place of this one.
        kept_by: the training that keeps these weights when it has come as far, with the published constants.
    """

    small: Options = field(default_factory=dict)
    effort: float = 1.0
    start: Training | None = None
    apart: tuple[str, str] | None = None
    kept_by: Training | None = None


@dataclass(frozen=True)
class Merged(Weights):
    """Weights of ``joint`` with the coarse networks of ``coarse``."""

    joint: Training = Training("")
    coarse: Training = Training("")


@dataclass(frozen=True)
class Kept(Weights):
    """Weights that ``training`` keeps under the name ``file`` on its way, see the key ``keep_as`` of stages."""

    training: Training = Training("")
    file: str = "model_individual.pt"


@dataclass(frozen=True)
class Evaluation:
    """A run on the test split, which writes a table of cases.

    Attributes:
        name: unique among all tables.
        weights: what is evaluated.
        overlays: files after those of the weights.
        options: ids that are set after those of the weights.
        base: "evaluate" for training and evaluation configuration, "inference" for the inference configuration.
        further: ids of further checkpoints and their weights, or weights by name where an id holds several.
        cases: file that the run writes.
        run: name of the run, where several evaluations are tables of one; its own name where it is empty.
        product: of the run's files the one that shows that it is complete; ``cases`` where it is empty.
    """

    name: str
    weights: Weights
    overlays: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    base: str = "evaluate"
    further: Mapping[str, Weights | Mapping[str, Weights]] = field(default_factory=dict)
    cases: str = "cases.csv"
    run: str = ""
    product: str = ""

    @property
    def needs(self) -> list[Weights]:
        """All weights that must be there."""
        found = [self.weights]
        for further in self.further.values():
            found += [further] if isinstance(further, Weights) else further.values()
        return list({weights.name: weights for weights in found}.values())


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: the row's name.
        evaluation: where its cases come from; None for what the chapter prints of others.
        pick: which round of a case counts.
        chapter: what the chapter prints, DSC in %: mean±std (max, min), rounds. Empty where it prints nothing.
        kept_label: the row's name where its weights are those that a published training keeps on its way.
    """

    label: str
    evaluation: Evaluation | None = None
    pick: Pick = last_round
    chapter: str = ""
    kept_label: str = ""


@dataclass(frozen=True)
class RowPair:
    """Two rows by label, compared case by case; differences are first minus second.

    Attributes:
        first: label of a row.
        second: label of a row.
        chapter: what the chapter prints about them.
    """

    first: str
    second: str
    chapter: str = ""


@dataclass(frozen=True)
class MeanGain:
    """The mean over some pairs of rows, each with the same weight, of the mean difference of their cases.

    Attributes:
        label: what is gained.
        pairs: of rows; first minus second.
        chapter: what the chapter prints.
    """

    label: str
    pairs: tuple[RowPair, ...]
    chapter: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the chapter, or one like them.

    Attributes:
        name: of the command line and the folder.
        title: what it shows.
        rows: its rows.
        comparisons: pairs of rows.
        convergence: by method, an evaluation of ten rounds whose inter-round DSC is shown.
        changes: by method, the d(t) that the chapter prints, by t.
        gains: means over several pairs.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    comparisons: tuple[RowPair, ...] = ()
    convergence: Mapping[str, Evaluation] = field(default_factory=dict)
    changes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    gains: tuple[MeanGain, ...] = ()

    def __post_init__(self) -> None:
        scored = [row.label for row in self.rows if row.evaluation is not None]
        if len(set(scored)) != len(scored):
            raise ValueError(f"the table {self.name} has a row twice: {scored}.")
        pairs = [*self.comparisons, *(pair for gain in self.gains for pair in gain.pairs)]
        wanted = {label for pair in pairs for label in (pair.first, pair.second)}
        if missing := sorted(wanted - set(scored)):
            raise ValueError(f"the table {self.name} compares rows that it has not: {missing}.")

    @property
    def evaluations(self) -> list[Evaluation]:
        """Each evaluation once."""
        return _by_name([*(row.evaluation for row in self.rows if row.evaluation), *self.convergence.values()])

    @property
    def trainings(self) -> list[Training]:
        """Each training once, also those that others start from and those whose weights are merged."""
        needed = [weights for evaluation in self.evaluations for weights in evaluation.needs]
        parts = [w for weights in needed for w in _sources(weights)]
        return _by_name([weights for weights in parts if isinstance(weights, Training)])

    @property
    def merges(self) -> list[Merged]:
        """Each pair of weights that is merged, once."""
        needed = [weights for evaluation in self.evaluations for weights in evaluation.needs]
        return _by_name([weights for weights in needed if isinstance(weights, Merged)])


def rounds_of(weights: Weights) -> Evaluation:
    """Ten rounds with stopping off, from which every rule of stopping can be read."""
    return Evaluation(f"{weights.name}_rounds", weights, ("bundle/configs/diagnostics.json",))


def oracle_of(weights: Weights) -> Evaluation:
    """The truth's box for each slab in every round."""
    return Evaluation(f"{weights.name}_oracle", weights, ("bundle/configs/oracle_box.json",))


def view_of(weights: Weights, view: View) -> Evaluation:
    """One view alone in the coarse stage: as cheap as the view's part of the coarse stage of the fused run."""
    options = {"validate#inferer#views": [view.value], "max_rounds": 0}
    return Evaluation(f"{weights.name}_coarse_{view.value}", weights, options=options)


def _sources(weights: Weights) -> list[Weights]:
    """What must be trained for some weights, in this order."""
    if isinstance(weights, Merged):
        return [*_sources(weights.coarse), *_sources(weights.joint)]
    if isinstance(weights, Kept):
        return _sources(weights.training)
    if isinstance(weights, Training) and weights.start is not None:
        return [*_sources(weights.start), weights]
    return [weights]


Named = TypeVar("Named", Weights, Training, Merged, Evaluation)


def _by_name(found: Iterable[Named]) -> list[Named]:
    unique: dict[str, Named] = {}
    for one in found:
        if unique.setdefault(one.name, one) != one:
            raise ValueError(f"two different things are called {one.name}: {unique[one.name]} and {one}.")
    return list(unique.values())

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of ``tables.yaml``, with the numbers that the chapter prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from c2f_monai.metrics.rounds import Pick, after_rounds, last_round, round_picks, stopped_at
from c2f_monai.utils import View

from .declared import TABLES, DeclarationError, Declared, checked, declared, named, text_of, training_of
from .methods import CYST, near_organ_training, organ_training
from .plan import Evaluation, Row, RowPair, Table, Weights, oracle_of, rounds_of, view_of
from .targets import distance_table, four_stages, organ_table

__all__ = ["DEFAULT_ORGANS", "build_tables", "diagnostic_rows"]

#: Label values of the embedded data set's organs.
DEFAULT_ORGANS: Mapping[str, Sequence[int]] = {"pancreas": (1, 2), "cyst": (2,)}

#: What a table is made by, and what else stands beside it.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "rows": ("compared", "compared_with", "convergence", "changes"),
    "rounds_of": ("chapter",),
    "each_organ": (),
    "each_distance": (),
}
_OF_EVALUATIONS = ("of", "run", "name", "options", "overlays", "stop", "round")
#: Runs that are more than ids, by what rows call them.
_RUNS = {"rounds": rounds_of, "oracle": oracle_of}


def build_tables(
    organs: Mapping[str, Sequence[int]], distance: float | None = None, file: Path = TABLES
) -> dict[str, Table]:
    """All tables by name.

    Args:
        organs: label values of each organ of the data set, for the table of several organs.
        distance: t of the tables of the cyst, mm. Defaults to the configuration's.
        file: that declares them. Defaults to the chapter's.

    Raises:
        DeclarationError: For what the file does not say rightly, with the place.
    """
    found = declared(file)
    return {name: _table(name, content, found, organs, distance) for name, content in found.tables.items()}


def diagnostic_rows(weights: Weights, numbers: Mapping[str, str]) -> tuple[Row, ...]:
    """Each view alone, the coarse stage, fixed rounds, thresholds, best of all rounds and the oracle box [3.5.2]."""
    views = [(f"coarse, {view.value}", view_of(weights, view), after_rounds(0)) for view in View]
    rounds = [(name, rounds_of(weights), pick) for name, pick in round_picks().items()]
    found = [*views, *rounds, ("oracle box", oracle_of(weights), last_round)]
    return tuple(Row(label, evaluation, pick, numbers.get(label, "")) for label, evaluation, pick in found)


def _table(
    name: str, content: Mapping[str, Any], found: Declared, organs: Mapping[str, Sequence[int]], distance: float | None
) -> Table:
    where = f"table {name}"
    kind = next((kind for kind in _KINDS if kind in content), "rows")
    own = checked(content, where, ("title", kind, *_KINDS[kind]), ("title", kind))
    title = str(own["title"])
    try:
        if kind == "each_organ":
            return organ_table(name, title, own[kind], found, organs)
        if kind == "each_distance":
            return distance_table(name, title, own[kind], found, distance)
        if kind == "rounds_of":
            numbers = {label: text_of(text, f"{where}, {label}") for label, text in own.get("chapter", {}).items()}
            rows = diagnostic_rows(named(own[kind], found.weights, where), numbers)
            if unknown := [label for label in numbers if label not in [row.label for row in rows]]:
                raise DeclarationError(f"{TABLES.name}, {where}: there is no row {unknown[0]!r} of rounds.")
            return Table(name, title, rows)
        return _table_of_rows(name, title, own, found, distance)
    except DeclarationError:
        raise
    except ValueError as error:  # of the plan, such as a row that is not there
        raise DeclarationError(f"{TABLES.name}: {error}") from error


def _table_of_rows(name: str, title: str, own: Mapping[str, Any], found: Declared, distance: float | None) -> Table:
    where = f"table {name}"
    rows = tuple(_row(row, f"{where}, row {number}", found, distance) for number, row in enumerate(own["rows"], 1))
    pairs = [_pair(pair, where) for pair in own.get("compared", [])]
    if default := own.get("compared_with"):
        pairs += [RowPair(row.label, default) for row in rows if row.label != default]
    ran = {method: rounds_of(named(of, found.weights, where)) for method, of in own.get("convergence", {}).items()}
    changes = {
        method: {int(t): text_of(text, f"{where}, changes, {method}") for t, text in printed.items()}
        for method, printed in own.get("changes", {}).items()
    }
    return Table(name, title, rows, tuple(pairs), ran, changes)


def _pair(content: Any, where: str) -> RowPair:
    if not (isinstance(content, list) and len(content) in (2, 3)):
        raise DeclarationError(f"{TABLES.name}, {where}: compared are two rows [, the chapter's], got {content!r}.")
    return RowPair(*(text_of(text, f"{where}, compared") for text in content))


def _row(content: Any, where: str, found: Declared, distance: float | None) -> Row:
    known = ("label", "chapter", *(("kept_label", *_OF_EVALUATIONS) if "of" in content else ()))
    own = checked(content, where, known, ("label",))
    label = text_of(own["label"], where)
    where = f"{where} ({label})"
    chapter = text_of(own.get("chapter", ""), where)
    if "of" not in own:
        return Row(label, chapter=chapter)
    kept = text_of(own.get("kept_label", ""), where)
    return Row(label, _evaluation(own, where, found, distance), _pick(own, where), chapter, kept)


def _evaluation(own: Mapping[str, Any], where: str, found: Declared, distance: float | None) -> Evaluation:
    if "run" not in own and "name" not in own:
        raise DeclarationError(f"{TABLES.name}, {where}: run is missing.")
    run = own.get("run", "")
    weights = _weights(own["of"], where, found, distance, run)
    if "overlays" in own and run != "four_stages":
        raise DeclarationError(f"{TABLES.name}, {where}: overlays are of four_stages; weights have their own.")
    if run == "four_stages":
        organ = own["of"] if isinstance(own["of"], Mapping) and "near" in own["of"] else {}
        if not organ:
            raise DeclarationError(f"{TABLES.name}, {where}: four_stages is of weights near the organ.")
        by = training_of(organ["found_by"], found.weights, where) if "found_by" in organ else None
        crop, overlays = bool(organ.get("crop")), own.get("overlays", ())
        evaluation = four_stages(weights, found.training(organ["method"]), crop, by, overlays)
    elif run in _RUNS:
        evaluation = _RUNS[run](weights)
    else:
        evaluation = Evaluation(f"{weights.name}_{run}", weights)
    options = {**evaluation.options, **own.get("options", {})}
    return replace(evaluation, name=own.get("name", evaluation.name), options=options)


def _weights(content: Any, where: str, found: Declared, distance: float | None, run: str = "") -> Weights:
    """Weights by their name, or of a method for the cyst."""
    if not isinstance(content, Mapping):
        return named(content, found.weights, where)
    own = checked(content, where, ("method", "of", "near", "crop", "found_by"), ("method",))
    if "found_by" in own and run != "four_stages":
        raise DeclarationError(f"{TABLES.name}, {where}: found_by is of four_stages; other runs find no organ.")
    base = training_of(own["method"], found.weights, where)
    if own.get("of") == "cyst" and "near" not in own:
        return organ_training(base, "cyst", CYST)
    if own.get("near") == "organ" and "of" not in own:
        return near_organ_training(base, distance, bool(own.get("crop")))
    raise DeclarationError(f"{TABLES.name}, {where}: a method is taken with of: cyst or near: organ, got {content}.")


def _pick(own: Mapping[str, Any], where: str) -> Pick:
    if "stop" in own and "round" in own:
        raise DeclarationError(f"{TABLES.name}, {where}: stop and round exclude each other.")
    if "stop" in own:
        return stopped_at(own["stop"])
    return after_rounds(own["round"]) if "round" in own else last_round

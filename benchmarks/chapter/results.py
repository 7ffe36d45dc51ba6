# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Results of an experiment: those of parts in their folders, or a record of them in a few files.

A record is a folder with ``rows.csv``, the rows of all evaluations' tables of cases as they were written, by
evaluation, fold and seed; ``saliency.csv``, likewise of RSTN's; ``parts.json``, how each part was made; and
``figures/<evaluation>/``. Tables and claims are made of either.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from c2f_monai.metrics.tables import CaseRow, read_cases
from c2f_monai.utils import atomic_write

from .methods import RSTN
from .parts import ExperimentPart, ExperimentSettings, cases_file, evaluation_part
from .plan import Evaluation, rounds_of
from .run import is_done

__all__ = ["figures_of", "has_result", "read_evaluation", "read_made", "read_saliency", "write_record"]

_KEY = ["evaluation", "fold", "seed"]
_NEEDED = ("dsc_round_0", "label_voxels")
_ROWS, _SALIENCY, _PARTS, _FIGURES = "rows.csv", "saliency.csv", "parts.json", "figures"
# What many parts have in common, and is written once.
_SHARED = ("source", "versions", "machine")


def has_result(evaluation: Evaluation, settings: ExperimentSettings, fold: int | None, seed: int) -> bool:
    """Whether the evaluation is done with these settings, or recorded.

    Raises:
        ValueError: When its folder is that of other settings.
    """
    if settings.rows is None:
        return is_done(evaluation_part(evaluation, settings, fold, seed))
    return _key(evaluation, fold, seed) in _recorded(settings.rows)


def read_evaluation(
    evaluation: Evaluation, settings: ExperimentSettings, fold: int | None, seed: int
) -> dict[str, CaseRow]:
    """Rows of the evaluation's table of cases, by case.

    Raises:
        ValueError: When the table is missing.
    """
    if settings.rows is None:
        return read_cases(cases_file(evaluation, settings, fold, seed), _NEEDED)
    key = _key(evaluation, fold, seed)
    if key not in (recorded := _recorded(settings.rows)):
        of_fold = "" if fold is None else f" of fold {fold}"
        raise ValueError(f"{settings.rows} has no {evaluation.name}{of_fold} with seed {seed}: give other --seeds.")
    return {row["case"]: CaseRow(row["case"], row["group"], row) for row in recorded[key].to_dict("records")}


def read_saliency(evaluation: Evaluation, settings: ExperimentSettings, seed: int) -> pd.DataFrame:
    """Rows of ``saliency.csv`` of the first fold: case, view, channel, target, around; none where there is no file."""
    fold = settings.folds[0]
    table = cases_file(evaluation, settings, fold, seed) if settings.rows is None else settings.rows
    if not (path := table.with_name(_SALIENCY)).is_file():  # a record has none without networks of RSTN
        return pd.DataFrame(columns=["view", "channel", "target", "around"])
    if settings.rows is None:
        return pd.read_csv(path)
    found = pd.read_csv(path, dtype={"fold": str, "seed": str}, keep_default_na=False)
    return found[(found[_KEY] == list(_key(evaluation, fold, seed))).all(axis=1)]


def read_made(parts: Iterable[ExperimentPart], settings: ExperimentSettings) -> list[dict[str, Any]]:
    """How each of some parts was made."""
    if settings.rows is None:
        return [json.loads(part.result.read_text(encoding="utf-8")) for part in parts]
    record = json.loads(settings.rows.with_name(_PARTS).read_text(encoding="utf-8"))
    made = {one["part"]: one | record["made with"][one["made with"]] for one in record["parts"]}
    return [made[part.name] for part in parts]


def figures_of(evaluation: Evaluation, settings: ExperimentSettings) -> list[Path]:
    """Of the first fold and seed: through the rounds (Fig. 3.8) and of the saliency maps (Fig. 3.9), where they are."""
    if settings.rows is None:
        folder = cases_file(evaluation, settings, settings.folds[0], settings.seeds[0]).parent
    else:
        folder = settings.rows.parent / _FIGURES / evaluation.name
    return sorted([*folder.glob("*_rounds.png"), *folder.glob("*_saliency.png")])


def write_record(evaluations: Sequence[Evaluation], settings: ExperimentSettings, folder: Path) -> Path:
    """Record the parts of an experiment that are done.

    Args:
        evaluations: whose rows are recorded, for all folds and seeds of the settings that have them.
        settings: of the experiment.
        folder: where the record is written.

    Returns:
        ``rows.csv``.

    Raises:
        ValueError: When a part was made with other settings, or none is done.
    """
    runs = [(e, fold, seed) for e in evaluations for fold in settings.folds for seed in settings.seeds]
    found = [
        (_key(*run), cases_file(run[0], settings, *run[1:])) for run in runs if has_result(run[0], settings, *run[1:])
    ]
    if not found:
        raise ValueError(f"{settings.output} has no evaluation that is done.")
    _write_frame(folder / _ROWS, found)
    beside = [(key, path.with_name(_SALIENCY)) for key, path in found if key[0] == rounds_of(RSTN).name]
    if saliency := [(key, path) for key, path in beside if path.is_file()]:
        _write_frame(folder / _SALIENCY, saliency)
    for evaluation in evaluations:
        for path in figures_of(evaluation, settings):
            with atomic_write(folder / _FIGURES / evaluation.name / path.name) as part:
                shutil.copyfile(path, part)
    results = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(settings.output.glob("*/*/*/result.json"))]
    with atomic_write(folder / _PARTS) as part:
        part.write_text(json.dumps(_shared_once(results), indent=1) + "\n", encoding="utf-8")
    return folder / _ROWS


def _key(evaluation: Evaluation, fold: int | None, seed: int) -> tuple[str, str, str]:
    return evaluation.name, "" if fold is None else str(fold), str(seed)


@lru_cache(maxsize=1)
def _recorded(path: Path) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Rows by evaluation, fold and seed, as text."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {(str(e), str(f), str(s)): rows for (e, f, s), rows in frame.groupby(_KEY, sort=False)}


def _write_frame(path: Path, found: Iterable[tuple[tuple[str, str, str], Path]]) -> None:
    """The tables of some runs in one, with columns for their keys."""
    frames = [
        pd.read_csv(source, dtype=str, keep_default_na=False).assign(**dict(zip(_KEY, key, strict=True)))
        for key, source in found
    ]
    most = max((frame.columns for frame in frames), key=len)  # their order is that of the rounds
    joined = pd.concat(frames)
    joined = joined[list(dict.fromkeys([*_KEY, *most, *joined.columns]))]
    with atomic_write(path) as part:
        joined.to_csv(part, index=False, lineterminator="\n")


def _shared_once(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Results of parts, with sources, versions and machines in a list of their own that they refer to by position."""
    made_with: list[dict[str, Any]] = []
    parts = []
    for result in results:
        shared = {key: result[key] for key in _SHARED}
        if shared not in made_with:
            made_with.append(shared)
        own = {key: value for key, value in result.items() if key not in _SHARED}
        parts.append(own | {"made with": made_with.index(shared)})
    return {"made with": made_with, "parts": parts}

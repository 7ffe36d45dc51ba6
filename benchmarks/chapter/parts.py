# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts that tables need: commands with a folder, a product, and a result that says how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from c2f_monai.apps.evaluation import bundle_command
from c2f_monai.apps.training_config import read_training_config
from c2f_monai.config import IDS
from c2f_monai.config.tree import ConfigTree

from .part import ROOT, ExperimentPart
from .plan import Evaluation, Kept, Merged, Table, Training, Weights

__all__ = ["ROOT", "ExperimentPart", "ExperimentSettings", "cases_file", "evaluation_part", "parts_of"]

_TRAIN, _INFERENCE = "bundle/configs/train.json", "bundle/configs/inference.json"
# The chapter's form: three views of three slices.
_THREE_VIEWS = "bundle/configs/three_views.json"
# A coarser grid and a few iterations; an overlay, so that the methods' own overlays come after it.
_SMALL = "configs/run/small.json"
_PUBLISHED = "configs/baseline/published.json"
_FROM_COARSE = "configs/run/from_coarse.json"
_TIME_LIMIT = "configs/run/time_limit.json"
#: What differs from fold to fold and seed to seed alone.
_OF_A_RUN = ("bundle_root", "dataset_dir", "fold", "init_weights", "output_dir", "seed")
# Seconds on 2 cores with the embedded data set, before any part has shown the time it takes.
_START, _ITERATION, _ROUND, _SMALLER = 25.0, 0.4, 1.0, 4.0


@dataclass(frozen=True)
class ExperimentSettings:
    """What an experiment runs with.

    Attributes:
        dataset: folder of the data, see :func:`benchmarks.chapter.data.derive_dataset`.
        output: folder of parts and tables.
        folds: folds that are tested; None alone for the data set's own splits.
        seeds: training seeds.
        overlays: files after those of the base, before those of the methods; of runs of the inference configuration,
            what it knows of their ids.
        published: with the constants of the publication.
        options: ids that are set in every run, in place of the methods' own.
        own_options: by the name of weights, ids that are set in its training and evaluations alone, after all others.
        small: the small version.
        cases: number of cases that are tested, for the estimate of the time.
        rows: recorded results that are read in place of those of parts, see :mod:`benchmarks.chapter.results`.
        base: files after ``train.json`` and ``inference.json``, before all others.
        init_weights: what trainings with the constants of the publication start from; None for random weights.
    """

    dataset: Path
    output: Path
    folds: Sequence[int | None] = (None,)
    seeds: Sequence[int] = (0,)
    overlays: Sequence[str] = ()
    published: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    own_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    small: bool = False
    cases: int = 40
    rows: Path | None = None
    base: Sequence[str] = (_THREE_VIEWS,)
    init_weights: Path | None = None


def parts_of(tables: Iterable[Table], settings: ExperimentSettings) -> list[ExperimentPart]:
    """All parts of some tables, each once, in an order in which they can run.

    Raises:
        ValueError: for a configuration that is not there, or two parts of one name that differ.
    """
    listed = list(tables)
    parts: dict[str, ExperimentPart] = {}
    for fold in settings.folds:
        for seed in settings.seeds:
            for table in listed:
                found = [_training_part(training, settings, fold, seed) for training in _trainings(table, settings)]
                found += [_merge_part(merged, settings, fold, seed) for merged in table.merges]
                found += [evaluation_part(evaluation, settings, fold, seed) for evaluation in table.evaluations]
                for part in found:
                    if parts.setdefault(part.name, part) != part:
                        raise ValueError(f"two different parts are called {part.name}: give the organ another name.")
    return list(parts.values())


def cases_file(evaluation: Evaluation, settings: ExperimentSettings, fold: int | None, seed: int) -> Path:
    """The table of cases of an evaluation."""
    return _folder("evaluation", evaluation.run or evaluation.name, settings, fold, seed)[1] / evaluation.cases


def _trainings(table: Table, settings: ExperimentSettings) -> list[Training]:
    """The trainings that are run: with the published constants, none goes on from another one."""
    starts = {training.start.name for training in table.trainings if training.start} if settings.published else set()
    return [training for training in table.trainings if training.name not in starts]


def _training_part(training: Training, settings: ExperimentSettings, fold: int | None, seed: int) -> ExperimentPart:
    name, folder = _folder("training", training.name, settings, fold, seed)
    start = None if settings.published else training.start
    files = [
        _TRAIN,
        *settings.base,
        *([_FROM_COARSE] if start else []),
        *_method_files(training, settings),
        _TIME_LIMIT,
    ]
    options = _options(training, settings, fold) | {"seed": seed, "output_dir": _portable(folder)}
    if start:
        options["init_weights"] = _weights_file(start, settings, fold, seed)
    elif settings.init_weights and not training.own_recipe:
        options["init_weights"] = _portable(settings.init_weights)
    epochs, iterations = _length(files, options)
    seconds = _START + training.effort * iterations * _ITERATION / (_SMALLER if settings.small else 1)
    product = folder / f"checkpoint_{epochs}.pt"
    needs = _sources([start], settings, fold, seed) if start else ()
    return ExperimentPart(name, folder, _run_command(files, options), product, seconds, resumes=True, needs=needs)


def _merge_part(merged: Merged, settings: ExperimentSettings, fold: int | None, seed: int) -> ExperimentPart:
    name, folder = _folder("merge", merged.name, settings, fold, seed)
    joint, coarse = (_weights_file(weights, settings, fold, seed) for weights in (merged.joint, merged.coarse))
    product = folder / "model.pt"
    words = ("merge", joint, "--coarse", coarse, "--output", _portable(product))
    needs = _sources((merged.joint, merged.coarse), settings, fold, seed)
    return ExperimentPart(name, folder, ("-m", "c2f_monai", *words), product, 5.0, needs=needs)


def evaluation_part(
    evaluation: Evaluation, settings: ExperimentSettings, fold: int | None, seed: int
) -> ExperimentPart:
    """The part that evaluates some weights.

    Raises:
        ValueError: for a configuration that is not there.
    """
    name, folder = _folder("evaluation", evaluation.run or evaluation.name, settings, fold, seed)
    options = (
        _options(evaluation.weights, settings, fold) | dict(evaluation.options) | {"output_dir": _portable(folder)}
    )
    options["ckpt_path"] = _weights_file(evaluation.weights, settings, fold, seed)
    for key, found in evaluation.further.items():
        if isinstance(found, Weights):
            options[key] = _weights_file(found, settings, fold, seed)
        else:
            options[key] = {name: _weights_file(weights, settings, fold, seed) for name, weights in found.items()}
    if evaluation.base == "evaluate":
        first = [_TRAIN, *settings.base, *_method_files(evaluation.weights, settings)]
        files = [*first, "bundle/configs/evaluate.json", *evaluation.overlays]
    else:
        last = _last_files(evaluation.weights, settings)
        later = [*_constants(evaluation.weights, settings), *evaluation.overlays, *last]
        options = _known_ids(settings.overlays, [*evaluation.overlays, *last]) | options
        files = [_INFERENCE, *settings.base, *later]
        options |= {"overwrite": True, "strict": True}  # a part that is run again is a new one
    passes = int(options.get("max_rounds", 10)) + 1
    seconds = _START + settings.cases * passes * _ROUND / (_SMALLER if settings.small else 1)
    command, product = _run_command(files, options), folder / (evaluation.product or evaluation.cases)
    needs = _sources(evaluation.needs, settings, fold, seed)
    return ExperimentPart(name, folder, command, product, seconds, needs=needs)


def _folder(kind: str, name: str, settings: ExperimentSettings, fold: int | None, seed: int) -> tuple[str, Path]:
    run = f"seed{seed}" if fold is None else f"fold{fold}_seed{seed}"
    return f"{kind}/{name}/{run}", settings.output / kind / name / run


def _sources(needed: Iterable[Weights], settings: ExperimentSettings, fold: int | None, seed: int) -> tuple[str, ...]:
    """Names of the parts that make some weights."""
    made = [weights.training if isinstance(weights, Kept) else weights for weights in needed]
    return tuple(_folder(_kind(weights), weights.name, settings, fold, seed)[0] for weights in made)


def _kind(weights: Weights) -> str:
    return "merge" if isinstance(weights, Merged) else "training"


def _weights_file(weights: Weights, settings: ExperimentSettings, fold: int | None, seed: int) -> str:
    made, file = (weights.training, weights.file) if isinstance(weights, Kept) else (weights, "model.pt")
    return _portable(_folder(_kind(made), made.name, settings, fold, seed)[1] / file)


def _portable(path: Path) -> str:
    """A path as commands name it: from the project's folder, so that results of one checkout go on in another."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _constants(weights: Weights, settings: ExperimentSettings) -> list[str]:
    """Overlays that come before those of a method, also of the inference configuration."""
    published = settings.published and not weights.own_recipe
    return [*([_PUBLISHED] if published else []), *([_SMALL] if settings.small else [])]


def _method_files(weights: Weights, settings: ExperimentSettings) -> list[str]:
    """Overlays of training and evaluation of a method."""
    return [*_constants(weights, settings), *settings.overlays, *weights.overlays, *_last_files(weights, settings)]


def _last_files(weights: Weights, settings: ExperimentSettings) -> list[str]:
    """Overlays after those of a method: its published constants, which are of full resolution and whole trainings."""
    if not (settings.published and weights.published):
        return []
    return [*weights.published, *([_SMALL] if settings.small else [])]


def _known_ids(overlays: Sequence[str], later: Sequence[str]) -> dict[str, Any]:
    """Ids of overlays that the inference configuration has a place for and that no later overlay sets.

    What an overlay says about training would have no place there, and ids on the command line come last.
    """
    known, found, own = ({k: v for file in files for k, v in _ids(file)} for files in ([_INFERENCE], overlays, later))
    return {key: value for key, value in found.items() if key.split("#")[0] in known and key not in own}


def _with_place(options: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """Options without those that the files do not refer to, such as of training in inference, which are refused there.

    Typing errors stay: they are to be refused.
    """
    used = _ids_in_use(tuple(files))
    left_out = {key for key in options if not used.get(top := key.split("#")[0], "#" not in key and top not in IDS)}
    return {key: value for key, value in options.items() if key not in left_out}


@cache
def _ids_in_use(files: tuple[str, ...]) -> dict[str, bool]:
    """Ids of some files, and whether these refer to them."""
    tree = ConfigTree(ConfigParser.load_config_files([str(ROOT / file) for file in files]))
    return {name: tree.is_used(name) for name in tree.content}


def _ids(file: str) -> Iterable[tuple[str, Any]]:
    return ConfigParser.load_config_file(ROOT / file).items()


def _options(weights: Weights, settings: ExperimentSettings, fold: int | None) -> dict[str, Any]:
    """Ids of all runs of some weights, later ones in place of earlier ones."""
    options: dict[str, Any] = {"bundle_root": "bundle", "dataset_dir": _portable(settings.dataset), "fold": fold}
    options |= dict(weights.options)
    if settings.small and isinstance(weights, Training):
        options |= dict(weights.small)
    return options | dict(settings.options) | dict(settings.own_options.get(weights.name, {}))


def _run_command(files: Sequence[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    for file in files:
        if not (ROOT / file).is_file():
            raise ValueError(f"there is no configuration {ROOT / file}: experiments need the project's source tree.")
    return bundle_command(files, _with_place(options, files))


def _length(files: Sequence[str], options: Mapping[str, Any]) -> tuple[int, int]:
    """Epochs and iterations of a training, whichever fold and seed it is of."""
    own = {key: value for key, value in options.items() if key not in _OF_A_RUN}
    return _known_length(tuple(files), json.dumps(own), "init_weights" in options)


@cache
def _known_length(files: tuple[str, ...], options: str, has_start: bool) -> tuple[int, int]:
    given = ["init_weights=start.pt"] if has_start else []
    parser = read_training_config([str(ROOT / file) for file in files], str(ROOT / "bundle"), options=given)
    for key, value in json.loads(options).items():
        parser[key] = value
    epochs, items, batch = (parser.get_parsed_content(name) for name in ("epochs", "items_per_epoch", "batch_size"))
    # One pass over the slices with target, where the number of items is not given, is not known without the data.
    return int(epochs), int(epochs) * -(-int(items or 1000) // int(batch))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of training: kinds of their values, and the epochs that each of them has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..utils import TrainingStage
from .kinds import Kind, choice, flag, integer, list_of, number

__all__ = ["STAGE_KEYS", "change_stages", "left_out", "stage_changes", "stage_ends", "stages"]

#: What an entry of ``stages`` may hold.
STAGE_KEYS = ("stage", "length", "lr_factor", "lr_end_factor", "rounds", "copy_to_fine", "keep_as")
# Not the name of the chosen weights, nor of a checkpoint.
_KEPT_NAME = re.compile(r"model_\w+\.pt")


def stages() -> Kind:
    """The schedule of training."""
    words = f"a list of stages, each with stage ({_stage_names()}), length above 0 and, of choice, {_stage_options()}"
    return list_of(Kind("", lambda value: _is_stage(value) and "stage" in value and "length" in value), words=words)


def stage_changes() -> Kind:
    """What is set in the stages of one kind."""
    words = f"a mapping of what is set in these stages: stage ({_stage_names()}), length, {_stage_options()}"
    return Kind(words, _is_stage)


def _is_stage(value: Any) -> bool:
    if not isinstance(value, Mapping) or not set(value) <= set(STAGE_KEYS):
        return False
    kinds = {
        "stage": choice(TrainingStage),
        "length": number(above=0),
        "rounds": integer(1),
        "copy_to_fine": flag(),
        "keep_as": Kind("a name such as model_individual.pt", lambda name: bool(_KEPT_NAME.fullmatch(str(name)))),
        "lr_factor": number(0),
        "lr_end_factor": number(0),
    }
    return all(kinds[key].accepts(entry) for key, entry in value.items())


def _stage_names() -> str:
    return ", ".join(TrainingStage)


def _stage_options() -> str:
    return ", ".join(STAGE_KEYS[2:])


def change_stages(
    stages: Sequence[Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """The stages of a schedule, those of some kinds changed or left out.

    Args:
        stages: entries of the schedule.
        changes: by the kind of stage, keys that are set in its entries; None leaves them out.

    Example:
        >>> change_stages([{"stage": "coarse"}, {"stage": "joint"}], {"coarse": None, "joint": {"stage": "individual"}})
        [{'stage': 'individual'}]
    """
    changed = []
    for stage in stages:
        change = changes.get(stage.get("stage", ""), {})
        if change is not None:
            changed.append({**stage, **change})
    return changed


def stage_ends(lengths: Sequence[float], epochs: int) -> list[int]:
    """Last epoch of each stage: the lengths share out the epochs, whatever their unit.

    Args:
        lengths: relative lengths, such as epochs or iterations.
        epochs: total number of epochs.

    Examples:
        >>> stage_ends([10000, 30000, 40000], epochs=8)
        [1, 4, 8]
    """
    total, passed, ends = float(sum(lengths)), 0.0, []
    for length in lengths:
        passed += length
        ends.append(round(passed / total * epochs))
    return ends


def left_out(stages: Sequence[Mapping[str, Any]], epochs: int) -> str:
    """What no epoch is left for when the lengths of the stages share out too few; empty where each has one.

    Args:
        stages: entries of the schedule, the changes of some kinds made.
        epochs: total number of epochs.

    Examples:
        >>> left_out([{"stage": "coarse", "length": 3}, {"stage": "joint", "length": 1}], epochs=2)
        'epochs 2 leaves no epoch for stage 2 (joint): it is left out; from 4 on each stage has one'
    """
    lengths = [float(stage["length"]) for stage in stages]
    numbers = _without_epochs(lengths, epochs)
    if not numbers:
        return ""
    enough = math.ceil(sum(lengths) / min(lengths))
    enough += bool(_without_epochs(lengths, enough))  # halves are rounded to even numbers
    names = ", ".join(f"{number + 1} ({stages[number]['stage']})" for number in numbers)
    words = ("stage", "it is") if len(numbers) == 1 else ("stages", "they are")
    said = f"epochs {epochs} leaves no epoch for {words[0]} {names}: {words[1]} left out"
    trained = [stage for number, stage in enumerate(stages) if number not in numbers]
    if all(stage["stage"] == TrainingStage.FINE for stage in trained):
        said += ", and the coarse networks are not trained"
    if missed := sorted(_kept([stages[number] for number in numbers]) - _kept(trained)):
        said += f", and {', '.join(missed)} not written"
    return f"{said}; from {enough} on each stage has one"


def _kept(stages: Sequence[Mapping[str, Any]]) -> set[str]:
    return {stage["keep_as"] for stage in stages if stage.get("keep_as")}


def _without_epochs(lengths: Sequence[float], epochs: int) -> list[int]:
    """Numbers of the stages, from 0, that have no epoch."""
    ends = stage_ends(lengths, epochs)
    return [number for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)) if start == end]

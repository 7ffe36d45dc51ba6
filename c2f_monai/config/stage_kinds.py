# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of values for the stages of training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..utils import TrainingStage
from .kinds import Kind, choice, flag, integer, list_of, number

__all__ = ["STAGE_KEYS", "stage_changes", "stages"]

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

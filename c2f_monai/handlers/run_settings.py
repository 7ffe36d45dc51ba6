# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of training is continued with."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

__all__ = ["SavedSettings", "compare_settings", "plain_settings", "with_own_rates"]

logger = logging.getLogger(__name__)


class SavedSettings:
    """Settings as an object with a state, as Ignite's ``Checkpoint`` takes them: text, which is read without code."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = settings

    def state_dict(self) -> dict[str, str]:
        """JSON of each kind."""
        return {kind: json.dumps(values) for kind, values in self.settings.items()}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Nothing: they are the configuration's."""


def plain_settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings as a file gives them back: lists for tuples, text for what is neither."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings or {}), default=str))
    return plain


def compare_settings(path: Path, saved: Mapping[str, str] | None, own: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to continue with other settings, and say which changeable ones are others.

    Args:
        path: the checkpoint, for messages.
        saved: what :class:`SavedSettings` gave it; None where it has none.
        own: "fixed" and "changeable" settings of this run.

    Raises:
        ValueError: naming the settings, and both values.
    """
    if saved is None:
        logger.warning(f"resume: {path} does not tell its run's settings: they are not compared")
        return
    differ = {
        kind: [text for key in values if key in own[kind] for text in _differences(key, values[key], own[kind][key])]
        for kind, values in ((kind, json.loads(saved[kind])) for kind in ("fixed", "changeable"))
    }
    if differ["fixed"]:
        raise ValueError(
            f"resume: {path} is of a run with {'; '.join(differ['fixed'])}: continue with the same values, or "
            "choose another folder for the output and start from its weights (init_weights)."
        )
    if differ["changeable"]:
        logger.warning(f"resume: the run was begun with {'; '.join(differ['changeable'])}")


def with_own_rates(path: Path, saved: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """State of an optimizer with what this run's configuration says: momenta, decays and rates.

    ``load_state_dict`` would put those of the checkpoint in their place. They are changed before it is called, since it
    moves tensors to where they are needed by some of them, such as ``fused``.

    Args:
        path: the checkpoint, for messages.
        saved: its optimizer's ``state_dict``.
        optimizer: of this run, of the same class.

    Raises:
        ValueError: when it has another number of groups.
    """
    before, now = saved["param_groups"], optimizer.param_groups
    if len(before) != len(now):
        raise ValueError(
            f"resume: {path} has {len(before)} groups of parameters for its optimizer, now {len(now)}: continue with "
            "the same network and names in lr_factors."
        )
    own = [{key: value for key, value in group.items() if key != "params"} for group in now]
    return {**saved, "param_groups": [{**old, **new} for old, new in zip(before, own, strict=True)]}


def _differences(place: str, before: Any, now: Any) -> Iterator[str]:
    """What is not the same, each innermost entry of two mappings by its own id."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(f"{place}#{key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{place} {json.dumps(before)}, now {json.dumps(now)}"

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The weights and checkpoints in the folder of a training run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .weight_files import read_weights_file

__all__ = ["BEGUN", "CHECKPOINT_PREFIX", "begun_with", "check_run_folder", "epoch_of", "saved_checkpoints"]

#: Checkpoints are ``checkpoint_EPOCH.pt``.
CHECKPOINT_PREFIX = "checkpoint"
#: Stands in the folder of a run until its first checkpoint does: what was killed before has nothing to go on from.
BEGUN = ".begun"
#: What a run writes its chosen weights to, and what inference must know of them.
_WEIGHTS = ("model.pt", "model.json")


def epoch_of(path: Path) -> int | None:
    """The epoch in the name of a checkpoint, None where there is none."""
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdecimal() else None


def saved_checkpoints(directory: str | os.PathLike[str]) -> list[Path]:
    """Checkpoints of a folder, the latest first; none of a folder that is not there."""
    found = [path for path in Path(directory).glob(f"{CHECKPOINT_PREFIX}_*.pt") if epoch_of(path) is not None]
    return sorted(found, key=lambda path: epoch_of(path) or 0, reverse=True)


def begun_with(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Changeable settings of a run, as its latest whole checkpoint has them; empty where none tells."""
    for path in saved_checkpoints(directory):
        try:
            checkpoint = read_weights_file(path)
        except ValueError:
            continue  # the one before is taken
        found: dict[str, Any] = json.loads(checkpoint.get("settings", {}).get("changeable", "{}"))
        return found
    return {}


def check_run_folder(directory: str | os.PathLike[str], resume: bool) -> None:
    """Refuse a folder without checkpoints to continue, or with those or the weights of another run.

    A run that was killed before its first checkpoint may be begun again.

    Args:
        directory: of the run.
        resume: whether the run goes on from a checkpoint.

    Raises:
        FileNotFoundError: when there is no checkpoint to continue from.
        FileExistsError: when there is one, or there are weights, and the run is new.
    """
    found = saved_checkpoints(directory)
    if resume and not found:
        raise FileNotFoundError(f"resume: no checkpoint in {directory}: leave --resume out to begin a run there")
    if not resume and found:
        raise FileExistsError(
            f"{directory} holds checkpoints of an earlier run ({found[0].name}): "
            "continue it with --resume, or choose another folder for the output."
        )
    weights = [name for name in _WEIGHTS if (Path(directory) / name).exists()]
    if weights and not resume and not (Path(directory) / BEGUN).exists():
        raise FileExistsError(
            f"{directory} holds {weights[0]}, in whose place this run would write its own: "
            "move it, or choose another folder for the output."
        )

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints in the folder of a training run."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CHECKPOINT_PREFIX", "check_run_folder", "epoch_of", "saved_checkpoints"]

#: Checkpoints are ``checkpoint_EPOCH.pt``.
CHECKPOINT_PREFIX = "checkpoint"


def epoch_of(path: Path) -> int | None:
    """The epoch in the name of a checkpoint, None where there is none."""
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdecimal() else None


def saved_checkpoints(directory: str | os.PathLike[str]) -> list[Path]:
    """Checkpoints of a folder, the latest first; none of a folder that is not there."""
    found = [path for path in Path(directory).glob(f"{CHECKPOINT_PREFIX}_*.pt") if epoch_of(path) is not None]
    return sorted(found, key=lambda path: epoch_of(path) or 0, reverse=True)


def check_run_folder(directory: str | os.PathLike[str], resume: bool) -> None:
    """Refuse a folder without checkpoints to continue, or with those of another run.

    Args:
        directory: of the run.
        resume: whether the run goes on from a checkpoint.

    Raises:
        FileNotFoundError: when there is no checkpoint to continue from.
        FileExistsError: when there is one and the run is new.
    """
    found = saved_checkpoints(directory)
    if resume and not found:
        raise FileNotFoundError(f"resume: no checkpoint in {directory}: leave --resume out to begin a run there")
    if not resume and found:
        raise FileExistsError(
            f"{directory} holds checkpoints of an earlier run ({found[0].name}): "
            "continue it with --resume, or choose another folder for the output."
        )

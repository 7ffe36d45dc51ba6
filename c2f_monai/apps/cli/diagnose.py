# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f diagnose``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_option, runs

__all__ = ["add_parser"]

DESCRIPTION = """Where given weights lose, on a labeled data set: each view's coarse stage alone, ten rounds with
stopping off, and the box of the true target in every round, and what any number of rounds and any threshold would
give. An evaluation whose table is there is not run again."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    summary = "say where weights lose: views, rounds, stopping, the true box"
    examples = ["c2f diagnose --weights model.pt --dataset-dir my_dataset --option split=validation"]
    parser = add_command(commands, "diagnose", summary, DESCRIPTION, examples)
    parser.add_argument("--weights", required=True, type=Path, help="model.pt of a training")
    parser.add_argument("--dataset-dir", type=Path, help="folder with a dataset.json (default: the phantom)")
    parser.add_argument("--output", type=Path, default=Path("runs/diagnosis"), help="default: runs/diagnosis")
    parser.add_argument("--bundle-root", type=Path, help="the bundle (default: the one of this package)")
    parser.add_argument(
        "--overlay", nargs="*", action="extend", default=[], help="configs after train.json, as in the training"
    )
    add_option(parser, "override of every evaluation, such as split=validation")
    parser.set_defaults(run=runs("diagnose"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f audit``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = """A bundle's configurations are programs: MONAI evaluates every expression ("$...") and calls every
_target_ in them. Lists what a bundle of somebody else would run, and runs none of it: expressions, targets that are no
classes of MONAI, PyTorch, ignite or this package that only compute, files that macros read, programs, settings of
logging that are evaluated, weights that hold more than tensors. What this package's own configurations hold, too, is
marked.

The exit status is 1 where something is left that they do not hold. The list is for reading, it proves nothing."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    summary = "list what a bundle that you did not write would run"
    parser = add_command(commands, "audit", summary, DESCRIPTION, ["c2f audit downloaded_bundle"])
    parser.add_argument("bundle", type=Path, help="folder of a bundle, or one configuration")
    parser.add_argument("--new", action="store_true", help="only what this package's own configurations do not hold")
    parser.set_defaults(run=runs("audit"))

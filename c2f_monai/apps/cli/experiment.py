# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f experiment``."""

from __future__ import annotations

import argparse

from .command import Commands, add_command, runs

__all__ = ["NAME", "add_parser"]

#: Of the command, whose words are those of another program.
NAME = "experiment"
DESCRIPTION = """Runs the tables of the chapter: trains and evaluates what a table needs, and writes it with the
chapter's numbers beside. It is python -m benchmarks.chapter of the source tree, which takes the words that follow; an
installed package does not hold it. Results go to runs/experiments of the current folder."""
EXAMPLES = ("c2f experiment list", "c2f experiment run stepwise --small", "c2f experiment run --help")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, NAME, "run the chapter's tables, in a source tree", DESCRIPTION, EXAMPLES)
    words = "words of python -m benchmarks.chapter, see docs/experiments.md"
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="ARGS", help=words)
    parser.set_defaults(run=runs("experiment"))

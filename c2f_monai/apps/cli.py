# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command family ``python -m c2f_monai <command>``; each command lives in a module or package of this room."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

__all__ = ["COMMAND_MODULES", "build_parser", "main", "run_command"]

# Modules with `add_parser(subparsers)`, in the order of the help text.
COMMAND_MODULES = (
    "demo",
    "phantom",
    "prepare",
    "check",
    "import_weights",
    "score",
    "evaluate",
    "diagnose",
    "compare",
    "release_weights",
    "merge",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole family; each command sets `run`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m c2f_monai", description="Tools around the c2f_monai bundle.")
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for name in COMMAND_MODULES:
        importlib.import_module(f"c2f_monai.apps.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the package, see :func:`run_command`."""
    return run_command(build_parser(), argv)


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        parser: of the commands; each sets `run`, a function of the parsed arguments.
        argv: arguments after the program's name; None takes the process's own.

    Returns:
        0, or 1 after a bad input, which is told in one line on stderr.
    """
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0

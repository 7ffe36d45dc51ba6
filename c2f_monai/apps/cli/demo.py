# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f demo``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = (
    """Makes a few test cases of the phantom on first use and segments them with weights that were trained on others."""
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", "segment test cases of the phantom with the bundle", DESCRIPTION)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where results go (default: demo)")
    parser.add_argument("--cases", type=int, default=4, help="number of test cases (default: 4)")
    cache = "where the cases are kept (default: $C2F_MONAI_CACHE, else the platform's folder for caches)"
    parser.add_argument("--cache", type=Path, help=cache)
    parser.add_argument("--bundle-root", type=Path, help="the bundle (default: the one of this package)")
    parser.set_defaults(run=runs("demo"))

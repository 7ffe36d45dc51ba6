# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f compare``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = """Prints a Markdown table: differences are first minus second, wins are cases in which the first file's
value is higher."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    examples = ["c2f compare rstn/cases.csv unet/cases.csv --names RSTN UNet"]
    parser = add_command(commands, "compare", "paired comparison of two per-case CSV files", DESCRIPTION, examples)
    parser.add_argument(
        "first", type=Path, help="per-case CSV of an evaluation or of the score command, or the folder of its cases.csv"
    )
    parser.add_argument("second", type=Path, help="the same of the other method")
    parser.add_argument(
        "--names", nargs=2, metavar="NAME", help="names of the two methods (default: the files' or their folders')"
    )
    parser.add_argument("--column", default="dsc", help="column to compare, such as dsc or hd95 (default: dsc)")
    parser.add_argument("--scale", type=float, help="factor of the printed values (default: 100 for dsc, else 1)")
    parser.set_defaults(run=runs("compare"))

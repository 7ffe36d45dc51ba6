# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f phantom``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser", "parse_size", "parse_splits"]


def add_parser(commands: Commands) -> None:
    """Add ``phantom`` with its action."""
    actions = add_command(commands, "phantom", "make the phantom data set").add_subparsers(
        required=True, metavar="action"
    )
    make = add_command(
        actions,
        "make",
        "write the data set, or some of its cases, to a new folder",
        examples=["c2f phantom make --output phantom", "c2f phantom make --output few --splits test:4"],
    )
    make.add_argument("--output", type=Path, required=True, help="folder to make; must not exist")
    cohorts = "pancreas (default), cysts: a large one in every case, or organs: version 2, seven organs labeled"
    make.add_argument("--cohort", default="pancreas", help=cohorts)
    make.add_argument("--splits", type=parse_splits, help="first cases of each split, such as test:4,validation:2")
    make.add_argument("--size", type=parse_size, help="voxels along R,A,S, e.g. 64,64,40 for coarse test cases")
    make.add_argument("--processes", type=int, default=2, help="worker processes (default: 2)")
    make.set_defaults(run=runs("phantom", "make"))


def parse_splits(text: str) -> dict[str, int]:
    """Parse ``"test:4,validation:2"``.

    Raises:
        argparse.ArgumentTypeError: when a part is not ``name:number``.
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {name.strip(): int(count) for name, count in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"splits must look like test:4,validation:2, got {text!r}") from None


def parse_size(text: str) -> tuple[int, ...]:
    """Parse ``"64,64,40"``.

    Raises:
        argparse.ArgumentTypeError: when it is not three whole numbers.
    """
    try:
        size = tuple(int(part) for part in text.split(","))
    except ValueError:
        size = ()
    if len(size) != 3:
        raise argparse.ArgumentTypeError(f"size must be three whole numbers such as 64,64,40, got {text!r}")
    return size

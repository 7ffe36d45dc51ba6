# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``prepare``: from a public data set, or from folders of one's own, to a ``dataset.json`` with folds."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data.preparers import PREPARERS

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``prepare`` with a command for each data set in :data:`c2f_monai.data.PREPARERS`."""
    parser = subparsers.add_parser("prepare", help=f"make a dataset.json ({', '.join(PREPARERS)})")
    kinds = parser.add_subparsers(required=True, metavar="dataset")
    for name, preparer in PREPARERS.items():
        kind = kinds.add_parser(name, help=preparer.help)
        preparer.add_options(kind)
        kind.add_argument("--output", type=Path, required=True, help="folder to write dataset.json to")
        kind.add_argument("--folds", type=int, default=4, help="folds of the cross-validation (default: 4)")
        kind.add_argument("--fold-seed", type=int, help="shuffle the cases (default: folds in the order of the cases)")
        kind.set_defaults(run=run, preparer=preparer)


def run(args: argparse.Namespace) -> None:
    """Prepare the data set, and print what is done while it is done.

    Raises:
        OSError: When a file does not exist or cannot be written.
        ValueError: When the data set cannot be used.
    """
    for line in args.preparer.prepare(args):
        print(line, flush=True)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f prepare``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]


def add_parser(commands: Commands, with_data_sets: bool = True) -> None:
    """Add ``prepare``.

    Args:
        commands: of the family.
        with_data_sets: with a command for each data set in :data:`c2f_monai.data.PREPARERS`, which imports torch.
    """
    summary = "make a dataset.json with folds, of a public data set or of folders of one's own"
    parser = add_command(commands, "prepare", summary)
    if not with_data_sets:
        return
    from ...data.preparers import PREPARERS
    from ..pseudo import PseudoPreparer

    kinds = parser.add_subparsers(required=True, metavar="dataset")
    for name, preparer in {**PREPARERS, "pseudo": PseudoPreparer()}.items():
        kind = add_command(kinds, name, preparer.help)
        preparer.add_options(kind)
        kind.add_argument("--output", type=Path, required=True, help="folder to write dataset.json to")
        if preparer.has_folds:
            kind.add_argument("--folds", type=int, default=4, help="folds of the cross-validation (default: 4)")
            shuffled = "shuffle the cases (default: folds in the order of the cases)"
            kind.add_argument("--fold-seed", type=int, help=shuffled)
        kind.set_defaults(run=runs("prepare"), preparer=preparer)

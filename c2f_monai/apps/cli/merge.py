# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f merge``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = """Merges weights that were trained apart, views or the coarse networks, into one file for the bundle."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    summary = "merge the weights of views, or of coarse networks, trained apart"
    examples = ["c2f merge axial/model.pt coronal/model.pt sagittal/model.pt --output model.pt"]
    parser = add_command(commands, "merge", summary, DESCRIPTION, examples)
    parser.add_argument("weights", nargs="+", type=Path, help="model.pt of each run, such as one for each view")
    average = "take the mean of weights of the same network instead, such as before and after a further training"
    parser.add_argument("--average", action="store_true", help=average)
    parser.add_argument("--coarse", type=Path, help="model.pt whose coarse networks replace those of the others")
    parser.add_argument("--output", required=True, type=Path, help="file to write, such as bundle/models/model.pt")
    parser.set_defaults(run=runs("merge"))

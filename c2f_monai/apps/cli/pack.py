# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f pack``."""

from __future__ import annotations

from pathlib import Path

from .command import MODEL, Commands, add_command, add_config, runs

__all__ = ["add_parser"]

DESCRIPTION = """Writes a model as a bundle that needs nothing of this project but itself: one configuration of
inference and one of training, the weights as models/model.pt, metadata, documents, license and the package; and a zip
of it. It runs where MONAI and the packages of its metadata are installed. With --label training is that of MONAI Label:
it starts from the weights that are served, and the new ones take their place."""
EXAMPLES = (
    "c2f pack pancreas zoo/pancreas_ct_coarse_to_fine",
    "c2f pack my_run/model.pt label_app/model/pancreas --label",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "pack", "write a model as a bundle for the zoo or MONAI Label", DESCRIPTION, EXAMPLES
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("output", type=Path, metavar="FOLDER", help="where to write; the zip lies beside it")
    add_config(parser)
    parser.add_argument("--label", action="store_true", help="training under MONAI Label")
    parser.add_argument("--url", help="address of the weights, for large_files.yml of the zoo")
    parser.set_defaults(run=runs("pack"))

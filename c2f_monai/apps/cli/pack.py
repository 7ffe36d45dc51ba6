# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f pack``."""

from __future__ import annotations

from pathlib import Path

from ..models import MODELS
from .command import Commands, add_command, runs

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
    names = ", ".join(MODELS)
    model = f"{names}, the folder of a bundle, or a file of weights"
    parser.add_argument("model", metavar="MODEL", help=model)
    parser.add_argument("output", type=Path, metavar="FOLDER", help="where to write; the zip lies beside it")
    config = "overlay after the model's configuration, a file or a name such as network/deeplab.json; may be repeated"
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help=config)
    parser.add_argument("--label", action="store_true", help="training under MONAI Label")
    parser.add_argument("--url", help="address of the weights, for large_files.yml of the zoo")
    parser.set_defaults(run=runs("pack"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f train``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_option, runs

__all__ = ["add_parser"]

DESCRIPTION = """Trains on the data set of a dataset.json: the bundle's train.json. OUTPUT gets model.pt, the best
weights; checkpoints, from which --resume goes on; and the log for TensorBoard."""
EXAMPLES = (
    "c2f train --dataset my_dataset --output runs/mine",
    "c2f train --dataset my_dataset --output runs/three --config three_views.json --option fold=0 --option epochs=50",
    "c2f segment ct.nii.gz mask.nii.gz --model runs/mine/model.pt",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "train", "train on a data set", DESCRIPTION, EXAMPLES)
    parser.add_argument("--dataset", required=True, type=Path, help="folder of a dataset.json")
    parser.add_argument("--output", required=True, type=Path, help="folder of weights, checkpoints and logs")
    config = "overlay after train.json, a file or a name such as three_views.json; may be repeated"
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help=config)
    add_option(parser, "an id of the configuration, such as label_value=10; may be repeated")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    parser.set_defaults(run=runs("train"))

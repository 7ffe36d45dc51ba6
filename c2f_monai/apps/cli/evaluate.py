# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f evaluate``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_model, add_option, runs

__all__ = ["add_parser"]

EXAMPLES = (
    "c2f evaluate --dataset my_dataset --output scores",
    "c2f evaluate --dataset images --labels labels --option label_value=10 --output scores",
    "c2f evaluate --dataset mine --split validation --model my/model.pt --calibrate my/model.quality.json --output out",
    "c2f evaluate --dataset data/nih_slices --fold 0 --model my/model.pt --config data/nih_slices.json --output out",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    summary = "segment labeled cases and score the masks"
    parser = add_command(commands, "evaluate", summary, examples=EXAMPLES)
    parser.add_argument("--dataset", required=True, type=Path, help="folder of a dataset.json, or of images")
    parser.add_argument("--labels", type=Path, help="folder of labels, where --dataset is a folder of images")
    parser.add_argument("--split", default="test", help="list of dataset.json (default: test)")
    parser.add_argument("--fold", type=int, help="fold of dataset.json that the split test is (default: no folds)")
    add_model(parser)
    config = "overlays after the model's configuration, files or names such as data/nih_slices.json; may be repeated"
    parser.add_argument("--config", nargs="*", action="extend", default=[], metavar="FILE", help=config)
    add_option(parser, "an id of the configuration, such as label_value=10")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="folder of masks, cases.csv and summary.json (of several targets cases_<target>.csv)",
    )
    calibrate = (
        "fit the prediction of the DSC on these cases and write it here: beside the weights, as model.quality.json"
    )
    parser.add_argument("--calibrate", type=Path, metavar="JSON", help=calibrate)
    parser.set_defaults(run=runs("evaluate"))

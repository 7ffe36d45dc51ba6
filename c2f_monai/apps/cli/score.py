# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f score``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    examples = ["c2f score --pred masks --suffix _seg --label my_dataset/labelsTs --output scores.csv"]
    description = "Score existing masks against labels, case by case."
    parser = add_command(commands, "score", "score existing masks against labels", description, examples)
    parser.add_argument("--pred", required=True, type=Path, help="folder of predicted masks, searched in depth")
    parser.add_argument("--label", required=True, type=Path, help="folder of labels, or a Decathlon-style dataset.json")
    parser.add_argument("--split", default="test", help="list of dataset.json to score (default: test)")
    parser.add_argument("--fold", type=int, help="fold of dataset.json that the split test is (default: no folds)")
    holdout = "share of the training cases that the split validation is, where dataset.json has none (default: 0.2)"
    parser.add_argument("--holdout", type=float, default=0.2, help=holdout)
    parser.add_argument("--output", required=True, type=Path, help="CSV file to write, one row for each case")
    parser.add_argument("--label-value", type=int, nargs="+", action="extend", help="foreground values (default: 1)")
    parser.add_argument("--suffix", default="", help="end of the masks' names that is not part of the case's name")
    parser.add_argument("--partial", action="store_true", help="accept labels without a prediction")
    parser.set_defaults(run=runs("score"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f check``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_option, runs

__all__ = ["add_parser"]

DESCRIPTION = """What a training run will read, need and take, before anything starts. Headers only, unless --voxels
(images and labels: what training would stop at) or --measure (a few iterations on the first case) ask for more."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    examples = ["c2f check --dataset-dir my_dataset --voxels", "c2f check --dataset-dir my_dataset --option fold=0"]
    parser = add_command(commands, "check", "check a data set before training on it", DESCRIPTION, examples)
    parser.add_argument("--dataset-dir", required=True, type=Path, help="folder with a dataset.json")
    configs = "training configuration and overlays (default: the bundle's train.json)"
    parser.add_argument("--config-file", nargs="+", action="extend", help=configs)
    parser.add_argument("--bundle-root", type=Path, help="the bundle (default: the one of this package)")
    add_option(parser, "override, such as fold=0")
    parser.add_argument("--voxels", action="store_true", help="read images and labels: values, foreground fractions")
    time = parser.add_mutually_exclusive_group()
    time.add_argument("--seconds-per-iteration", type=float, help="of this network on the machine that will train")
    time.add_argument("--measure", type=float, metavar="SECONDS", help="train so long on the first case to measure it")
    parser.set_defaults(run=runs("check"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f release-weights``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = """Writes a state_dict to the bundle's models and its version and SHA-256 to metadata.json. Weights of a
released version are never replaced: a change needs a version of its own and a line in the bundle's changelog."""
HALF = """store convolutions as float16, which halves the file; networks compute in float32 as ever. The rounds amplify
rounding: use it where the DSC of every test case stays within 0.001"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "release-weights", "put weights into the bundle, under a version", DESCRIPTION)
    parser.add_argument("weights", type=Path, help="model.pt of a training")
    parser.add_argument("--name", default="model.pt", help="file name in the bundle's models (default: model.pt)")
    parser.add_argument("--version", required=True, help="version of the weights, a key of the bundle's changelog")
    parser.add_argument("--half", action="store_true", help=HALF)
    parser.add_argument("--bundle-root", type=Path, default=Path("bundle"), help="the bundle (default: bundle)")
    parser.set_defaults(run=runs("release_weights"))

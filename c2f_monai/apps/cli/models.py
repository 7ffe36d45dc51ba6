# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f models``."""

from __future__ import annotations

from .command import Commands, add_command, runs

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    add_command(commands, "models", "list the models that segment knows by name").set_defaults(run=runs("list_models"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..models import DEFAULT_MODEL, MODELS

__all__ = [
    "MODEL",
    "CommandParser",
    "Commands",
    "add_command",
    "add_config",
    "add_device",
    "add_model",
    "add_option",
    "place",
    "runs",
]

#: What names a model.
MODEL = f"{', '.join(MODELS)}, the folder of a bundle, or a file of weights"

CommandParser = argparse.ArgumentParser
Commands = Any  # argparse names the type of its subparsers with an underscore


def add_command(
    commands: Commands, name: str, summary: str, description: str = "", examples: Sequence[str] = ()
) -> CommandParser:
    """Add a command.

    Args:
        commands: of the family.
        name: of the command.
        summary: one line for the list of commands.
        description: what it does, paragraphs apart by empty lines. Defaults to the summary.
        examples: command lines.
    """
    epilog = "\n  ".join(["examples:", *examples]) if examples else None
    parser: CommandParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[:1].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_model(parser: CommandParser) -> None:
    """Add the option that names a model."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"{MODEL} (default: {DEFAULT_MODEL})")


def add_config(parser: CommandParser) -> None:
    """Add the option of overlays."""
    config = "overlay after the model's configuration, a file or a name such as network/deeplab.json; may be repeated"
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help=config)


def add_option(parser: CommandParser, text: str) -> None:
    """Add the option of ids.

    Args:
        parser: of a command.
        text: what the ids are of.
    """
    parser.add_argument("--option", action="append", default=[], metavar="ID=VALUE", help=text)


def add_device(parser: CommandParser) -> None:
    """Add the option of the device."""
    parser.add_argument("--device", help="cpu, gpu, gpu:1 or mps (default: the first GPU, else the CPU)")


def place(text: str) -> Path | str:
    """Type of an argument: a path, or the address of an archive, whose two slashes a path would make one."""
    return text if text.startswith("dicomweb+") else Path(text)


def runs(module: str, function: str = "run") -> Callable[[argparse.Namespace], None]:
    """A function of a module beside this folder, which is imported when it is called."""

    def call(args: argparse.Namespace) -> None:
        getattr(importlib.import_module(f"..{module}", __package__), function)(args)

    return call

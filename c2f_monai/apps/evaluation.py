# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's evaluation in a process of its own, as ``python -m monai.bundle run`` does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CASES_FILE", "bundle_command", "evaluate"]

#: The table of cases that ``evaluate.json`` writes to its ``output_dir``.
CASES_FILE = "cases.csv"


def bundle_command(files: Sequence[str | Path], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Words after the interpreter of a ``monai.bundle run``.

    Args:
        files: configurations, each of which overrides those before it.
        options: ids to override on the command line.
    """
    words = [word for key, value in options.items() for word in (f"--{key}", _text(value))]
    return ("-m", "monai.bundle", "run", "--config_file", str([str(file) for file in files]), *words)


def evaluate(files: Sequence[str | Path], options: Mapping[str, Any], folder: Path) -> Path:
    """Evaluate into a folder and return its table of cases.

    Args:
        files: ``train.json``, ``evaluate.json`` and overlays.
        options: ids to override.
        folder: the ``output_dir``.

    Raises:
        ValueError: When the evaluation fails or leaves no table.
    """
    command = bundle_command(files, {**options, "output_dir": str(folder)})
    done = subprocess.run([sys.executable, *command], check=False)
    table = folder / CASES_FILE
    if done.returncode != 0 or not table.is_file():
        raise ValueError(f"the evaluation failed (exit code {done.returncode}), nothing was recorded: see above.")
    return table


def _text(value: Any) -> str:
    """A value as ``monai.bundle`` reads it; a bare None would leave the configuration's value."""
    return "$None" if value is None else str(value)

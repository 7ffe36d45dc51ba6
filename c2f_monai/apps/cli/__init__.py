# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``c2f``, also ``python -m c2f_monai``: what each command takes; what it does lies beside this folder.

Nothing here imports torch: help and tab completion come at once. A command's module is imported when it runs.
"""

from __future__ import annotations

from .family import build_parser, main, run_command

__all__ = ["build_parser", "main", "run_command"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``models``: the models that ``segment`` knows by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from .model_config import read_model
from .models import DEFAULT_MODEL, MODELS

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Print name, size of the weights and summary of each."""
    for name, model in MODELS.items():
        weights = Path(read_model(name).get_parsed_content("ckpt_path"))
        default = " (default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{default}: {model.summary}\n    {weights}, {weights.stat().st_size / 1e6:.1f} MB")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights as a file, and what inference must know of them beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..utils import atomic_write, settings_file, write_weights_file

__all__ = ["save_settings", "save_weights"]


def save_weights(state_dict: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a flat state_dict of CPU tensors, beside and renamed into place: a killed run leaves the old file whole."""
    write_weights_file({key: value.detach().cpu().contiguous() for key, value in state_dict.items()}, path)


def save_settings(settings: Mapping[str, Any], weights: str | Path) -> None:
    """Write an overlay of ``inference.json`` beside weights, where ``segment`` and others look for it.

    Args:
        settings: ids with their values, see :func:`c2f_monai.config.inference_settings`.
        weights: file of the weights.
    """
    with atomic_write(settings_file(weights)) as part:
        part.write_text(json.dumps(settings, indent=4) + "\n", encoding="utf-8")

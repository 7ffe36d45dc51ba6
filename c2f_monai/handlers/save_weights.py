# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..utils import write_weights_file

__all__ = ["save_weights"]


def save_weights(state_dict: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a flat state_dict of CPU tensors, beside and renamed into place: a killed run leaves the old file whole."""
    write_weights_file({key: value.detach().cpu().contiguous() for key, value in state_dict.items()}, path)

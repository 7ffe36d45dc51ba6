# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks that several inferers share."""

from __future__ import annotations

__all__ = ["check_mask_arguments"]


def check_mask_arguments(threshold: float, component_fraction: float) -> None:
    """What turns a probability into a mask.

    Raises:
        ValueError: for a threshold outside (0, 1) or a fraction outside [0, 1].
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}.")
    if not 0.0 <= component_fraction <= 1.0:
        raise ValueError(f"component_fraction must lie in [0, 1], got {component_fraction}.")

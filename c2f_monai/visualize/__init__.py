# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of results."""

from __future__ import annotations

from .overlay import COLOURS, OverlaySaver, overlay_figure, paint, target_region

__all__ = [
    "COLOURS",
    "OverlaySaver",
    "overlay_figure",
    "paint",
    "target_region",
]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of results."""

from __future__ import annotations

from .overlay import overlay_slice, save_overlay

__all__ = ["overlay_slice", "save_overlay"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses."""

from __future__ import annotations

from .rounds import RoundsLoss, round_weights

__all__ = ["RoundsLoss", "round_weights"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Inferers: the coarse-to-fine loop on volumes, and its unrolled form for training."""

from __future__ import annotations

from .autocast import AutocastInferer
from .coarse_to_fine import CoarseToFineInferer
from .fusion import fuse
from .records import CaseRecord, RoundRecord
from .unrolled import TrainingStage, UnrolledInferer

__all__ = [
    "AutocastInferer",
    "CaseRecord",
    "CoarseToFineInferer",
    "RoundRecord",
    "TrainingStage",
    "UnrolledInferer",
    "fuse",
]

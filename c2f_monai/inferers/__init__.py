# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Inferers: the coarse-to-fine loop on volumes, alone or composed, and its unrolled form for training."""

from __future__ import annotations

from .autocast import AutocastInferer
from .cascade import CascadeInferer
from .coarse_to_fine import CoarseToFineInferer
from .logits import LogitsInferer
from .quality import SIGNALS, TRAITS, QualityModel, check_quality_place, entropy, quality_path, read_quality
from .quality_fit import check_case_count, fit_quality
from .records import FLAGS, CaseRecord, RoundRecord
from .several_organs import SeveralOrgansInferer
from .stopping import StopRule
from .unrolled import UnrolledInferer

__all__ = [
    "FLAGS",
    "SIGNALS",
    "TRAITS",
    "AutocastInferer",
    "CaseRecord",
    "CoarseToFineInferer",
    "CascadeInferer",
    "LogitsInferer",
    "QualityModel",
    "RoundRecord",
    "SeveralOrgansInferer",
    "StopRule",
    "UnrolledInferer",
    "check_case_count",
    "check_quality_place",
    "entropy",
    "fit_quality",
    "quality_path",
    "read_quality",
]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms of volumes: checks, label values, label maps, conditioning on an organ, connected components."""

from __future__ import annotations

from .batch_augmentation import SlabBatchAugmentation
from .clip import HU_RANGE, ClipHUd
from .components import filter_components
from .conditioning import ConditionOnOrgan, ConditionOnOrgand, condition_on_organ, near_mask, near_organ, organ_box
from .conflicts import resolve_conflicts
from .contrast_phase import RandContrastPhased
from .label_maps import (
    SelectLabeld,
    ToLabelMapd,
    all_label_values,
    class_values,
    label_values,
    select_label,
    to_label_map,
)
from .labels import (
    UNNAMED_LABELS,
    CheckLabeledd,
    check_contrast,
    check_label,
    check_whole_values,
    count_values,
    label_problem,
)
from .mask_reach import KeepNearMaskd
from .spacing import ResampleToSpacingd, SmoothForSpacingd, working_shape
from .synthetic_ct import RandSyntheticCT
from .tissues import TISSUES, Tissue
from .upright import TurnUprightd, axes_angles, upright_grid
from .volumes import CheckSameGridd, CheckVolumed, CompactDtyped, check_spacing, check_volume

__all__ = [
    "CheckLabeledd",
    "UNNAMED_LABELS",
    "CheckSameGridd",
    "CheckVolumed",
    "ClipHUd",
    "KeepNearMaskd",
    "ConditionOnOrgan",
    "ConditionOnOrgand",
    "CompactDtyped",
    "HU_RANGE",
    "RandContrastPhased",
    "RandSyntheticCT",
    "SelectLabeld",
    "SlabBatchAugmentation",
    "TISSUES",
    "Tissue",
    "ToLabelMapd",
    "TurnUprightd",
    "axes_angles",
    "ResampleToSpacingd",
    "SmoothForSpacingd",
    "check_spacing",
    "all_label_values",
    "check_contrast",
    "check_label",
    "check_volume",
    "check_whole_values",
    "class_values",
    "condition_on_organ",
    "count_values",
    "filter_components",
    "label_problem",
    "label_values",
    "near_mask",
    "near_organ",
    "organ_box",
    "resolve_conflicts",
    "select_label",
    "to_label_map",
    "upright_grid",
    "working_shape",
]

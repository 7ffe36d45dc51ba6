# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms of volumes: checks, label values, label maps, connected components."""

from __future__ import annotations

from .components import FilterComponents, FilterComponentsd, filter_components
from .spacing import WorkingGridd, working_shape
from .volumes import (
    CheckSameGridd,
    CheckVolumed,
    SelectLabeld,
    ToLabelMapd,
    check_volume,
    select_label,
    to_label_map,
)

__all__ = [
    "CheckSameGridd",
    "CheckVolumed",
    "FilterComponents",
    "FilterComponentsd",
    "SelectLabeld",
    "ToLabelMapd",
    "WorkingGridd",
    "check_volume",
    "filter_components",
    "select_label",
    "to_label_map",
    "working_shape",
]

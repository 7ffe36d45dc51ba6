# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Data: the phantom, lists of cases, slabs for training, writers."""

from __future__ import annotations

from .datalist import load_datalist, resolve_dataset
from .inputs import check_header, list_inputs
from .slab_dataset import SlabCollate, SlabDataset, draw_fallback_box, draw_margins, slice_threshold
from .volume_cache import CachedVolume, load_volumes
from .writers import AtomicNiftiWriter, name_after_case

__all__ = [
    "AtomicNiftiWriter",
    "CachedVolume",
    "SlabCollate",
    "SlabDataset",
    "check_header",
    "draw_fallback_box",
    "draw_margins",
    "list_inputs",
    "load_datalist",
    "load_volumes",
    "name_after_case",
    "resolve_dataset",
    "slice_threshold",
]

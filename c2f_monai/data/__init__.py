# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Data: the phantom, readers of formats, preparers of data sets, lists of cases, slabs for training, writers."""

from __future__ import annotations

from .case_cache import CachedCases
from .case_sampler import CaseSampler
from .datalist import known_labels, list_entries, load_datalist, resolve_dataset
from .description import Preparer
from .disk_cache import DiskCache, DiskVolume
from .images import LoadVolumed, volume_of
from .inputs import CaseDataset, list_inputs, open_inputs, require_input
from .manifest import Manifest
from .phantom import PHANTOM_VERSION, generate_case, write_phantom
from .prefetch import PrefetchDataLoader
from .preparers import PREPARERS
from .preprocessing import image_preprocessing, labeled_preprocessing
from .readers import READERS, CTReader, image_shape, read_image
from .slab_dataset import SlabCollate, SlabDataset
from .slab_draws import draw_fallback_box, draw_margins, slice_threshold
from .target_names import known_names
from .volume_cache import CachedVolume, load_volumes
from .writers import AtomicNiftiWriter, CaseLayout, name_after_case

__all__ = [
    "image_preprocessing",
    "labeled_preprocessing",
    "AtomicNiftiWriter",
    "CTReader",
    "CachedCases",
    "CachedVolume",
    "CaseDataset",
    "CaseLayout",
    "CaseSampler",
    "DiskCache",
    "DiskVolume",
    "LoadVolumed",
    "Manifest",
    "PHANTOM_VERSION",
    "PREPARERS",
    "PrefetchDataLoader",
    "Preparer",
    "READERS",
    "SlabCollate",
    "SlabDataset",
    "draw_fallback_box",
    "draw_margins",
    "generate_case",
    "image_shape",
    "known_labels",
    "known_names",
    "list_entries",
    "list_inputs",
    "load_datalist",
    "load_volumes",
    "name_after_case",
    "open_inputs",
    "read_image",
    "require_input",
    "resolve_dataset",
    "slice_threshold",
    "volume_of",
    "write_phantom",
]

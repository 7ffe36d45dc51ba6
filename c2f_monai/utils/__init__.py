# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Names, geometry and intensities: what every other room builds on."""

from __future__ import annotations

from .boxes import (
    Bounds,
    add_margins,
    bounding_boxes,
    boxes_from_projections,
    crop_boxes,
    foreground_box,
    group_by_shape,
    grow_bounds,
    grow_boxes,
    inside_boxes,
    pad_end,
    pad_to_multiple,
    padded_side,
    paste_boxes,
)
from .enums import Fusion, Part, Prior, StopReason, View
from .environment import keep_freed_memory
from .errors import root_cause
from .files import (
    IMAGE_SUFFIXES,
    atomic_write,
    case_name,
    check_weights_file,
    describe_mismatch,
    read_state_dict,
    read_weights_file,
    sha256_of,
    some_names,
)
from .orientation import (
    default_slice_axes,
    from_slices,
    slice_axcodes_of_array,
    slice_axes,
    slice_axes_of_views,
    to_slices,
)
from .places import CACHE_VARIABLE, bundle_root, cache_dir, overlays_root, work_root
from .slabs import (
    DEFAULT_SLAB,
    SlabSpec,
    add_crops,
    add_slabs,
    extract_label_slabs,
    extract_slabs,
    slab_indices,
    sum_windows,
    window_count,
)
from .values import DEFAULT_WINDOW, check_amp_dtype, check_window, dice_coefficient, dice_of_counts, scale_to_unit
from .wrapping import unwrap

__all__ = [
    "CACHE_VARIABLE",
    "Bounds",
    "DEFAULT_SLAB",
    "DEFAULT_WINDOW",
    "Fusion",
    "IMAGE_SUFFIXES",
    "Part",
    "Prior",
    "SlabSpec",
    "StopReason",
    "View",
    "add_crops",
    "add_margins",
    "add_slabs",
    "atomic_write",
    "bounding_boxes",
    "boxes_from_projections",
    "bundle_root",
    "cache_dir",
    "case_name",
    "check_amp_dtype",
    "check_weights_file",
    "check_window",
    "crop_boxes",
    "default_slice_axes",
    "describe_mismatch",
    "dice_coefficient",
    "dice_of_counts",
    "extract_label_slabs",
    "extract_slabs",
    "foreground_box",
    "from_slices",
    "group_by_shape",
    "grow_bounds",
    "grow_boxes",
    "inside_boxes",
    "keep_freed_memory",
    "overlays_root",
    "pad_end",
    "pad_to_multiple",
    "padded_side",
    "paste_boxes",
    "read_state_dict",
    "read_weights_file",
    "root_cause",
    "scale_to_unit",
    "sha256_of",
    "slab_indices",
    "slice_axcodes_of_array",
    "slice_axes",
    "slice_axes_of_views",
    "some_names",
    "sum_windows",
    "to_slices",
    "unwrap",
    "window_count",
    "work_root",
]

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
from .errors import name_root_cause
from .files import atomic_write, sha256_of
from .intensity import DEFAULT_WINDOW, check_window, scale_to_unit
from .memory import keep_freed_memory
from .naming import IMAGE_SUFFIXES, case_name, some_names
from .orientation import (
    default_slice_axes,
    from_slices,
    slice_axcodes_of_array,
    slice_axes,
    slice_axes_of_views,
    to_slices,
)
from .overlap import dice_coefficient, dice_of_counts
from .precision import check_amp_dtype
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
from .state_dicts import check_weights_file, describe_mismatch, read_weights_file
from .wrapping import unwrap

__all__ = [
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
    "bounding_boxes",
    "boxes_from_projections",
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
    "name_root_cause",
    "pad_end",
    "pad_to_multiple",
    "padded_side",
    "paste_boxes",
    "read_weights_file",
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
    "atomic_write",
]

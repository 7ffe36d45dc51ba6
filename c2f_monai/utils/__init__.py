# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Names, geometry and intensities: what every other room builds on."""

from __future__ import annotations

from .boxes import (
    add_margins,
    bounding_boxes,
    boxes_from_projections,
    crop_boxes,
    group_by_shape,
    grow_boxes,
    inside_boxes,
    pad_end,
    pad_to_multiple,
    padded_side,
    paste_boxes,
)
from .enums import Fusion, Part, Prior, Reference, StopReason, View
from .environment import keep_freed_memory
from .files import (
    IMAGE_SUFFIXES,
    atomic_write,
    case_name,
    check_weights_file,
    describe_mismatch,
    read_weights_file,
    some_names,
)
from .matrix_conv import MatrixConv2d
from .orientation import (
    default_slice_axes,
    from_slices,
    slice_axcodes_of_array,
    slice_axes,
    slice_axes_of_views,
    to_slices,
)
from .overlap import dice_coefficient
from .prepared import prepare_for_inference
from .slabs import (
    add_crops,
    add_slabs,
    check_depth,
    extract_label_slabs,
    extract_slabs,
    slab_indices,
    sum_windows,
    window_count,
)
from .values import DEFAULT_WINDOW, check_amp_dtype, check_window, scale_to_unit
from .wrapping import unwrap

__all__ = [
    "DEFAULT_WINDOW",
    "Fusion",
    "IMAGE_SUFFIXES",
    "MatrixConv2d",
    "Part",
    "Prior",
    "Reference",
    "StopReason",
    "View",
    "add_crops",
    "add_margins",
    "add_slabs",
    "bounding_boxes",
    "boxes_from_projections",
    "case_name",
    "check_amp_dtype",
    "check_depth",
    "check_weights_file",
    "check_window",
    "crop_boxes",
    "default_slice_axes",
    "describe_mismatch",
    "dice_coefficient",
    "extract_label_slabs",
    "extract_slabs",
    "from_slices",
    "group_by_shape",
    "grow_boxes",
    "inside_boxes",
    "keep_freed_memory",
    "pad_end",
    "pad_to_multiple",
    "padded_side",
    "paste_boxes",
    "prepare_for_inference",
    "read_weights_file",
    "scale_to_unit",
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

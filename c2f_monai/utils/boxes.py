# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Boxes: mask -> box -> margin -> growth -> crop, and back. Vectorized over slabs, on any device.

In a volume a box is ((start, stop), ...), half-open voxels along each axis. In a slice it is (top, left, bottom,
right), half-open, in pixels. Two boxes belong to a crop::

    ungrown   minimal rectangle + margin, clipped at the slice's border: outside it the answer is background
    grown     the ungrown box with sides raised to multiples, so that networks with strides take it and equal shapes
              can share a batch; it is filled with real pixels of its own slab, zeros only where the slice is smaller

    |--------------- slice ---------------|
            |---grown (multiple 16)---|
               |-ungrown-|   <- minimal rectangle + margin
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

__all__ = [
    "Bounds",
    "add_margins",
    "bounding_boxes",
    "boxes_from_projections",
    "crop_boxes",
    "foreground_box",
    "group_by_shape",
    "grow_bounds",
    "grow_boxes",
    "inside_boxes",
    "pad_end",
    "pad_to_multiple",
    "padded_side",
    "paste_boxes",
]


#: ((start, stop), ...) along each axis of a volume, half-open voxels.
Bounds = tuple[tuple[int, int], ...]


def _extent(present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last + 1 position of the true entries of each row of (N, length)."""
    length = present.shape[1]
    first = present.to(torch.uint8).argmax(dim=1)
    last = length - present.flip(1).to(torch.uint8).argmax(dim=1)
    return first, last


def boxes_from_projections(*projections: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimal boxes from a mask's projections: the one finder of boxes, that the others call.

    Args:
        projections: for each spatial axis (N, length) bool, the positions with foreground; rows, then columns.

    Returns:
        boxes (N, 2 * axes) long, the starts, then the ends, (top, left, bottom, right) in slices; all zero where there
        is no foreground; and found (N,) bool.
    """
    starts, ends = zip(*(_extent(present) for present in projections), strict=True)
    found = projections[0].any(dim=1)
    return torch.stack([*starts, *ends], dim=1) * found[:, None], found


def bounding_boxes(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimal box of each mask's foreground, over all its channels.

    Args:
        mask: (N, C, ...) bool, with any number of spatial axes: (N, C, h, w) slabs, (N, C, H, W, D) volumes.

    Returns:
        boxes (N, 2 * axes) long, the starts, then the ends, (top, left, bottom, right) of slabs; all zero where a mask
        is empty; and found (N,) bool.
    """
    flat = mask[:, 0] if mask.shape[1] == 1 else mask.any(dim=1)  # a copy of a volume less
    if not mask.numel():
        return boxes_from_projections(*(flat.new_zeros(flat.shape[0], length) for length in flat.shape[1:]))
    # The maximum of bytes, in the order of the memory: 20 times faster than any(). Each axis takes one pass, over what
    # the ones before have left.
    order = sorted(range(1, flat.dim()), key=flat.stride, reverse=True)
    rest, projections = flat.view(torch.uint8).permute(0, *order), {}
    for axis in order[:-1]:
        projections[axis] = rest.flatten(2).amax(dim=2)
        rest = rest.amax(dim=1)
    projections[order[-1]] = rest
    return boxes_from_projections(*(projections[axis].bool() for axis in sorted(order)))


def foreground_box(mask: torch.Tensor) -> Bounds | None:
    """Minimal box of a mask's foreground.

    Args:
        mask: bool, with any number of axes, all of them spatial: (H, W, D).

    Returns:
        ((start, stop), ...) along each axis, half-open; None where there is no foreground.
    """
    if not mask.numel():
        return None
    boxes, found = bounding_boxes(mask[None, None])
    if not found.item():
        return None
    ends = boxes[0].tolist()
    return tuple(zip(ends[: mask.dim()], ends[mask.dim() :], strict=True))


def grow_bounds(bounds: Bounds, reach: int | Sequence[int], shape: Sequence[int]) -> Bounds:
    """Bounds with more voxels on each side, clipped to the volume.

    Args:
        bounds: of a volume.
        reach: voxels, one number or one for each axis.
        shape: the volume's.
    """
    frame = [reach] * len(bounds) if isinstance(reach, int) else reach
    return tuple(
        (max(start - more, 0), min(stop + more, int(length)))
        for (start, stop), more, length in zip(bounds, frame, shape, strict=True)
    )


def add_margins(boxes: torch.Tensor, margins: int | torch.Tensor | None, size: tuple[int, int]) -> torch.Tensor:
    """Add a frame of real image around boxes, clipped at the slice's border.

    Args:
        boxes: (N, 4) long.
        margins: pixels, one number or (N, 4) long for (top, left, bottom, right); None for the whole slice.
        size: (h, w) of the slice.

    Returns:
        (N, 4) long.
    """
    sign = boxes.new_tensor([-1, -1, 1, 1])
    limit = boxes.new_tensor([size[0], size[1], size[0], size[1]])
    if margins is None:
        margins = max(size)
    return torch.minimum((boxes + sign * margins).clamp_min(0), limit)


def grow_boxes(
    boxes: torch.Tensor, size: tuple[int, int], multiple: int = 16, min_size: int | tuple[int, int] = 0
) -> torch.Tensor:
    """Grow boxes evenly to sides that are multiples, shifted inward at the slice's borders.

    A side exceeds the slice only where the slice itself is smaller than the required side; the excess lies behind
    the slice's end.

    Args:
        boxes: (N, 4) long.
        size: (h, w) of the slice.
        multiple: sides become multiples of it; 1 keeps the boxes.
        min_size: smallest side in pixels, or (height, width); raised to a multiple.

    Returns:
        (N, 4) long.
    """
    start, end = boxes[:, :2], boxes[:, 2:]
    limit = boxes.new_tensor(size)
    smallest = min_size if isinstance(min_size, tuple) else (min_size, min_size)
    side = torch.maximum(end - start, boxes.new_tensor(smallest).clamp_min(1))
    side = (side + multiple - 1).div(multiple, rounding_mode="floor") * multiple
    start = start - (side - (end - start)).div(2, rounding_mode="floor")
    start = torch.minimum(start, limit - side).clamp_min(0)
    return torch.cat([start, start + side], dim=1)


def group_by_shape(boxes: torch.Tensor) -> list[tuple[tuple[int, int], torch.Tensor]]:
    """Boxes of equal shape, the only ones that may share a batch.

    Args:
        boxes: (N, 4) long.

    Returns:
        list of ((height, width), indices (M,) long on the CPU), in ascending order of shape and index.
    """
    shapes = (boxes[:, 2:] - boxes[:, :2]).cpu()
    unique, inverse = torch.unique(shapes, dim=0, return_inverse=True)
    return [
        ((int(height), int(width)), torch.nonzero(inverse == i).flatten())
        for i, (height, width) in enumerate(unique.tolist())
    ]


def _overlap(box: list[int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box that lie inside a slice of the given size."""
    return slice(box[0], min(box[2], size[0])), slice(box[1], min(box[3], size[1]))


def crop_boxes(x: torch.Tensor | Sequence[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Crop one box of equal shape from each image; zeros beyond the slice.

    Args:
        x: (N, C, h, w), or N images (C, h, w) of one size.
        boxes: (N, 4) long, grown, all of one shape.

    Returns:
        (N, C, height, width).
    """
    size = (x[0].shape[-2], x[0].shape[-1])
    rows = boxes.tolist()
    height, width = rows[0][2] - rows[0][0], rows[0][3] - rows[0][1]
    crops = []
    for image, box in zip(x, rows, strict=True):
        crops.append(pad_end(image[(slice(None), *_overlap(box, size))], (height, width)))
    return torch.stack(crops)


def pad_end(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Zero-pad, or cut, the last two axes at their end to a size; the tensor itself where it has that size.

    Args:
        x: (..., h, w).
        size: (height, width).
    """
    if x.shape[-2] == size[0] and x.shape[-1] == size[1]:
        return x  # F.pad would copy it
    return F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]))


def inside_boxes(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Mask of the pixels inside boxes.

    Args:
        boxes: (N, 4) long.
        size: (h, w) of the slice.

    Returns:
        (N, 1, h, w) bool.
    """
    row = torch.arange(size[0], device=boxes.device)
    column = torch.arange(size[1], device=boxes.device)
    rows = (row >= boxes[:, 0:1]) & (row < boxes[:, 2:3])
    columns = (column >= boxes[:, 1:2]) & (column < boxes[:, 3:4])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def paste_boxes(
    crops: torch.Tensor, boxes: torch.Tensor, inner: torch.Tensor, size: tuple[int, int]
) -> list[torch.Tensor]:
    """Put crops back into empty slices; zero outside the inner boxes. Differentiable.

    Args:
        crops: (N, C, height, width).
        boxes: (N, 4) long, the grown boxes the crops were taken from.
        inner: (N, 4) long, the ungrown boxes.
        size: (h, w) of the slice.

    Returns:
        N slices (C, h, w): crops of other shapes are stacked with them, so stacking here would be a copy too many.
    """
    pasted = []
    for crop, box, keep in zip(crops, boxes.tolist(), inner.tolist(), strict=True):
        top, left, bottom, right = keep
        part = crop[:, top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
        pasted.append(F.pad(part, (left, size[1] - right, top, size[0] - bottom)))
    return pasted


def padded_side(length: int, multiple: int, min_size: int = 0) -> int:
    """Side of a whole slice by the divisor rule: a multiple, and at least ``min_size`` raised to a multiple.

    Args:
        length: the slice's own side, pixels.
        multiple: positive.
        min_size: smallest side in pixels.
    """
    longest = max(length, min_size)
    return longest + -longest % multiple


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Zero-pad the last two axes at their end to multiples: the divisor rule of whole slices.

    Args:
        x: (..., h, w).
        multiple: positive.
    """
    return pad_end(x, (padded_side(x.shape[-2], multiple), padded_side(x.shape[-1], multiple)))

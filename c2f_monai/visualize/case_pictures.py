# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Small pictures of a case for a page that opens without network: three views, and slices to go through."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation
from PIL import Image

from ..utils import DEFAULT_WINDOW, View
from .overlay import COLORS, fullest_slice, paint, radiological, target_region

__all__ = ["CasePictures", "SliceStack", "case_pictures"]

_OPACITY = 0.45


@dataclass(frozen=True)
class SliceStack:
    """Axial slices side by side in one picture, from the feet up, row after row, and their masks in another.

    Attributes:
        gray: WebP file as a data URL.
        mask: PNG file as a data URL, transparent where there is no target.
        width: pixels of a slice.
        height: likewise.
        columns: slices in a row.
        indices: of the slices in the volume, counted from the feet.
        depth: slices of the volume.
    """

    gray: str
    mask: str
    width: int
    height: int
    columns: int
    indices: list[int]
    depth: int

    def plain(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CasePictures:
    """Pictures of a case.

    Attributes:
        views: a WebP file as a data URL for the axial, coronal and sagittal slice with most of the target.
        stack: slices through the target.
    """

    views: dict[str, str]
    stack: SliceStack


def case_pictures(
    image: MetaTensor,
    mask: MetaTensor,
    window: Sequence[float] = DEFAULT_WINDOW,
    margin: float = 30.0,
    view_size: int = 96,
    stack_size: int = 224,
    slices: int = 24,
) -> CasePictures:
    """Pictures of the box of a target; of the whole volume where there is none.

    Args:
        image: (1, H, W, D) HU, on a grid of any orientation.
        mask: (1, H, W, D) on the same grid, the target where it is above 0.
        window: HU that become black and white.
        margin: mm around the target. Defaults to 30.
        view_size: longer side of the three views, pixels. Defaults to 96.
        stack_size: longer side of the stack's slices at the most, pixels. Defaults to 224.
        slices: number of the stack's slices at the most. Defaults to 24.

    Raises:
        ValueError: when image and mask differ in shape.

    Examples:
        >>> mask = torch.zeros(1, 40, 40, 20)
        >>> mask[:, 10:30, 10:20, 8:12] = 1
        >>> found = case_pictures(MetaTensor(100 * mask), MetaTensor(mask), margin=2.0)
        >>> (found.stack.width, found.stack.height), found.stack.indices, sorted(found.views)
        ((24, 14), [6, 7, 8, 9, 10, 11, 12, 13], ['axial', 'coronal', 'sagittal'])
    """
    if image.shape != mask.shape:
        raise ValueError(
            f"the mask is {_by(mask.shape)} voxels and the image {_by(image.shape)}: it is another image's."
        )
    to_ras = Orientation(axcodes="RAS", labels=None)
    gray: Any = to_ras(image)
    found = np.asarray(to_ras(mask)[0]) > 0
    spacing = [float(step) for step in gray.pixdim]
    region = target_region(found, spacing, margin)
    volume = np.asarray(gray[0])
    views = {}
    for view in (View.AXIAL, View.CORONAL, View.SAGITTAL):
        index = fullest_slice(found, view)
        place = tuple(index if axis == view.axis else region[axis] for axis in range(3))
        pixels = _as_picture(paint(volume[place], found[place], window=window, alpha=_OPACITY))
        size = _size(pixels.shape, _spacing_of(view, spacing), view_size, grow=True)
        views[view.value] = _data_url(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), "webp")
    return CasePictures(
        views,
        _stack(volume[region], found[region], region[2].start, volume.shape[2], spacing, window, stack_size, slices),
    )


def _stack(
    volume: np.ndarray,
    found: np.ndarray,
    first: int,
    depth: int,
    spacing: Sequence[float],
    window: Sequence[float],
    stack_size: int,
    slices: int,
) -> SliceStack:
    """The stack of a box, (h, w, d) RAS, whose lowest slice is the volume's slice ``first``."""
    count = min(slices, volume.shape[2])
    chosen = np.linspace(0, volume.shape[2] - 1, count).round().astype(int)
    width, height = _size(radiological(volume[..., 0]).shape, _spacing_of(View.AXIAL, spacing), stack_size, grow=False)
    columns = math.ceil(math.sqrt(count))
    full = (columns * width, math.ceil(count / columns) * height)
    grays, masks = Image.new("L", full), Image.new("L", full)
    for number, index in enumerate(chosen):
        place = (number % columns * width, number // columns * height)
        pixels = _as_picture(paint(volume[..., index], np.zeros_like(found[..., index]), window=window))[..., 0]
        inside = np.ascontiguousarray(radiological(found[..., index]).astype(np.uint8))
        grays.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), place)
        masks.paste(Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST), place)
    palette = masks.convert("P")
    palette.putpalette([0, 0, 0, *(round(255 * part) for part in COLORS["prediction"])])
    return SliceStack(
        gray=_data_url(grays, "webp"),
        mask=_data_url(palette, "png", transparency=bytes([0, round(255 * _OPACITY)])),
        width=width,
        height=height,
        columns=columns,
        indices=[first + int(index) for index in chosen],
        depth=depth,
    )


def _as_picture(rgb: np.ndarray) -> np.ndarray:
    """A slice in [0, 1] as bytes, turned as radiologists look at it."""
    return np.ascontiguousarray(radiological((255 * rgb).round().astype(np.uint8)))


def _spacing_of(view: View, spacing: Sequence[float]) -> tuple[float, float]:
    """Millimeters of a pixel down and across a picture of a view."""
    across, down = (spacing[axis] for axis in range(3) if axis != view.axis)
    return down, across


def _size(shape: Sequence[int], spacing: Sequence[float], longest: int, grow: bool) -> tuple[int, int]:
    """Width and height of a picture of (h, w, ...) pixels once these are square.

    Args:
        shape: of the picture.
        spacing: mm of a pixel down and across.
        longest: side in pixels.
        grow: whether a smaller picture becomes that large.
    """
    height, width = (length * step for length, step in zip(shape[:2], spacing, strict=True))
    scale = longest / max(height, width)
    scale = scale if grow else min(scale, 1 / min(spacing))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _data_url(picture: Image.Image, kind: str, **options: Any) -> str:
    content = io.BytesIO()
    quality = {"quality": 60, "method": 4} if kind == "webp" else {"optimize": True}
    picture.save(content, kind, **quality, **options)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _by(shape: torch.Size) -> str:
    return "x".join(str(length) for length in shape[1:])

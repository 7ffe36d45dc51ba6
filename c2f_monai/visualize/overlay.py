# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlay of a case: prediction red, truth green, overlap yellow, in the three views through the target."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from monai.visualize import blend_images

from ..utils import DEFAULT_WINDOW, View, scale_to_unit

__all__ = ["overlay_slice", "save_overlay"]

_ALPHA = 0.45
_ZOOM_MM = 30.0


def overlay_slice(image: torch.Tensor, pred: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Colour one slice: red where only the prediction is, green where only the truth is, yellow where both are.

    Args:
        image: (h, w) in [0, 1].
        pred: (h, w) bool.
        truth: (h, w) bool.

    Returns:
        (3, h, w) float32 in [0, 1].
    """
    # A colour map of four entries: nothing, prediction, truth, both.
    colours = ListedColormap([(0, 0, 0), (1, 0.15, 0.1), (0.1, 0.85, 0.2), (1, 0.9, 0.1)])
    marks = (pred.float() + 2.0 * truth.float()) / 3.0
    name = "c2f_overlay"
    if name not in matplotlib.colormaps:
        matplotlib.colormaps.register(colours, name=name)
    return torch.as_tensor(blend_images(image[None], marks[None], alpha=_ALPHA, cmap=name, rescale_arrays=False))


def _centre(mask: torch.Tensor, axis: int) -> int:
    """Slice with most foreground; the middle where there is none."""
    counts = mask.movedim(axis, 0).flatten(1).sum(1)
    return int(counts.argmax()) if bool(counts.any()) else mask.shape[axis] // 2


def save_overlay(
    path: str | os.PathLike[str],
    image: torch.Tensor,
    pred: torch.Tensor,
    truth: torch.Tensor | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    window: tuple[float, float] = DEFAULT_WINDOW,
    title: str = "",
) -> None:
    """Write a PNG of the three views through the target, zoomed to it.

    Args:
        path: file to write, beside and renamed into place.
        image: (H, W, D) HU, RAS.
        pred: (H, W, D) mask.
        truth: (H, W, D) mask; None where there is none.
        spacing: mm along H, W, D.
        window: HU window.
        title: of the figure.
    """
    found = torch.as_tensor(pred) > 0.5
    real = torch.zeros_like(found) if truth is None else torch.as_tensor(truth) > 0.5
    both = found | real
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, view in zip(figure.subplots(1, 3), reversed(View), strict=True):
        index = _centre(both, view.axis)
        grey, p, t = (torch.as_tensor(x).movedim(view.axis, 0)[index] for x in (image, found, real))
        picture = overlay_slice(scale_to_unit(grey, window), p, t)
        step = [s for axis, s in enumerate(spacing) if axis != view.axis]
        rows, columns = _zoom(both.movedim(view.axis, 0)[index], step)
        part = picture[:, rows, columns].permute(2, 1, 0).clamp(0, 1)  # rows of the picture: the second axis, upwards
        axes.imshow(np.asarray(part), origin="lower", aspect=step[1] / step[0], interpolation="nearest")
        axes.set_title(f"{view.value} {index}")
        axes.axis("off")
    legend = "red prediction" if truth is None else "red prediction, green truth, yellow both"
    figure.suptitle(f"{title}  ({legend})" if title else legend)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part_file = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        figure.savefig(part_file, dpi=110, format="png")
        os.replace(part_file, target)
    finally:
        part_file.unlink(missing_ok=True)


def _zoom(mask: torch.Tensor, step: list[float]) -> tuple[slice, slice]:
    """Rows and columns of a slice around its foreground, with a frame of real image."""
    parts = []
    for axis in (0, 1):
        hits = torch.nonzero(mask.any(dim=1 - axis)).flatten()
        frame = int(round(_ZOOM_MM / step[axis]))
        if not len(hits):
            parts.append(slice(None))
            continue
        parts.append(slice(max(int(hits[0]) - frame, 0), int(hits[-1]) + 1 + frame))
    return parts[0], parts[1]

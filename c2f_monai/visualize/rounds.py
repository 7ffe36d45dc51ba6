# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A case through the rounds [Fig. 3.8]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..utils import DEFAULT_WINDOW, View, dice_coefficient
from .overlay import add_legend, fullest_slice, paint, show_slice, target_region

__all__ = ["rounds_figure"]


def rounds_figure(
    image: np.ndarray,
    masks: Mapping[str, np.ndarray],
    truth: np.ndarray,
    spacing: Sequence[float],
    view: View = View.AXIAL,
    title: str = "",
    window: Sequence[float] = DEFAULT_WINDOW,
    margin: float = 20.0,
) -> Figure:
    """One slice after each round, zoomed: prediction red, truth green, overlap yellow [Fig. 3.8].

    Args:
        image: (H, W, D) RAS volume in HU.
        masks: boolean (H, W, D) predictions by name, such as "coarse" and "round 1".
        truth: boolean (H, W, D); the slice is the one with most of it.
        spacing: voxel size in mm for each axis.
        view: view of the slice. Defaults to axial.
        title: text above.
        window: HU that become black and white.
        margin: mm around all predictions and the truth. Defaults to 20.
    """
    index = fullest_slice(truth, view)
    flat = np.zeros_like(truth)
    on_slice = tuple(index if axis == view.axis else slice(None) for axis in range(3))
    flat[on_slice] = np.logical_or.reduce([truth[on_slice], *(mask[on_slice] for mask in masks.values())])
    region = target_region(flat, spacing, margin)
    place = tuple(index if axis == view.axis else region[axis] for axis in range(3))
    figure = Figure(figsize=(3 * len(masks), 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, mask) in zip(figure.subplots(1, len(masks), squeeze=False)[0], masks.items(), strict=True):
        show_slice(axes, paint(image[place], mask[place], truth[place], window), view, spacing)
        axes.set_title(f"{name}: DSC {dice_coefficient(torch.from_numpy(mask), torch.from_numpy(truth)):.3f}")
    figure.suptitle(title)
    add_legend(figure)
    return figure

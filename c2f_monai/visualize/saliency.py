# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the saliency transformation makes of a slab [3.4, Fig. 3.9]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from monai.networks import eval_mode

from ..inferers.views import axes_of
from ..utils import SlabSpec, View, default_slice_axes, extract_slabs, from_slices, pad_to_multiple, to_slices, unwrap
from .overlay import show_slice

__all__ = ["saliency_figure", "saliency_maps"]

# Pixels: more than half of any kernel, or of two layers of 3x3.
_FRAME = 4


def saliency_maps(
    network: torch.nn.Module, image: torch.Tensor, view: View, index: int, seen: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """What g makes of the coarse probability of one slab [3.4].

    In testing g sees P(0) fused over the views, in training the view's own.

    Args:
        network: :py:class:`c2f_monai.networks.CoarseToFineNet` with saliency; it runs in evaluation mode and is left in
            the mode that it was in.
        image: (H, W, D) RAS volume in [0, 1].
        view: the view.
        index: the slab's central slice.
        seen: (K, H, W, D) what g sees, the ``seen`` of a case's record. Defaults to the view's own P(0).

    Returns:
        ``image`` (in_slices, h, w); ``probability`` (out_slices, h, w), what g sees of this slab and the first class;
        ``weights`` (in_slices, h, w), g of it. Rows and columns are those of the RAS volume.
    """
    module = unwrap(network)
    device = next(module.parameters()).device
    axes = axes_of(network, view)
    slices, spec = to_slices(image, axes), SlabSpec.of(module)
    center = index if axes[0] > 0 else len(slices) - 1 - index
    slab = extract_slabs(slices, torch.tensor([center]), spec.in_slices).to(device)
    height, width = slab.shape[-2:]
    # An evaluator leaves evaluation mode before its handlers run: batch norm would learn from what is shown.
    with eval_mode(module):
        if seen is None:
            padded = pad_to_multiple(slab, int(module.size_divisor))  # type: ignore[arg-type]
            logits = network(padded, "coarse", view.value)
            probability = torch.sigmoid(logits.float())[..., :height, :width]
        else:
            windows = [extract_slabs(to_slices(one, axes), torch.tensor([center]), spec.out_slices) for one in seen]
            probability = torch.cat(windows, dim=1).float().to(device)
        weights = network(probability, "saliency", view.value)
    found = {"image": slab, "probability": probability[:, : spec.out_slices], "weights": weights.float()}
    default = default_slice_axes(view)
    return {name: to_slices(from_slices(maps[0].cpu(), axes), default) for name, maps in found.items()}


def saliency_figure(maps: Mapping[str, torch.Tensor], view: View, spacing: Sequence[float], title: str = "") -> Figure:
    """Image, probability, weights and weighted image of each of the slab's channels, a row for each [Fig. 3.9].

    Args:
        maps: see :func:`saliency_maps`; slices that the slab does not predict have no probability, and 0 is shown.
        view: the view.
        spacing: voxel size in mm for each axis.
        title: text above.
    """
    image, weights = maps["image"].numpy(), maps["weights"].numpy()
    channels = len(image)
    predicted = maps["probability"].numpy()
    beyond = (channels - len(predicted)) // 2
    probability = np.pad(predicted, ((beyond, beyond), (0, 0), (0, 0)))
    figure = Figure(figsize=(14, 3.4 * channels), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for channel, row in enumerate(figure.subplots(channels, 4, squeeze=False)):
        gray = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray"}
        show_slice(row[0], image[channel], view, spacing, **gray)
        show_slice(row[1], probability[channel], view, spacing, **gray)
        shown = show_slice(row[2], weights[channel], view, spacing, **_scale(weights[channel]))
        show_slice(row[3], image[channel] * weights[channel], view, spacing, cmap="gray")
        figure.colorbar(shown, ax=row[2])
        names = ("image", "coarse probability", "weights g(P)", "weighted image")
        for axes, name in zip(row, names, strict=True):
            axes.set_title(f"channel {channel + 1}: {name}")
    figure.suptitle(title)
    return figure


def _scale(weights: np.ndarray) -> dict[str, Any]:
    """Colors between the least and most weight (h, w), without the frame where zero padding acts."""
    frame = slice(_FRAME, -_FRAME)
    inner = weights[frame, frame] if min(weights.shape) > 2 * _FRAME else weights
    return {"vmin": float(inner.min()), "vmax": float(inner.max()), "cmap": "viridis"}

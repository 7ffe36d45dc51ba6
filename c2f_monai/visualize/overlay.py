# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a result: prediction, truth and where they overlap, in the three views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.data import MetaTensor
from monai.transforms import Orientation

from ..data.readers import read_image
from ..transforms.label_maps import class_values, select_label
from ..utils import DEFAULT_WINDOW, View, atomic_write, foreground_box, grow_bounds, name_of_case

__all__ = [
    "COLORS",
    "OverlaySaver",
    "add_legend",
    "fullest_slice",
    "overlay_figure",
    "overlay_slice",
    "paint",
    "radiological",
    "save_overlay",
    "show_slice",
    "target_region",
]

COLORS = {"prediction": (1.0, 0.15, 0.15), "truth": (0.1, 0.85, 0.2), "overlap": (1.0, 0.9, 0.1)}


def paint(
    image: np.ndarray,
    pred: np.ndarray,
    truth: np.ndarray | None = None,
    window: Sequence[float] = DEFAULT_WINDOW,
    alpha: float = 0.45,
) -> np.ndarray:
    """Color one slice: prediction red, truth green, overlap yellow; without a truth the prediction is red.

    Args:
        image: (h, w) HU.
        pred: (h, w) boolean.
        truth: (h, w) boolean, or None.
        window: HU that become black and white.
        alpha: share of the color. Defaults to 0.45.

    Returns:
        (h, w, 3) float32 in [0, 1].

    Examples:
        >>> pred, truth = np.array([[False, True, True]]), np.array([[False, False, True]])
        >>> paint(np.array([[70, 70, 70]]), pred, truth, alpha=1.0).round(2).tolist()
        [[[0.5, 0.5, 0.5], [1.0, 0.15, 0.15], [1.0, 0.9, 0.1]]]
    """
    low, high = window
    gray = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
    rgb = np.repeat(gray[..., None], 3, axis=-1)
    other = np.zeros_like(pred) if truth is None else truth
    for name, where in (("prediction", pred & ~other), ("truth", other & ~pred), ("overlap", pred & other)):
        rgb[where] = (1 - alpha) * rgb[where] + alpha * np.asarray(COLORS[name], np.float32)
    return rgb


def fullest_slice(mask: np.ndarray | torch.Tensor, view: View) -> int:
    """The slice of a view with most of a (H, W, D) mask, the first of equals; the middle one for an empty mask.

    Examples:
        >>> mask = np.zeros((4, 4, 6), bool)
        >>> mask[1, 1, 2] = mask[1:3, 1, 5] = True
        >>> fullest_slice(mask, View.AXIAL), fullest_slice(~mask & mask, View.AXIAL)
        (5, 3)
    """
    counts = np.asarray(mask).sum(axis=tuple(axis for axis in range(3) if axis != view.axis))
    return int(counts.argmax()) if counts.any() else mask.shape[view.axis] // 2


def radiological(pixels: np.ndarray) -> np.ndarray:
    """A slice of a RAS volume turned as radiologists look at it; a view of its memory.

    Superior (anterior in axial slices) comes to the top; the patient's right, or anterior, to the left.

    Args:
        pixels: (h, w) or (h, w, 3) slice of a view, rows and columns along its two RAS axes.

    Returns:
        (w, h) or (w, h, 3).

    Examples:
        >>> radiological(np.array([["left, back", "left, front"], ["right, back", "right, front"]])).tolist()
        [['right, front', 'left, front'], ['right, back', 'left, back']]
    """
    return pixels.swapaxes(0, 1)[::-1, ::-1]


def target_region(mask: np.ndarray, spacing: Sequence[float], margin: float) -> tuple[slice, ...]:
    """Box of a (H, W, D) mask with a margin in mm, clipped to the volume; the whole volume for an empty mask.

    Examples:
        >>> mask = np.zeros((10, 10, 4), bool)
        >>> mask[4:6, 5, 0] = True
        >>> target_region(mask, spacing=(2.0, 2.0, 5.0), margin=4.0)
        (slice(2, 8, None), slice(3, 8, None), slice(0, 2, None))
    """
    bounds = foreground_box(torch.from_numpy(np.ascontiguousarray(mask)))
    if bounds is None:
        return tuple(slice(0, length) for length in mask.shape)
    frames = [round(margin / step) for step in spacing]
    return tuple(slice(*side) for side in grow_bounds(bounds, frames, mask.shape))


def overlay_figure(
    image: np.ndarray,
    pred: np.ndarray,
    truth: np.ndarray | None,
    spacing: Sequence[float],
    title: str = "",
    window: Sequence[float] = DEFAULT_WINDOW,
    margin: float = 30.0,
) -> Figure:
    """Axial, coronal and sagittal slice with most target, zoomed to it.

    Args:
        image: (H, W, D) RAS volume in HU.
        pred: boolean mask of the same shape.
        truth: boolean mask of the same shape, or None.
        spacing: voxel size in mm for each axis.
        title: text above.
        window: HU that become black and white.
        margin: mm around prediction and truth. Defaults to 30.
    """
    target = pred if truth is None else pred | truth
    center = truth if truth is not None and truth.any() else target
    region = target_region(target, spacing, margin)
    figure = Figure(figsize=(12, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, view in zip(figure.subplots(1, 3), (View.AXIAL, View.CORONAL, View.SAGITTAL), strict=True):
        index = fullest_slice(center, view)
        place = tuple(index if axis == view.axis else region[axis] for axis in range(3))
        rgb = paint(image[place], pred[place], None if truth is None else truth[place], window)
        show_slice(axes, rgb, view, spacing)
        axes.set_title(view.value)
    figure.suptitle(title)
    add_legend(figure, truth is not None)
    return figure


def show_slice(axes: Axes, pixels: np.ndarray, view: View, spacing: Sequence[float], **options: Any) -> Any:
    """Show a slice of a RAS volume as radiologists look at it, see :func:`radiological`.

    Args:
        axes: of matplotlib.
        pixels: (h, w) or (h, w, 3) slice of the view, rows and columns along its two axes.
        view: the view.
        spacing: voxel size in mm for each axis of the volume.
        options: of ``imshow``.

    Returns:
        matplotlib's image.
    """
    rows, columns = (axis for axis in range(3) if axis != view.axis)
    axes.set_axis_off()
    shown = {"aspect": spacing[columns] / spacing[rows], "interpolation": "bilinear", **options}
    return axes.imshow(radiological(pixels), **shown)


def add_legend(figure: Figure, with_truth: bool = True) -> None:
    """The colors of prediction, truth and overlap, below the figure."""
    names = COLORS if with_truth else {"prediction": COLORS["prediction"]}
    figure.legend(
        handles=[Patch(color=color) for color in names.values()],
        labels=list(names),
        loc="outside lower center",
        ncols=3,
    )


def overlay_slice(
    image: np.ndarray, pred: np.ndarray, truth: np.ndarray, view: View, window: Sequence[float] = DEFAULT_WINDOW
) -> np.ndarray:
    """The slice of a view with most truth, or with most prediction where there is none, as a picture.

    Args:
        image: (H, W, D) RAS volume in HU.
        pred: boolean mask of the same shape.
        truth: boolean mask of the same shape.
        view: view of the slice.
        window: HU that become black and white.

    Returns:
        (h, w, 3) float32 RGB in [0, 1], turned as by :func:`radiological`.
    """
    index = fullest_slice(truth if truth.any() else pred, view)
    gray, found, true = (np.take(volume, index, axis=view.axis) for volume in (image, pred, truth))
    return np.ascontiguousarray(radiological(paint(gray, found, true, window)))


def save_overlay(
    path: Path,
    image: MetaTensor,
    pred: torch.Tensor,
    label: torch.Tensor | None = None,
    title: str = "",
    window: Sequence[float] = DEFAULT_WINDOW,
) -> None:
    """Write :func:`overlay_figure` of a case; the picture appears whole or not at all.

    Args:
        path: of a PNG file.
        image: (1, H, W, D) HU, on a grid of any orientation.
        pred: prediction on the same grid, with its affine, foreground above 0.
        label: truth on the same grid, or None.
        title: text above.
        window: HU that become black and white.
    """
    to_ras = Orientation(axcodes="RAS", labels=None)
    gray: Any = to_ras(image.cpu())
    found = np.asarray(to_ras(pred.cpu())[0]) > 0
    truth = None if label is None else np.asarray(to_ras(label.cpu())[0]) > 0
    spacing = [float(step) for step in gray.pixdim]
    figure = overlay_figure(np.asarray(gray[0]), found, truth, spacing, title=title, window=window)
    with atomic_write(path) as part:
        figure.savefig(part, metadata={"Software": "c2f_monai"})


class OverlaySaver:
    """
    Writes ``<case>_<postfix>.png`` for each case of an evaluator, see :func:`overlay_figure`.

    The image is read again at its own resolution: the evaluator holds it on the working grid.

    Args:
        output_dir: folder of the pictures.
        postfix: end of their names. Defaults to "overlay".
        label_value: label value, or values, of the target in label files; of several classes all are shown as one.
        window: HU that become black and white.
        pred_value: value, or values, of the target in the prediction where that is a label map of several; None: what
            is above 0. Defaults to None.
    """

    def __init__(
        self,
        output_dir: str,
        postfix: str = "overlay",
        label_value: int | Sequence[int] | Sequence[Sequence[int]] = 1,
        window: Sequence[float] = DEFAULT_WINDOW,
        pred_value: int | Sequence[int] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.postfix = postfix
        classes = class_values(label_value)
        self.label_value: Any = label_value if classes is None else [value for group in classes for value in group]
        self.window = tuple(window)
        self.pred_value = pred_value

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with post-processing."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of the last batch."""
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for item, output in zip(batch, outputs, strict=True):
            pred: Any = output["pred"]
            if self.pred_value is not None:
                pred = select_label(pred, self.pred_value)
            path = str(pred.meta["filename_or_obj"])
            label = item.get("label") if output.get("label") is None else output["label"]
            if isinstance(label, str):
                label = select_label(read_image(label), self.label_value)
            name = name_of_case(pred.meta)
            picture = self.output_dir / f"{name}_{self.postfix}.png"
            save_overlay(picture, read_image(path), pred, label, title=name, window=self.window)

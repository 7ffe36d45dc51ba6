# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One slice of a case with the answers there, kept by an evaluation, and a figure of regions [Fig. 3.2, 3.4]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..inferers import CaseRecord
from ..utils import DEFAULT_WINDOW, View, atomic_write, dice_coefficient
from .overlay import add_legend, fullest_slice, paint, radiological, show_slice, target_region

__all__ = ["AnswerSlice", "AnswerSlices", "read_answer_slice", "regions_figure"]

_ENDING = "_answer.npz"


@dataclass(frozen=True)
class AnswerSlice:
    """The axial slice of a case with most of the truth.

    Attributes:
        image: (H, W, 1) HU as the networks see them.
        truth: (H, W, 1) bool.
        coarse: (H, W, 1) bool, Z(0), the answer on the whole image.
        answer: (H, W, 1) bool, that of the last round.
        spacing: (3,) mm, float64.
        dsc: (2,) DSC of the case's volume, coarse and last.
    """

    image: np.ndarray
    truth: np.ndarray
    coarse: np.ndarray
    answer: np.ndarray
    spacing: np.ndarray
    dsc: np.ndarray


class AnswerSlices:
    """
    Writes ``<case>_answer.npz`` of each case of an evaluation, see :class:`AnswerSlice`.

    Args:
        inferer: the evaluator's :py:class:`c2f_monai.inferers.CoarseToFineInferer`, with ``keep_rounds=True``.
        output_dir: folder of the files.
    """

    def __init__(self, inferer: Any, output_dir: str) -> None:
        self.inferer, self.output_dir = inferer, Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with ``image`` and ``label_grid``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of the last batch."""
        batch: Any = engine.state.batch
        for item, record in zip(batch, self.inferer.records, strict=True):
            image, truth = (torch.as_tensor(item[key]).cpu()[0] for key in ("image", "label_grid"))
            kept = _slice_of(image, truth > 0, record, [float(step) for step in item["image"].pixdim])
            with atomic_write(self.output_dir / f"{record.name}{_ENDING}") as part, part.open("wb") as file:
                np.savez_compressed(file, **asdict(kept))


def _slice_of(image: torch.Tensor, truth: torch.Tensor, record: CaseRecord, spacing: Sequence[float]) -> AnswerSlice:
    coarse, answer = (record.masks[t][0] for t in (0, -1))
    index = fullest_slice(truth, View.AXIAL)
    gray, true, first, last = (v[..., index : index + 1].numpy() for v in (image, truth, coarse, answer))
    dsc = [dice_coefficient(mask, truth) for mask in (coarse, answer)]
    return AnswerSlice(gray, true, first, last, np.array(spacing), np.array(dsc))


def read_answer_slice(folder: Path) -> dict[str, AnswerSlice]:
    """What :class:`AnswerSlices` has written to a folder, by case."""
    found = {}
    for path in sorted(folder.glob(f"*{_ENDING}")):
        with np.load(path) as content:
            found[path.name.removesuffix(_ENDING)] = AnswerSlice(**content)
    return found


def regions_figure(
    rows: Mapping[str, Mapping[str, tuple[AnswerSlice, bool]]],
    window: Sequence[float] = DEFAULT_WINDOW,
    margin: float = 16.0,
) -> Figure:
    """A row for each case, a column for each region: prediction red, truth green, overlap yellow [Fig. 3.2, 3.4].

    Args:
        rows: by case and name of the region, the slice, and whether the answer of the last round is shown, zoomed to
            the box of the truth and with that box drawn on the others; else the coarse one on the whole slice.
        window: HU that become black and white.
        margin: mm around the truth of what is zoomed. Defaults to 16.
    """
    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(4.4 * columns, 4.2 * len(rows)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (case, shown) in zip(grid, rows.items(), strict=True):
        for axes, (name, (kept, last)) in zip(line, shown.items(), strict=True):
            _show(axes, kept, last, window, margin)
            axes.set_title(f"{case}, {name}: DSC {kept.dsc[1 if last else 0]:.3f}")
    add_legend(figure)
    return figure


def _show(axes: Any, kept: AnswerSlice, last: bool, window: Sequence[float], margin: float) -> None:
    spacing = kept.spacing.tolist()
    box = target_region(kept.truth, spacing, margin)[:2]
    mask = kept.answer if last else kept.coarse
    place = box if last else (slice(None), slice(None))
    pixels = paint(kept.image[place][..., 0], mask[place][..., 0], kept.truth[place][..., 0], window)
    show_slice(axes, pixels, View.AXIAL, spacing)
    if not last:
        inside = np.zeros(kept.truth.shape[:2], bool)
        inside[box] = True
        rows, columns = np.nonzero(radiological(inside))
        left, top, right, bottom = (float(end) for end in (columns.min(), rows.min(), columns.max(), rows.max()))
        box_of_truth = Rectangle(
            (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, edgecolor="white"
        )
        axes.add_patch(box_of_truth)

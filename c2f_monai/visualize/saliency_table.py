# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which channels of the saliency transformation look at the target, and which around it [3.4, Fig. 3.9]."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from ..inferers import CaseRecord
from ..utils import (
    DEFAULT_WINDOW,
    View,
    add_margins,
    atomic_write,
    bounding_boxes,
    cell_text,
    inside_boxes,
    scale_to_unit,
    unwrap,
)
from .overlay import fullest_slice
from .saliency import saliency_maps

__all__ = ["SaliencyTable", "channel_means"]


def channel_means(weights: torch.Tensor, truth: torch.Tensor, frame: int | None) -> list[tuple[float, float]]:
    """Mean weight on the target and around it, for each channel.

    Args:
        weights: (in_slices, h, w), g(P).
        truth: (h, w) bool, with foreground.
        frame: pixels around the target's minimal rectangle, None for the whole slice; what is neither target nor within
            them does not count.

    Examples:
        >>> truth = torch.zeros(5, 5, dtype=torch.bool)
        >>> truth[2, 2] = True
        >>> channel_means(1.0 + truth.expand(1, 5, 5), truth, frame=1)
        [(2.0, 1.0)]
    """
    size = (truth.shape[0], truth.shape[1])
    box = add_margins(bounding_boxes(truth[None, None])[0], frame, size)
    around = inside_boxes(box, size)[0, 0] & ~truth
    return [(float(channel[truth].mean()), float(channel[around].mean())) for channel in weights]


class SaliencyTable:
    """
    Writes ``saliency.csv``: for each case, view and channel the mean of g(P(0)) on the target and around it, in the
    slab with most of the truth. Several processes send their rows to the first.

    Args:
        network: :py:class:`c2f_monai.networks.CoarseToFineNet` with saliency.
        inferer: the evaluator's inferer, whose records name the cases; with ``keep_seen=True`` g's map is that of
            testing, else that of training, see :func:`saliency_maps`.
        output_dir: folder of the table.
        frame: pixels around the target's rectangle, None for the whole slice. Defaults to 8.
        window: HU that become 0 and 1.
    """

    columns = ("case", "view", "channel", "target", "around")

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Any,
        output_dir: str,
        frame: int | None = 8,
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        self.network, self.inferer, self.path, self.frame = network, inferer, Path(output_dir) / "saliency.csv", frame
        self.window = (float(window[0]), float(window[1]))
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with ``image`` and ``label_grid``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def __call__(self, engine: Engine) -> None:
        """Measure the cases of the last batch; cases without target have no rows."""
        batch: Any = engine.state.batch
        for item, record in zip(batch, self.inferer.records, strict=True):
            image, truth = (torch.as_tensor(item[key]).cpu()[0] for key in ("image", "label_grid"))
            if not bool((truth > 0).any()):
                continue
            unit = scale_to_unit(image, self.window)
            for name in unwrap(self.network).view_names:  # type: ignore[union-attr]
                self._measure(unit, truth > 0, record, View(name))

    def _measure(self, image: torch.Tensor, truth: torch.Tensor, record: CaseRecord, view: View) -> None:
        index = fullest_slice(truth, view)
        weights = saliency_maps(self.network, image, view, index, record.seen)["weights"]
        means = channel_means(weights, truth.select(view.axis, index), self.frame)
        for channel, values in enumerate(means, start=1):
            self.rows.append(dict(zip(self.columns, (record.name, view.value, channel, *values), strict=True)))

    def write(self, engine: Engine) -> None:
        """Write the table, ordered by case, in the first process."""
        # A sampler repeats cases where the processes cannot share them evenly.
        parts: Any = idist.all_gather(self.rows)
        unique = {tuple(row[key] for key in self.columns[:3]): row for part in parts for row in part}
        self.rows = sorted(unique.values(), key=lambda row: row["case"])
        if idist.get_rank() != 0:
            return
        with atomic_write(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "case": cell_text(row["case"])} for row in self.rows)

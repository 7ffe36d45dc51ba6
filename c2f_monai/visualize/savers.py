# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers that draw the first cases of an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure

from ..inferers import CaseRecord
from ..utils import DEFAULT_WINDOW, View, atomic_write, scale_to_unit, unwrap
from .overlay import fullest_slice, overlay_slice
from .rounds import rounds_figure
from .saliency import saliency_figure, saliency_maps

__all__ = ["OverlayImage", "RoundsSaver", "SaliencySaver"]


class _FirstCases(ABC):
    """Writes ``<case>_<kind>.png`` of the first cases of each run of an evaluator with ``image`` and ``label_grid``."""

    kind = ""

    def __init__(self, inferer: Any, output_dir: str, cases: int, window: Sequence[float]) -> None:
        self.inferer, self.output_dir, self.cases = inferer, Path(output_dir), cases
        self.window = (float(window[0]), float(window[1]))
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: setattr(self, "_seen", 0))
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of the last batch."""
        batch: Any = engine.state.batch
        for item, record in zip(batch, self.inferer.records, strict=True):
            if self._seen < self.cases:
                image, truth = (torch.as_tensor(item[key]).cpu()[0] for key in ("image", "label_grid"))
                figure = self._figure(image, truth > 0, [float(step) for step in item["image"].pixdim], record)
                with atomic_write(self.output_dir / f"{record.name}_{self.kind}.png") as part:
                    figure.savefig(part)
            self._seen += 1

    @abstractmethod
    def _figure(self, image: torch.Tensor, truth: torch.Tensor, spacing: list[float], record: CaseRecord) -> Figure:
        """Figure of a case: (H, W, D) HU and truth on the working grid."""


class RoundsSaver(_FirstCases):
    """
    Writes ``<case>_rounds.png`` for the first cases of an evaluation, see :func:`rounds_figure`.

    Args:
        inferer: the evaluator's :py:class:`c2f_monai.inferers.CoarseToFineInferer`, with ``keep_rounds=True``.
        output_dir: folder of the pictures.
        rounds: those that are shown where they were run. Defaults to the coarse result, 1, 2, 3, 5 and 10.
        cases: number of cases. Defaults to 3.
        window: HU that become black and white.
    """

    kind = "rounds"

    def __init__(
        self,
        inferer: Any,
        output_dir: str,
        rounds: Sequence[int] = (0, 1, 2, 3, 5, 10),
        cases: int = 3,
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        super().__init__(inferer, output_dir, cases, window)
        self.rounds = tuple(rounds)

    def _figure(self, image: torch.Tensor, truth: torch.Tensor, spacing: list[float], record: CaseRecord) -> Figure:
        masks: Mapping[str, np.ndarray] = {
            f"round {t}" if t else "coarse": record.masks[t][0].numpy() for t in self.rounds if t < len(record.masks)
        }
        return rounds_figure(image.numpy(), masks, truth.numpy(), spacing, title=record.name, window=self.window)


class SaliencySaver(_FirstCases):
    """
    Writes ``<case>_saliency.png`` for the first cases of an evaluation, see :func:`saliency_figure`.

    Args:
        network: with saliency.
        inferer: the evaluator's inferer, whose records name the cases; with ``keep_seen=True`` the map is the one that
            g sees in testing, P(0) fused over the views, else the view's own.
        output_dir: folder of the pictures.
        view: view of the slab, the one with most of the truth. Defaults to the network's last view.
        cases: number of cases. Defaults to 3.
        window: HU that become 0 and 1.
    """

    kind = "saliency"

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Any,
        output_dir: str,
        view: str | None = None,
        cases: int = 3,
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        super().__init__(inferer, output_dir, cases, window)
        self.network = network
        self.view = View(view if view is not None else unwrap(network).view_names[-1])  # type: ignore[index]

    def _figure(self, image: torch.Tensor, truth: torch.Tensor, spacing: list[float], record: CaseRecord) -> Figure:
        index = fullest_slice(truth, self.view)
        maps = saliency_maps(self.network, scale_to_unit(image, self.window), self.view, index, record.seen)
        return saliency_figure(maps, self.view, spacing, title=record.name)


class OverlayImage:
    """
    Writes to TensorBoard the last mask of the first case of each run, on the slice with most truth.

    Colors and sides are those of the PNG files, see :func:`paint` and :func:`radiological`; MONAI's
    ``TensorBoardImageHandler`` shows gray volumes, of the last case, as they lie in memory.

    Args:
        writer: with ``add_image``, such as :py:class:`c2f_monai.handlers.EventFile`.
        inferer: the evaluator's :py:class:`c2f_monai.inferers.CoarseToFineInferer`, with ``keep_rounds=True``.
        window: HU that become black and white.
        view: view of the slice. Defaults to "axial".
        tag: name of the image. Defaults to "validation/overlay".
    """

    def __init__(
        self,
        writer: Any,
        inferer: Any,
        window: Sequence[float] = DEFAULT_WINDOW,
        view: str = View.AXIAL,
        tag: str = "validation/overlay",
    ) -> None:
        self.writer, self.inferer, self.window, self.view, self.tag = writer, inferer, window, View(view), tag

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with ``image`` and ``label_grid``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), self)

    def __call__(self, engine: Engine) -> None:
        """Write the first case of the batch."""
        batch: Any = engine.state.batch
        image, truth = (np.asarray(torch.as_tensor(batch[0][key])[0].cpu()) for key in ("image", "label_grid"))
        pred = self.inferer.records[0].masks[-1][0].numpy()
        pixels = overlay_slice(image, pred, truth > 0, self.view, self.window)
        self.writer.add_image(self.tag, pixels, engine.state.epoch, dataformats="HWC")

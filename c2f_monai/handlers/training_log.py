# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard log of training: losses of the rounds, learning rates, validation and an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.visualize import blend_images
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from ..utils import DEFAULT_WINDOW, View, dice_coefficient, scale_to_unit

__all__ = ["TrainingLog", "ValidationLog", "overlay_image"]


def overlay_image(
    image: torch.Tensor,
    pred: torch.Tensor,
    label: torch.Tensor,
    view: str = View.AXIAL,
    window: Sequence[float] = DEFAULT_WINDOW,
) -> torch.Tensor:
    """The slice with most target: prediction alone purple, truth alone brown, both green.

    Args:
        image: (1, H, W, D) HU.
        pred: (1, H, W, D) mask.
        label: (1, H, W, D) mask; where it is empty the slice with most prediction is taken.
        view: view of the slice.
        window: HU window.

    Returns:
        (3, h, w) float32 RGB in [0, 1].
    """
    axis = View(view).axis
    mask = label if bool((label > 0).any()) else pred
    slices = [torch.as_tensor(x)[0].movedim(axis, 0) for x in (mask, image, pred, label)]
    center = int((slices[0] > 0).flatten(1).sum(1).argmax())
    _, gray, found, truth = (x[center].cpu() for x in slices)
    # RAS axes: flipped and transposed so that anterior or superior is up.
    gray, found, truth = (x.float().flip(1).T[None] for x in (gray, found, truth))
    base = scale_to_unit(gray, (float(window[0]), float(window[1])))
    marked = ((found > 0).float() + 2.0 * (truth > 0).float()) / 3.0  # colors: prediction alone, truth alone, both
    return torch.as_tensor(blend_images(base, marked, alpha=0.4, cmap="brg", rescale_arrays=False)).clamp(0, 1)


class TrainingLog:
    """
    Writes the mean loss of each round and view, and the learning rates, once for each epoch.

    Args:
        log_dir: folder of the TensorBoard files.
        loss: :py:class:`c2f_monai.losses.RoundsLoss` of the trainer.
        optimizer: its groups' learning rates are written.
    """

    def __init__(self, log_dir: str, loss: Any, optimizer: Optimizer) -> None:
        self.log_dir = log_dir
        self.loss = loss
        self.optimizer = optimizer
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _reset(self, engine: Engine) -> None:
        self._sums, self._count = {}, 0

    def _add(self, engine: Engine) -> None:
        for view, losses in self.loss.rounds.items():
            self._sums[view] = self._sums[view] + losses if view in self._sums else losses
        self._count += 1

    def means(self) -> dict[str, list[float]]:
        """Mean loss of each round (coarse first) of the epoch so far, by view."""
        return {view: (total / max(self._count, 1)).tolist() for view, total in self._sums.items()}

    def _write(self, engine: Engine) -> None:
        means = self.means()
        text = "; ".join(f"{view} {' '.join(f'{x:.4f}' for x in losses)}" for view, losses in means.items())
        engine.logger.info(f"epoch {engine.state.epoch}: loss of the coarse stage and each round: {text}")
        if idist.get_rank() != 0:
            return
        with SummaryWriter(self.log_dir) as writer:
            for view, losses in means.items():
                for t, loss in enumerate(losses):
                    writer.add_scalar(f"loss/{view}/{'coarse' if t == 0 else f'round {t}'}", loss, engine.state.epoch)
            for i, group in enumerate(self.optimizer.param_groups):
                writer.add_scalar(f"learning rate/group {i}", group["lr"], engine.state.epoch)


class ValidationLog:
    """
    Writes the evaluator's metrics, the DSC of the coarse stage and of the last round on the working grid, and an
    overlay of the first case.

    Args:
        log_dir: folder of the TensorBoard files.
        inferer: the evaluator's :py:class:`c2f_monai.inferers.CoarseToFineInferer`, with ``keep_rounds=True``.
        window: HU window of the overlay.
        label_key: key of the label on the working grid, (K, H, W, D).
    """

    def __init__(
        self, log_dir: str, inferer: Any, window: Sequence[float] = DEFAULT_WINDOW, label_key: str = "label_grid"
    ) -> None:
        self.log_dir = log_dir
        self.inferer = inferer
        self.window = window
        self.label_key = label_key
        self._scores: list[tuple[float, float]] = []
        self._overlay: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator of the validation."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _reset(self, engine: Engine) -> None:
        self._scores, self._overlay = [], None

    def _add(self, engine: Engine) -> None:
        cases: Any = engine.state.batch
        for case, record in zip(cases, self.inferer.records, strict=True):
            label = torch.as_tensor(case[self.label_key]).cpu() > 0.5
            first, last = (dice_coefficient(record.masks[i], label) for i in (0, -1))
            self._scores.append((first, last))
            if self._overlay is None and idist.get_rank() == 0:
                self._overlay = overlay_image(case["image"], record.masks[-1], label, window=self.window)

    def _write(self, engine: Engine) -> None:
        if idist.get_rank() != 0 or not self._scores:
            return
        coarse, fine = (sum(column) / len(column) for column in zip(*self._scores, strict=True))
        engine.logger.info(f"validation on the working grid: DSC {coarse:.4f} coarse, {fine:.4f} after the last round")
        with SummaryWriter(self.log_dir) as writer:
            writer.add_scalar("validation/grid DSC coarse", coarse, engine.state.epoch)
            writer.add_scalar("validation/grid DSC last round", fine, engine.state.epoch)
            for name, value in engine.state.metrics.items():
                if isinstance(value, (int, float)):
                    writer.add_scalar(f"validation/{name}", value, engine.state.epoch)
            if self._overlay is not None:
                writer.add_image("validation/overlay", self._overlay, engine.state.epoch)

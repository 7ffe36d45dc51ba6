# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reproducible draws and what feeds the trainer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Timer

__all__ = ["DrawsHandler", "WaitingTime", "prepare_slab_batch"]

logger = logging.getLogger(__name__)


def prepare_slab_batch(
    batch: Mapping[str, Mapping[str, torch.Tensor]],
    device: str | torch.device | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], tuple, dict[str, Any]]:
    """``prepare_batch`` of the trainer: move a collated batch of slabs and hand label and draws to the inferer.

    Args:
        batch: of :py:class:`c2f_monai.data.SlabCollate`.
        device: target device.
        non_blocking: as in ``Tensor.to``.
        kwargs: further arguments of ``Tensor.to``.

    Returns:
        inputs and targets by view, no further arguments, and the inferer's keyword arguments.
    """
    moved = {
        key: {view: x.to(device=device, non_blocking=non_blocking, **kwargs) for view, x in batch[key].items()}
        for key in ("image", "label")
    }
    # Boxes are computed from small integers: they stay where Python reads them without waiting for the device.
    draws = {
        view: {key: batch[key][view].to(device) for key in ("size", "margins", "fallback")} for view in batch["image"]
    }
    return moved["image"], moved["label"], (), {"targets": moved["label"], "draws": draws}


class DrawsHandler:
    """
    Makes every draw of training a function of (seed, epoch, index): also of a run that was killed and continues.

    Args:
        dataset: with ``set_epoch``.
        seed: of the networks' own draws (dropout), which follow (seed, iteration, process).
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed
        self.rank = idist.get_rank()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda e: self.dataset.set_epoch(e.state.epoch))
        engine.add_event_handler(Events.ITERATION_STARTED, self.iteration_started)

    def iteration_started(self, engine: Engine) -> None:
        """Seed the networks' draws."""
        state = np.random.SeedSequence([self.seed, engine.state.iteration, self.rank]).generate_state(1)
        torch.manual_seed(int(state[0]))


class WaitingTime:
    """
    Logs after each epoch the time of an iteration and the share of it spent waiting for the next batch.

    Ignite's ``BasicTimeProfiler`` measures both, but tells of the run as a whole, at its end, and keeps every
    iteration that the run may have.

    Attributes:
        share: of the latest epoch, in [0, 1].
        seconds: mean time of an iteration of the latest epoch.
    """

    def __init__(self) -> None:
        self.share = self.seconds = 0.0
        self._waiting, self._iteration = Timer(), Timer(average=True)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        ended = Events.ITERATION_COMPLETED
        self._waiting.attach(
            engine, start=Events.EPOCH_STARTED, pause=Events.GET_BATCH_COMPLETED, resume=Events.GET_BATCH_STARTED
        )
        self._iteration.attach(
            engine, start=Events.EPOCH_STARTED, pause=ended, resume=Events.GET_BATCH_STARTED, step=ended
        )
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    def _epoch_completed(self, engine: Engine) -> None:
        self.seconds = self._iteration.value()
        iterations = round(self._iteration.step_count)
        self.share = self._waiting.value() / max(self.seconds * iterations, 1e-9)
        logger.info(
            f"epoch {engine.state.epoch}: {iterations} iterations of {self.seconds:.3f} s, "
            f"{100 * self.share:.1f} % of it waiting for data"
        )

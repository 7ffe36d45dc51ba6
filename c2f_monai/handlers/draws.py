# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reproducible draws and what feeds the trainer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

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
        key: {view: x.to(device=device, non_blocking=non_blocking, **kwargs) for view, x in values.items()}
        for key, values in batch.items()
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

    Attributes:
        share: of the latest epoch, in [0, 1].
        seconds: mean time of an iteration of the latest epoch.
    """

    def __init__(self) -> None:
        self.share = self.seconds = 0.0
        self._waited = self._busy = self._mark = 0.0
        self._iterations = 0

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._batch_came)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    def _lap(self) -> float:
        now = time.perf_counter()
        passed, self._mark = now - self._mark, now
        return passed

    def _epoch_started(self, engine: Engine) -> None:
        self._waited = self._busy = 0.0
        self._iterations = 0
        self._lap()

    def _batch_came(self, engine: Engine) -> None:
        self._waited += self._lap()

    def _iteration_completed(self, engine: Engine) -> None:
        self._busy += self._lap()
        self._iterations += 1

    def _epoch_completed(self, engine: Engine) -> None:
        total = self._waited + self._busy
        self.share = self._waited / max(total, 1e-9)
        self.seconds = total / max(self._iterations, 1)
        logger.info(
            f"epoch {engine.state.epoch}: {self._iterations} iterations of {self.seconds:.3f} s, "
            f"{100 * self.share:.1f} % of it waiting for data"
        )

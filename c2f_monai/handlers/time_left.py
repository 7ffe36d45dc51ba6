# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How long a training will still take."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from ignite.engine import Engine, Events

__all__ = ["TimeLeft", "estimate_seconds_left", "hours"]

logger = logging.getLogger(__name__)

#: Iterations after which the first estimate is made; those before them load libraries and warm up caches.
FIRST, WARM = 60, 10


def hours(seconds: float) -> str:
    """A duration for the log.

    Examples:
        >>> hours(40), hours(1200), hours(12600)
        ('40 s', '20 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate_seconds_left(work: Sequence[float], seconds: Sequence[float]) -> float:
    """Seconds of the epochs to come.

    An epoch takes what those of the same work took on average, validations included; of work that has not been done
    yet, as many times the latest epochs' as it is more.

    Args:
        work: of an iteration in each epoch, the first to the last, in any unit.
        seconds: that the first epochs took.

    Raises:
        ValueError: when no epoch has ended.

    Examples:
        >>> estimate_seconds_left([1, 1, 1, 3, 3], [10, 14])
        84.0
    """
    if not seconds:
        raise ValueError("no epoch has ended: there is nothing to estimate from.")
    known: dict[float, list[float]] = {}
    for amount, took in zip(work, seconds, strict=False):
        known.setdefault(amount, []).append(took)
    means = {amount: sum(times) / len(times) for amount, times in known.items()}
    latest = work[len(seconds) - 1]
    return sum(means.get(amount, means[latest] * amount / latest) for amount in work[len(seconds) :])


class TimeLeft:
    """Logs what is left of a run: once in its first minutes, then at each epoch's start.

    Args:
        work: gives the work of an iteration in an epoch, from 1, in any unit.
    """

    def __init__(self, work: Callable[[Engine, int], float]) -> None:
        self.work = work

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)

    def _started(self, engine: Engine) -> None:
        self._begin = self._warm = time.perf_counter()
        self._done = 0
        self._marks: list[float] = []

    def _epoch_started(self, engine: Engine) -> None:
        if not self._marks:  # by now a checkpoint is loaded, whichever handler was attached first
            self._before = engine.state.epoch - 1
        self._marks.append(time.perf_counter())
        if len(self._marks) > 1:
            took = [after - before for before, after in zip(self._marks, self._marks[1:], strict=False)]
            self._tell(engine, estimate_seconds_left(self._amounts(engine), took))

    def _iteration_completed(self, engine: Engine) -> None:
        self._done += 1
        length = int(engine.state.epoch_length or 1)
        if self._done == WARM:
            self._warm = time.perf_counter()
        elif self._done == FIRST and len(self._marks) == 1:
            epoch = (time.perf_counter() - self._warm) / (FIRST - WARM) * length
            rest = estimate_seconds_left(self._amounts(engine), [epoch])
            self._tell(engine, rest + epoch * max(0.0, 1 - FIRST / length))

    def _amounts(self, engine: Engine) -> list[float]:
        """Work of the epochs of this run; it may have begun at a checkpoint."""
        return [self.work(engine, epoch) for epoch in range(self._before + 1, int(engine.state.max_epochs or 1) + 1)]

    def _tell(self, engine: Engine, seconds: float) -> None:
        so_far = hours(time.perf_counter() - self._begin)
        state = engine.state
        logger.info(f"epoch {state.epoch} of {state.max_epochs}: {so_far} so far, about {hours(seconds)} left")

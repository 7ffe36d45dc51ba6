# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a training after so many seconds."""

from __future__ import annotations

import time

import ignite.distributed as idist
import ignite.handlers
from ignite.engine import Engine, Events

__all__ = ["TimeLimit"]


class TimeLimit(ignite.handlers.TimeLimit):
    """Ignite's handler by one clock for all processes: the one that began first.

    Each process of Ignite's own has its clock, and one that ends an iteration before the others leaves them waiting for
    its gradients.

    Args:
        limit_sec: seconds from the making of this handler, at least 1.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Stop training in all processes after the same iteration."""
        passed = idist.all_reduce(time.time() - self.start_time, "MAX")
        if float(passed) > self.limit_sec:
            self.logger.info(f"Reached the time limit of {self.limit_sec} s. Stop training")
            engine.terminate()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written while the next case is segmented."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ignite.engine import Engine, Events

from ..data.writers import AtomicNiftiWriter

__all__ = ["WriteInBackground"]


class WriteInBackground:
    """
    While an evaluator runs, ``AtomicNiftiWriter`` writes in a thread: compressing a volume takes as long as reading it.

    All files are written when the run ends, also when it ends with an error. A file that could not be written is an
    error of the run. Without this handler, for instance in a program of another kind that uses the postprocessing
    alone, files are written at once.

    Args:
        waiting: cases whose files may wait, and take memory, before the run waits for them. Defaults to 1.
    """

    def __init__(self, waiting: int = 1) -> None:
        self.waiting = waiting
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: list[Future[None]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, lambda _: self._finish())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _start(self, engine: Engine) -> None:
        self._pool = ThreadPoolExecutor(1)
        AtomicNiftiWriter.background = self._submit

    def _submit(self, task: Callable[[], None]) -> None:
        while len(self._tasks) > self.waiting:
            self._tasks.pop(0).result()
        assert self._pool is not None
        self._tasks.append(self._pool.submit(task))

    def _finish(self) -> None:
        AtomicNiftiWriter.background = None
        tasks, self._tasks = self._tasks, []
        if self._pool is not None:
            self._pool.shutdown()
        for task in tasks:
            task.result()

    def _failed(self, engine: Engine, error: Exception) -> None:
        try:
            self._finish()
        finally:
            raise error  # ignite leaves it to its handlers

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written while the next case is segmented."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ignite.engine import Engine, Events

from ..utils import leave_if_signaled

__all__ = ["WriteInBackground"]


class WriteInBackground:
    """
    Writes files in a thread while an evaluator runs: compressing a volume takes as long as reading it.

    One object is both the handler and what the writer of the evaluator's postprocessing hands its files to:
    ``AtomicNiftiWriter(submit=...)``. All files are written when the run ends, also when it ends with an error. A file
    that could not be written is an error of the run, unless someone asks for it, see :meth:`then`. Outside a run, or
    where the handler is not attached, files are written at once.

    Args:
        waiting: cases whose files may wait, and take memory, before the run waits for them. Defaults to 1.

    Examples:
        >>> from functools import partial
        >>> from monai.transforms import SaveImaged
        >>> from c2f_monai.data import AtomicNiftiWriter
        >>> writing = WriteInBackground()
        >>> save = SaveImaged("pred", writer=partial(AtomicNiftiWriter, submit=writing))
    """

    def __init__(self, waiting: int = 1) -> None:
        self.waiting = waiting
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: list[Future[None]] = []
        self._fresh: list[Future[None]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: self._fresh.clear())
        engine.add_event_handler(Events.COMPLETED, lambda _: self._finish())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def __call__(self, task: Callable[[], None]) -> None:
        """Write in the background during a run, at once outside it; nothing once a signal told the run to end."""
        leave_if_signaled()
        if self._pool is None:
            task()
            return
        while len(self._tasks) > self.waiting:
            self._tasks.pop(0).result()
        self._fresh.append(self._pool.submit(task))
        self._tasks.append(self._fresh[-1])

    def then(self, ended: Callable[[Exception | None], None]) -> None:
        """Call ``ended`` once the files of this iteration are written, with the error of one that is not.

        What ``ended`` raises is an error of the run, instead of the file's.
        """
        if self._pool is None:
            ended(None)
            return
        files = list(self._fresh)
        self._tasks = [task for task in self._tasks if task not in files]

        def end() -> None:
            errors = [error for file in files if isinstance(error := file.exception(), Exception)]
            ended(errors[0] if errors else None)

        self._tasks.append(self._pool.submit(end))

    def wait(self) -> None:
        """Wait until all files are written.

        Raises:
            Exception: the first error of a file.
        """
        tasks, self._tasks, self._fresh = self._tasks, [], []
        for task in tasks:
            task.result()

    def _start(self, engine: Engine) -> None:
        self._pool = ThreadPoolExecutor(1)

    def _finish(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self.wait()

    def _failed(self, engine: Engine, error: Exception) -> None:
        try:
            self._finish()
        finally:
            raise error  # ignite leaves it to its handlers

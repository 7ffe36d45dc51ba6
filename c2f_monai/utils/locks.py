# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One process at a time in a folder."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .files import check_no_file

__all__ = ["FolderLock", "release_locks"]


class FolderLock:
    """
    Keeps other processes out of a folder, also those of other machines where the file system knows locks.

    The system gives the lock back when the process ends, whatever ends it: nobody has to remove anything by hand. The
    hidden file that a killed process leaves locks nothing. A file that its owner removes while another opens it gives
    no lock either: filelock looks for that. Objects of one process share the lock.

    Args:
        folder: it is made with the lock.

    Examples:
        >>> folder = getfixture("tmp_path") / "run"
        >>> lock = FolderLock(folder)
        >>> lock.acquire()
        >>> lock.release()
        >>> list(folder.iterdir())
        []
    """

    name = ".lock"
    _held: set[FolderLock] = set()

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self._lock = FileLock(self.folder / self.name, is_singleton=True, thread_local=False)
        self._process = 0

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: when another process has it.
            NotADirectoryError: when a file has the folder's name.
        """
        check_no_file(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BlockingIOError(
                f"another process writes to {self.folder}: wait until it ends, or choose another folder for the output."
            ) from None
        self._process = os.getpid()
        self._held.add(self)

    def release(self) -> None:
        """Give the lock back and remove its file; without the lock, do nothing."""
        self._held.discard(self)
        if self._lock.is_locked and self._process == os.getpid():  # a fork has its parent's
            with suppress(OSError):  # Windows does not remove a file that is open
                os.unlink(self.folder / self.name)
            self._lock.release(force=True)


@atexit.register
def release_locks() -> None:
    """Give back what this process has: the end of a process that is stopped in order."""
    for lock in list(FolderLock._held):
        lock.release()

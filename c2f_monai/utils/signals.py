# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A run that is stopped from outside ends soon and in order."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Any

from .locks import release_locks

__all__ = ["end_on_signals", "leave_if_signaled"]

_told: list[int] = []  # the status of a signal that came


def end_on_signals() -> None:
    """From now on SIGINT and SIGTERM end the process with a line and without a traceback, as status 128 + number.

    What runs is left by ``SystemExit``, so that handlers and ``finally`` bring their files in order. The same signal
    ends the process at once when it comes again. A program with handlers of its own keeps them. See
    :func:`leave_if_signaled` for the exit that does not arrive.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # a shell lets programs in the background ignore SIGINT
            signal.signal(number, _end)


def leave_if_signaled() -> None:
    """Leave a run that a signal has told to end, before something is kept that was made since.

    The signal's ``SystemExit`` is lost where C code calls Python and drops what that raises, as ``PyObject_HasAttr``
    does when it asks a torch module for an attribute.

    Raises:
        SystemExit: when a signal of :func:`end_on_signals` came.
    """
    if _told:
        raise SystemExit(_told[0])


def _end(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    status, name = 128 + number, signal.Signals(number).name
    _told.append(status)
    # Threads that read the next case would be waited for, and printing is not safe inside a signal's handler.
    atexit.register(_leave, status)
    os.write(2, f"\nstopped by {name}: what is done stays, and the same command does the rest.\n".encode())
    raise SystemExit(status)


def _leave(status: int) -> None:
    release_locks()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

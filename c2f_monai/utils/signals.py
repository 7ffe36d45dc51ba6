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

__all__ = ["end_on_signals"]


def end_on_signals() -> None:
    """From now on SIGINT and SIGTERM end the process with a line and without a traceback, as status 128 + number.

    What runs is left by ``SystemExit``, so that handlers and ``finally`` bring their files in order. A second signal
    ends the process at once. A program with signal handlers of its own keeps them, and so do other threads than the
    first.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: Any) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    status, name = 128 + number, signal.Signals(number).name
    # Threads that read the next case would be waited for, and printing is not safe inside a signal's handler.
    atexit.register(_leave, status)
    os.write(2, f"\nstopped by {name}: what is done stays, and the same command does the rest.\n".encode())
    raise SystemExit(status)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

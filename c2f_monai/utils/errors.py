# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a command says last when it fails."""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["name_root_cause", "root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """The exception that a chain of "raise ... from ..." began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def name_root_cause() -> None:
    """Let the traceback of an uncaught error end with one line that names its root cause.

    ``monai.bundle run`` wraps what fails inside a configuration in errors that name the component only: the message
    that says what to do stands in the middle of a long traceback.
    """
    previous = sys.excepthook
    if getattr(previous, "names_root_cause", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        previous(kind, error, trace)
        root = root_cause(error)
        if root is not error:
            print(f"error: {root}", file=sys.stderr)

    hook.names_root_cause = True  # type: ignore[attr-defined]
    sys.excepthook = hook

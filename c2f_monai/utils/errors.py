# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Why something failed, and how it is told."""

from __future__ import annotations

import errno
import sys
from types import TracebackType

__all__ = ["USER_ERRORS", "error_line", "is_of_the_machine", "reason_of", "root_cause", "tell_errors_in_one_line"]

#: Mistakes of input: told in one line, where others are mistakes of the program and show their traceback.
USER_ERRORS = (OSError, ValueError)
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_PACKAGE = __name__.split(".")[0]


def root_cause(error: BaseException) -> BaseException:
    """What a chain of "raise ... from ..." is about: the first error in it that this package raised, else the deepest.

    MONAI wraps what fails inside a configuration or a transform in errors that name the component only, and what a
    library says of a file, this package says in its own words.

    Examples:
        >>> try:
        ...     raise RuntimeError("Failed to instantiate") from ValueError("no such file")
        ... except RuntimeError as error:
        ...     root_cause(error)
        ValueError('no such file')
    """
    while error.__cause__ is not None and not (isinstance(error, USER_ERRORS) and _is_own(error)):
        error = error.__cause__
    return error


def error_line(error: BaseException) -> str:
    r"""One line for an error.

    Examples:
        >>> error_line(ValueError("margin must be\n  a number")), error_line(OSError())
        ('error: margin must be a number', 'error: OSError')
    """
    return f"error: {' '.join(str(error).split()) or type(error).__name__}"


def tell_errors_in_one_line() -> None:
    """From here on, a mistake of input that ends the process is told in one line, without its traceback."""
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        cause = root_cause(error)
        if isinstance(cause, USER_ERRORS):
            print(error_line(cause), file=sys.stderr)
        else:
            before(kind, error, traceback)

    sys.excepthook = tell


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error, or one that caused it, is of the machine and not of a case: all that follow would fail, too."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE:
            return True
        cause = cause.__cause__
    return False


def reason_of(error: BaseException) -> str:
    """One line of the text of an exception's root cause: libraries put the place first and what happened last."""
    cause = root_cause(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


def _is_own(error: BaseException) -> bool:
    """Whether the error was raised in this package, at the innermost of its traceback."""
    place = error.__traceback__
    if place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    return str(place.tb_frame.f_globals.get("__name__", "")).split(".")[0] == _PACKAGE

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Why something failed."""

from __future__ import annotations

__all__ = ["reason_of", "root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """The exception that a chain of "raise ... from ..." began with.

    MONAI wraps what fails inside a configuration or a transform in errors that name the component only.

    Examples:
        >>> try:
        ...     raise RuntimeError("Failed to instantiate") from ValueError("no such file")
        ... except RuntimeError as error:
        ...     root_cause(error)
        ValueError('no such file')
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """One line of the text of an exception's root cause: libraries put the place first and what happened last."""
    cause = root_cause(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__

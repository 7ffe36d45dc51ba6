# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One fault, and helpers to say what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2f_monai.utils import root_cause

__all__ = ["Fault", "Seen", "UnexpectedError", "expect", "refused"]

#: Letters of a message that the table shows.
SHOWN = 240


class UnexpectedError(Exception):
    """What was seen is not what was expected; the message says what was."""


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        part: section of the table, such as "labels".
        name: what is wrong, or done.
        expected: the right answer, in a few words.
        run: puts the fault into an empty folder, runs the product on it and returns what was seen; raises
            :class:`UnexpectedError` where that is not right.
        count: inputs, kills or mistakes that the row stands for.
    """

    part: str
    name: str
    expected: str
    run: Callable[[Path], str]
    count: int = 1


@dataclass(frozen=True)
class Seen:
    """What a fault gave.

    Attributes:
        fault: which one.
        text: what was seen, one line.
        right: whether it was what was expected.
        seconds: it took.
    """

    fault: Fault
    text: str
    right: bool
    seconds: float


def expect(holds: bool, seen: str) -> None:
    """Raise :class:`UnexpectedError` with what was seen unless something holds."""
    if not holds:
        raise UnexpectedError(seen)


def refused(action: Callable[[], Any], pattern: str, folder: Path) -> str:
    """Run what must be refused, and return why it was.

    Args:
        action: raises.
        pattern: regular expression that the reason must match.
        folder: of the fault, left out of the reason.

    Raises:
        UnexpectedError: when it was not refused, or for another reason.
    """
    try:
        action()
    except Exception as error:  # MONAI wraps what an expression raises
        reason = " ".join(str(root_cause(error)).split()).replace(f"{folder}/", "")
        text = reason if len(reason) <= SHOWN else f"{reason[: SHOWN - 3]}..."
        expect(re.search(pattern, reason) is not None, f"{type(root_cause(error)).__name__}: {text}")
        return f"refused: {text}"
    raise UnexpectedError("not refused")

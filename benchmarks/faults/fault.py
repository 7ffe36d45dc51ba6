# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One fault, and helpers to say what was seen."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from c2f_monai.utils import root_cause

__all__ = ["Fault", "Seen", "UnexpectedError", "apart", "expect", "refused"]

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


def apart(run: Callable[[], str]) -> tuple[str, bool]:
    """Run a fault in a copy of this process: what was seen, and whether it was right.

    Whatever is raised is what was seen.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if not process:
        torch.set_num_threads(1)  # makes the pool of threads again, before two threads do so at once
        try:
            answer = json.dumps(_answer(run))
        except BaseException as error:
            answer = json.dumps((type(error).__name__, False))
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(process, 0)
    seen, right = json.loads(text) if text else ("the process has ended", False)
    return seen, right


def _answer(run: Callable[[], str]) -> tuple[str, bool]:
    try:
        return run(), True
    except UnexpectedError as error:
        return str(error), False
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}", False


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

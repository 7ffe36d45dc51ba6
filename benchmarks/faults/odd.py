# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One odd input among good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Odd"]


@dataclass(frozen=True)
class Odd:
    """An input that is damaged, of another kind or stored in an unusual way.

    Attributes:
        name: what is odd.
        suffix: of the name of its file, or empty for a folder.
        write: makes it at a place that does not exist yet.
        status: of its row in cases.csv: done, failed or skipped; empty where it has no row.
        told: part of its reason; of one that is done, of its flags, which are empty where this is.
        same: whether its mask is that of the good volume.
        rows: cases that it gives.
    """

    name: str
    suffix: str
    write: Callable[[Path], object]
    status: str
    told: str = ""
    same: bool = False
    rows: int = 1

    @property
    def expected(self) -> str:
        """For the table."""
        if not self.status:
            return "no case"
        cases = f"{self.rows} cases, {self.status}" if self.rows > 1 else self.status
        same = ", the mask of the plain volume" if self.same else ""
        return f"{cases}{f': {self.told}' if self.told else ''}{same}"

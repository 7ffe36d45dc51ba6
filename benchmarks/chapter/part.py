# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A part of an experiment: a command with a folder and a product. Without torch: the job of each part imports this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "ExperimentPart"]

#: The project's folder, which overlays are named from.
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ExperimentPart:
    """One command.

    Attributes:
        name: kind, method, fold and seed.
        folder: where it writes.
        command: words after the interpreter, which runs in the project's folder.
        product: file that is there when the part is complete.
        seconds: rough estimate.
        resumes: an incomplete part goes on when it is started again.
        needs: names of the parts whose product this one reads.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    product: Path
    seconds: float
    resumes: bool = False
    needs: tuple[str, ...] = ()

    @property
    def result(self) -> Path:
        """What is written when the part is complete."""
        return self.folder / "result.json"

    @property
    def kind(self) -> str:
        """The kind of part: training, merge or evaluation."""
        return self.name.split("/")[0]

    def as_json(self) -> dict[str, Any]:
        """What JSON can hold of it, see :meth:`from_json`; its name is the key that it is kept under."""
        return {
            "folder": str(self.folder),
            "command": list(self.command),
            "product": str(self.product),
            "seconds": self.seconds,
            "resumes": self.resumes,
            "needs": list(self.needs),
        }

    @classmethod
    def from_json(cls, name: str, content: Mapping[str, Any]) -> ExperimentPart:
        """The part of a name, from what :meth:`as_json` gave."""
        folder, product = Path(content["folder"]), Path(content["product"])
        command, needs = tuple(content["command"]), tuple(content["needs"])
        return cls(name, folder, command, product, content["seconds"], content["resumes"], needs)

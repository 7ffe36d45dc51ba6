# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What happened to a case in the coarse-to-fine loop, for handlers and users to read."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..utils import StopReason

__all__ = ["CaseRecord", "RoundRecord"]

Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RoundRecord:
    """One round: index 0 is the coarse result, 1..T the fine rounds.

    Attributes:
        index: t.
        dsc: inter-round d(t) = DSC(Z(t-1), Z(t)); None for the coarse result. Of several classes the smallest.
        voxels: foreground voxels of Z(t), all classes together.
        ml: their volume in millilitres; None where the input carries no affine.
        box: ((start, end), ...) of Z(t) along H, W, D, half-open voxels; None where Z(t) is empty.
        seconds: wall time of the round.
    """

    index: int
    dsc: float | None
    voxels: int
    ml: float | None
    box: Box | None
    seconds: float


@dataclass
class CaseRecord:
    """One case.

    Attributes:
        name: file name of the image where the input carries one, else "".
        rounds: the coarse result, then each fine round.
        stop_reason: "converged", "max rounds" or "empty".
        touches_border: the answer reaches a border of the volume: part of the target may lie outside.
        masks: boolean (K, H, W, D) on the CPU, one for each entry of ``rounds``, if the inferer was asked to keep them.
    """

    name: str = ""
    rounds: list[RoundRecord] = field(default_factory=list)
    stop_reason: StopReason | None = None
    touches_border: bool = False
    masks: list[torch.Tensor] = field(default_factory=list)

    @property
    def fine_rounds(self) -> int:
        """Number of fine rounds that were run."""
        return len(self.rounds) - 1

    @property
    def seconds(self) -> float:
        """Wall time of all rounds."""
        return sum(entry.seconds for entry in self.rounds)

    @property
    def flags(self) -> list[str]:
        """What a reader should look at: "nothing found", "not converged", "touches border"."""
        checks = (
            ("nothing found", self.rounds[-1].voxels == 0),
            ("not converged", self.stop_reason == StopReason.MAX_ROUNDS),
            ("touches border", self.touches_border),
        )
        return [name for name, raised in checks if raised]

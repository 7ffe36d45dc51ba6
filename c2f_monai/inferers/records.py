# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What happened to a case in the coarse-to-fine loop, for handlers and users to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from monai.data import MetaTensor

from ..utils import StopReason, case_name

__all__ = ["CaseRecord", "RoundRecord", "box_of", "name_of", "touches_border", "voxel_ml"]

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
        stop_reason: "converged", "max rounds", "fixed rounds" (no stop rule, or the coarse result alone) or "empty".
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


def name_of(inputs: torch.Tensor, index: int) -> str:
    """Name of a batch's case, "" where the input carries no file name."""
    if not isinstance(inputs, MetaTensor):
        return ""
    names = inputs.meta.get("filename_or_obj", "")
    name = names if isinstance(names, (str, Path)) else names[index] if len(names) > index else ""
    return case_name(str(name))


def voxel_ml(inputs: torch.Tensor, index: int) -> float | None:
    """Millilitres of a voxel of a batch's case, None where the input carries no affine."""
    if not isinstance(inputs, MetaTensor):
        return None
    affine = inputs.affine if inputs.affine.dim() == 2 else inputs.affine[index]
    return float(torch.linalg.det(affine[:3, :3].double()).abs()) / 1000.0


def box_of(mask: torch.Tensor) -> Box | None:
    """((start, end), ...) of a (K, H, W, D) mask, half-open."""
    flat = mask.any(dim=0)
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        present = torch.nonzero(flat.amax(dim=others)).flatten()
        if not len(present):
            return None
        box.append((int(present[0]), int(present[-1]) + 1))
    return tuple(box)


def touches_border(mask: torch.Tensor) -> bool:
    """Whether a (K, H, W, D) mask reaches a border of the volume."""
    box = box_of(mask)
    return box is not None and any(lo == 0 or hi == n for (lo, hi), n in zip(box, mask.shape[1:], strict=True))

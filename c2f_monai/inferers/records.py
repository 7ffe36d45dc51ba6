# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What happened to a case in the coarse-to-fine loop, for handlers and users to read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from monai.data import MetaTensor
from tqdm.auto import tqdm

from ..utils import SLICES_KEY, Bounds, StopReason, name_of_case, voxel_volume
from .patches import Patch
from .quality import UNUSUAL, QualityModel

__all__ = [
    "FLAGS",
    "CaseRecord",
    "RoundRecord",
    "RoundRecorder",
    "case_of",
    "name_of",
    "notes_of",
    "plain",
    "spacing_of",
    "stack_cases",
    "touches_border",
    "voxel_ml",
]

#: What a case may be flagged with, beside notes.
FLAGS = (
    "nothing found",
    "not converged",
    StopReason.CYCLE.value,
    "touches border",
    "rescued",
    *UNUSUAL.values(),
    "look at this one",
)


@dataclass(frozen=True)
class RoundRecord:
    """One round: index 0 is the coarse result, 1..T the fine rounds.

    Attributes:
        index: t.
        dsc: inter-round d(t) = DSC(Z(t-1), Z(t)); None for the coarse result. Of several classes the smallest.
        voxels: foreground voxels of Z(t), all classes together.
        ml: their volume in milliliters; None where the input carries no affine.
        box: ((start, end), ...) of Z(t) along H, W, D, half-open voxels; None where Z(t) is empty.
        seconds: wall time of the round.
    """

    index: int
    dsc: float | None
    voxels: int
    ml: float | None
    box: Bounds | None
    seconds: float


@dataclass
class CaseRecord:
    """One case.

    Attributes:
        name: file name of the image where the input carries one, else "".
        rounds: the coarse result, then each fine round.
        stop_reason: "converged", "max rounds", "cycle of two" (the mask goes to and fro between two), "fixed rounds"
            (no threshold, or the coarse result alone) or "empty".
        touches_border: the answer reaches a border of the volume: part of the target may lie outside.
        masks: boolean (K, H, W, D) on the CPU, one for each entry of ``rounds``, if the inferer was asked to keep them.
        notes: further flags, such as "organ not found".
        voxels: foreground voxels of the answer on the working grid, all classes together; None is those of the last
            round.
        rescued: the coarse result had next to nothing, and the answer began where it was most probable.
        signals: agreements in [0, 1] that the answer was made with, see :py:data:`c2f_monai.inferers.SIGNALS`; empty
            without rounds or an answer.
        predicted: DSC that they predict, and the bound above which it lies for 90 % of such cases; None where the
            inferer has no quality model.
        look: the predicted DSC is low.
        seen: float (K, H, W, D) on the CPU, what the saliency transformation sees in the first round, P(0) fused over
            the views, if the inferer was asked to keep it.
        region: boolean (H, W, D) on the CPU, what the answer of the organ lets the networks of a neoplasm see; None
            where that is all of the image.
        traits: where in the field the answer lies and how large the field is, see
            :py:data:`c2f_monai.inferers.TRAITS`; empty where the input carries no affine.
        interval: milliliters between which the true volume lies for 90 % of such cases; None where it is not known.
        unusual: what of size, place and field lies beyond the cases that the quality model was fitted on.
    """

    name: str = ""
    rounds: list[RoundRecord] = field(default_factory=list)
    stop_reason: StopReason | None = None
    touches_border: bool = False
    masks: list[torch.Tensor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    voxels: int | None = None
    rescued: bool = False
    signals: dict[str, float] = field(default_factory=dict)
    predicted: tuple[float, float] | None = None
    look: bool = False
    seen: torch.Tensor | None = None
    region: torch.Tensor | None = None
    traits: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    unusual: list[str] = field(default_factory=list)

    @property
    def fine_rounds(self) -> int:
        """Number of fine rounds that were run."""
        return len(self.rounds) - 1

    @property
    def seconds(self) -> float:
        """Wall time of all rounds."""
        return sum(entry.seconds for entry in self.rounds)

    def judge(
        self,
        signals: dict[str, float],
        model: QualityModel | None,
        ml: float | None = None,
        traits: dict[str, float] | None = None,
    ) -> None:
        """Note the signals and traits of the answer, and what a model, if there is one, predicts from them."""
        self.signals, self.traits = signals, traits or {}
        if model is None:
            return
        self.unusual = model.unusual(self.traits if ml is None else {"ml": ml, **self.traits})
        self.predicted = model.predict(signals)
        if self.predicted is not None:
            self.look = self.predicted[0] < model.look_below
            self.interval = None if ml is None else model.interval(ml, self.predicted[0])

    @property
    def quality(self) -> dict[str, float]:
        """Signals and traits; ``predicted_dsc``, ``dsc_bound``, ``ml_low`` and ``ml_high`` where they are known."""
        predicted = () if self.predicted is None else zip(("predicted_dsc", "dsc_bound"), self.predicted, strict=True)
        interval = () if self.interval is None else zip(("ml_low", "ml_high"), self.interval, strict=True)
        return {**self.signals, **self.traits, **dict(predicted), **dict(interval)}

    @property
    def flags(self) -> list[str]:
        """What a reader should look at: notes, and those of ``FLAGS`` that are raised."""
        raised = (
            (self.rounds[-1].voxels if self.voxels is None else self.voxels) == 0,
            self.stop_reason == StopReason.MAX_ROUNDS,
            self.stop_reason == StopReason.CYCLE,
            self.touches_border,
            self.rescued,
            *(name in self.unusual for name in UNUSUAL.values()),
            self.look,
        )
        return [*self.notes, *(name for name, is_raised in zip(FLAGS, raised, strict=True) if is_raised)]


def name_of(inputs: torch.Tensor, index: int) -> str:
    """Name of a batch's case, "" where the input carries neither a name nor that of its file."""
    return name_of_case(_meta_of(inputs, index))


def notes_of(inputs: torch.Tensor, index: int) -> list[str]:
    """What reading a batch's case has found that a user should know."""
    return [note for note in _meta_of(inputs, index).get("notes", "").split("; ") if note]


def is_stack(inputs: torch.Tensor, index: int) -> bool:
    """Whether a batch's case is a stack of single slices, whose neighbors are none in the body."""
    return bool(_meta_of(inputs, index).get(SLICES_KEY))


def _meta_of(inputs: torch.Tensor, index: int) -> dict[str, str]:
    """Texts of a case's metadata, which a batch holds as lists."""
    if not isinstance(inputs, MetaTensor):
        return {}
    found: dict[str, str] = {}
    for key in ("filename_or_obj", "case", "notes", SLICES_KEY):
        values = inputs.meta.get(key, "")
        if isinstance(values, (list, tuple)):
            values = values[index] if len(values) > index else ""
        found[key] = str(values) if isinstance(values, (str, Path)) else ""
    return found


def _affine_of(inputs: torch.Tensor, index: int) -> torch.Tensor | None:
    """(4, 4) affine of a batch's case in float64, None where the input carries none."""
    if not isinstance(inputs, MetaTensor):
        return None
    return (inputs.affine if inputs.affine.dim() == 2 else inputs.affine[index]).double()


def voxel_ml(inputs: torch.Tensor, index: int) -> float | None:
    """Milliliters of a voxel of a batch's case, None where the input carries no affine."""
    affine = _affine_of(inputs, index)
    return None if affine is None else voxel_volume(affine.cpu()) / 1000.0


def spacing_of(inputs: torch.Tensor, index: int) -> tuple[float, ...] | None:
    """Voxel size in mm along H, W, D of a batch's case, None where the input carries no affine."""
    affine = _affine_of(inputs, index)
    return None if affine is None else tuple(affine[:3, :3].norm(dim=0).tolist())


def plain(x: torch.Tensor) -> torch.Tensor:
    """The tensor without metadata."""
    return x.as_tensor() if isinstance(x, MetaTensor) else x


def case_of(inputs: torch.Tensor, index: int, volume: torch.Tensor) -> torch.Tensor:
    """A batch of one, (1, C, H, W, D), with another image of a batch's case but its affine and file name."""
    affine = _affine_of(inputs, index)
    if affine is None:
        return volume[None]
    return MetaTensor(volume[None], affine=affine, meta=_meta_of(inputs, index))


def stack_cases(cases: Sequence[torch.Tensor]) -> torch.Tensor:
    """``torch.stack`` that does not copy a batch of one: it is a volume of clinical size."""
    return cases[0][None] if len(cases) == 1 else torch.stack(list(cases))


def touches_border(box: Bounds | None, shape: Sequence[int]) -> bool:
    """Whether the box of a mask reaches a border of the volume of shape (H, W, D)."""
    return box is not None and any(hi > lo and (lo == 0 or hi == n) for (lo, hi), n in zip(box, shape, strict=True))


class RoundRecorder:
    """Notes the rounds of a case in its record, with the time since the last note, and moves a progress bar.

    Args:
        record: of the case.
        voxel_ml: milliliters of a voxel; None where it is not known.
        whole: bounds of the volume.
        keep_masks: keep a mask of each round in the record.
        rounds: fine rounds at the most.
        progress: show the bar, on a terminal or in a notebook.
    """

    def __init__(
        self, record: CaseRecord, voxel_ml: float | None, whole: Bounds, keep_masks: bool, rounds: int, progress: bool
    ) -> None:
        self.record, self.voxel_ml, self.whole, self.keep_masks = record, voxel_ml, whole, keep_masks
        # None: no bar where the output is no terminal, such as the log of a cluster's job.
        disable = None if progress else True
        self.bar = tqdm(total=rounds + 1, desc=record.name or "case", unit="round", disable=disable)
        self.since = time.perf_counter()

    def __call__(self, dsc: float | None, mask: Patch) -> None:
        """Note the next round: d(t), None for the coarse result, and Z(t)."""
        voxels, now = mask.voxels, time.perf_counter()
        ml = None if self.voxel_ml is None else voxels * self.voxel_ml
        box = None if mask.empty else mask.bounds
        self.record.rounds.append(RoundRecord(len(self.record.rounds), dsc, voxels, ml, box, now - self.since))
        self.since = now
        if self.keep_masks:
            self.record.masks.append(mask.on(self.whole).cpu())
        self.bar.set_postfix(voxels=voxels, d="-" if dsc is None else f"{dsc:.3f}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """End the bar."""
        self.bar.close()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The rounds of a case, written down while they run."""

from __future__ import annotations

import time

from tqdm.auto import tqdm

from .patches import Bounds, Patch
from .records import CaseRecord, RoundRecord

__all__ = ["RoundRecorder"]


class RoundRecorder:
    """Notes the rounds of a case in its record, with the time since the last note, and moves a progress bar.

    Args:
        record: of the case.
        voxel_ml: millilitres of a voxel; None where it is not known.
        whole: bounds of the volume.
        keep_masks: keep a mask of each round in the record.
        rounds: fine rounds at the most.
        progress: show the bar.
    """

    def __init__(
        self,
        record: CaseRecord,
        voxel_ml: float | None,
        whole: Bounds,
        keep_masks: bool,
        rounds: int,
        progress: bool,
    ) -> None:
        self.record, self.voxel_ml, self.whole, self.keep_masks = record, voxel_ml, whole, keep_masks
        self.bar = tqdm(total=rounds + 1, desc=record.name or "case", unit="round", disable=not progress)
        self.since = time.perf_counter()

    def __call__(self, dsc: float | None, mask: Patch) -> None:
        """Note the next round: d(t), None for the coarse result, and Z(t)."""
        voxels, now = int(mask.values.sum()), time.perf_counter()
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

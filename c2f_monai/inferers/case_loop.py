# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of one volume through the coarse stage and the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from ..transforms.components import filter_components
from ..utils import Bounds, Fusion, Prior, Result, View, foreground_box, grow_bounds
from .fusion import ViewFusion
from .network_caller import NetworkCaller
from .patches import EMPTY, Patch, align_bounds, patch_dice, whole_bounds
from .quality import QualityModel, expected_dice, signals_of, traits_of, view_dice
from .records import CaseRecord, RoundRecorder, touches_border
from .stopping import StopRule
from .views import CropRule, VolumeInView

if TYPE_CHECKING:
    from .coarse_to_fine import CoarseToFineInferer

__all__ = ["Case", "CaseLoop", "judge_answer"]

#: A mask of fewer voxels says too little to look around; a rescued answer of fewer is none.
FEW = 8
#: d(T) from which a rescued answer counts: it had no mask to begin with, so the rounds have to agree on one.
RESCUE_AGREEMENT = 0.8
#: P(0) below which nothing is looked at, whatever its maximum.
RESCUE_FLOOR = 0.05


@dataclass(frozen=True)
class Case:
    """A volume on its way through the loop, and what it is run with.

    Attributes:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        views: the views that are fused.
        caller: the network, which tells classes and slab spec.
        rule: how crops are cut.
        initial: (K, H, W, D) outside answer; None where the coarse networks give P(0).
        label: (K, H, W, D) truth that the boxes are taken around; None where the last mask is.
        spacing: mm of a voxel along each axis; None where it is not known.
    """

    volume: torch.Tensor
    views: list[View]
    caller: NetworkCaller
    rule: CropRule
    initial: torch.Tensor | None
    label: torch.Tensor | None
    spacing: tuple[float, ...] | None = None

    def in_views(self) -> list[VolumeInView]:
        """The volume along each view."""
        return [VolumeInView(self.volume, view, self.caller, self.rule) for view in self.views]

    def within(self, bounds: Bounds) -> Case:
        """The same case of a part of its volume."""
        return replace(self, volume=self.volume[tuple(slice(*side) for side in bounds)])


@dataclass
class _State:
    """Where the loop stands after round t.

    Attributes:
        prior: P(t).
        mask: Z(t); before the first round of a rescued case, where this looks.
        raw: the mask before the component filter, (K, h, w, d) bool on the bounds of ``prior``; None at t = 0.
        changes: d(1) .. d(t).
        cycle: Z(t) is Z(t-2), but not Z(t-1).
        view_dsc: how far the views agree; None at t = 0 and for a single view.
    """

    prior: Patch
    mask: Patch
    raw: torch.Tensor | None = None
    changes: list[float] = field(default_factory=list)
    cycle: bool = False
    view_dsc: float | None = None

    def forget(self) -> None:
        """Nothing is found: all of P(t) counts as removed."""
        self.raw = torch.ones_like(self.prior.values, dtype=torch.bool)
        self.mask = Patch.trimmed(~self.raw, self.prior.bounds)


class CaseLoop:
    """The loop of Algorithms 1 and 2 on one volume [3.3.2, 3.4.2].

    Args:
        settings: the inferer, whose arguments the loop follows.
        case: the volume.
    """

    def __init__(self, settings: CoarseToFineInferer, case: Case) -> None:
        self.settings, self.case = settings, case
        self.whole, self.voxels = whole_bounds(case.volume.shape), case.volume.numel()

    def run(self, record: CaseRecord, voxel_ml: float | None) -> tuple[torch.Tensor, torch.Tensor]:
        """P(0) and Z(0), then round after round.

        Args:
            record: is filled.
            voxel_ml: milliliters of a voxel; None where it is not known.

        Returns:
            the last P(t) and Z(t), (K, H, W, D) both.
        """
        settings, case, rule = self.settings, self.case, self._rule()
        note = RoundRecorder(record, voxel_ml, self.whole, settings.keep_rounds, rule.max_rounds, settings.progress)
        prior, raw = self._coarse() if case.initial is None else self._given(case.initial)
        now = _State(prior, Patch.trimmed(raw, prior.bounds))
        probability, first = prior.on(self.whole), now.mask
        del prior, raw
        note(None, first)
        if settings.rescue is not None and case.label is None and rule.max_rounds and first.voxels < FEW:
            now.mask = self._most_probable(now.prior, settings.rescue)
            record.rescued = not now.mask.empty
        record.seen = self._kept(now.prior, now.mask)
        self._refine(now, rule, note)
        if record.rescued and not _is_plausible(now.mask, now.changes):
            now.forget()
            record.rescued = False
        note.close()
        record.stop_reason = rule.reason(now.changes, now.cycle, now.mask.empty, over=True)
        prior, mask = now.prior, now.mask
        if now.raw is not None:
            prior.values.masked_fill_(now.raw & ~mask.on(prior.bounds), 0.0)
            prior, mask = self._into(probability, prior, mask, record.rescued)
        record.voxels = mask.voxels
        if now.changes and record.voxels:
            expected = expected_dice(prior.values, mask.on(prior.bounds))
            signals = signals_of(now.view_dsc, now.changes[-1], patch_dice(first, mask), expected)
            judge_answer(record, signals, mask, case.volume.shape, case.spacing, voxel_ml, settings.quality)
        record.touches_border = touches_border(mask.bounds, case.volume.shape)
        return probability, mask.on(self.whole)

    def _refine(self, now: _State, rule: StopRule, note: RoundRecorder) -> None:
        """Round after round, until the rule ends it."""
        label, earlier = self.case.label, None
        oracle = None if label is None else Patch.trimmed((label > 0.5).to(self.case.volume.device), self.whole)
        while rule.reason(now.changes, now.cycle, (box := now.mask if oracle is None else oracle).empty) is None:
            last, before = now.prior, now.mask
            now.prior, now.raw, now.view_dsc = self._fine(self._seen(last, before), box)
            if (share := self._share(len(now.changes) + 1)) < 1.0:
                now.prior, now.raw = self._mixed(last, now.prior, share)
            now.mask = Patch.trimmed(self._filter(now.raw), now.prior.bounds)
            now.changes.append(patch_dice(before, now.mask))
            now.cycle = earlier is not None and now.mask.same_as(earlier) and not now.mask.same_as(before)
            earlier = before
            note(now.changes[-1], now.mask)
        if now.cycle and self.settings.resolve_cycles:
            now.prior, now.raw = self._mixed(last, now.prior, 0.5)
            now.mask = Patch.trimmed(self._filter(now.raw), now.prior.bounds)

    def _rule(self) -> StopRule:
        rule = self.settings.stopping if self.case.caller.has_fine else StopRule(dice=None, max_rounds=0)
        return replace(rule, stop_on_cycle=True) if self.settings.resolve_cycles else rule

    def _into(self, probability: torch.Tensor, last: Patch, mask: Patch, rescued: bool = False) -> tuple[Patch, Patch]:
        """The answer's probability and mask; the first takes the place of P(0) in ``probability``, (K, H, W, D).

        Of a rescued case it is P(T) whatever ``result`` says: the mean with a P(0) that saw nothing is nothing again.
        """
        place = last.within(self.whole)
        if self.settings.result == Result.MEAN and not mask.empty and not rescued:
            last, mask = self._mean(probability[place], last)
        probability.zero_()[place] = last.values
        return last, mask

    def _most_probable(self, prior: Patch, fraction: float) -> Patch:
        """The largest component where P(0) is at least this fraction of its maximum; empty where that is next to 0."""
        top = float(prior.values.max()) if prior.values.numel() else 0.0
        near = prior.values >= max(fraction * top, RESCUE_FLOOR)
        return Patch.trimmed(torch.stack([filter_components(one, 1.0, self.voxels) for one in near]), prior.bounds)

    def _share(self, number: int) -> float:
        """Damping a of a round, counted from 1."""
        return self.settings.damping * float((2.0 / (number + 1)) ** self.settings.damping_decay)

    def _mixed(self, last: Patch, prior: Patch, share: float) -> tuple[Patch, torch.Tensor]:
        """``share`` of P(t) and the rest of P(t-1) on the bounds of P(t), and the unfiltered mask of it."""
        mixed = torch.lerp(last.on(prior.bounds), prior.values, share)
        return Patch(mixed, prior.bounds), mixed >= self.settings.threshold

    def _mean(self, coarse: torch.Tensor, last: Patch) -> tuple[Patch, Patch]:
        """Mean probability and its mask where the last round has one; what that does not see or rules out is not found.

        Args:
            coarse: (K, h, w, d) P(0) on the bounds of ``last``.
            last: P(T) without what the component filter removed.
        """
        mean = (coarse + last.values).mul_(0.5).masked_fill_(last.values == 0, 0.0)
        raw = mean >= self.settings.threshold
        found = self._filter(raw)
        return Patch(mean.masked_fill_(raw & ~found, 0.0), last.bounds), Patch.trimmed(found, last.bounds)

    def _coarse(self) -> tuple[Patch, torch.Tensor]:
        """P(0) where it is not zero and Z(0) on the same bounds."""
        case, bounds, air = self.case, self.whole, self.settings.air_threshold
        if air is not None:
            body = foreground_box(case.volume > air)
            bounds = EMPTY if body is None else align_bounds(body, case.rule.multiple, case.volume.shape)
        part = case.within(bounds)
        fusion = self._fusion(part.volume.shape, self.settings.coarse_fusion)
        for seen in part.in_views() if part.volume.numel() else []:
            for start, values in seen.coarse():
                fusion.add(values, seen.view.axis, start)
        probability, mask = fusion.result()
        return Patch(probability, bounds), mask

    def _given(self, initial: torch.Tensor) -> tuple[Patch, torch.Tensor]:
        """P(0) and Z(0) from an outside answer (K, H, W, D), which is not changed."""
        probability = initial.to(self.case.volume.device, self.case.caller.dtype, copy=True)
        return Patch(probability, self.whole), probability >= self.settings.threshold

    def _fine(self, prior: Patch | None, box: Patch) -> tuple[Patch, torch.Tensor, float | None]:
        """P(t) where it is not zero, the unfiltered Z(t) on the same bounds, and how far the views agree."""
        # Along the slices a slab beside the mask still speaks of its far neighbors.
        case, slab = self.case, self.case.caller.slab
        reach = max(case.rule.reach(case.volume.shape), slab.in_reach + slab.out_reach)
        bounds = grow_bounds(box.bounds, reach, case.volume.shape)
        fusion = self._fusion([stop - start for start, stop in bounds], self.settings.fine_fusion)
        masks = []
        for seen in case.in_views():
            values = seen.fine(prior, box, bounds)
            masks.append(values >= self.settings.threshold)
            fusion.add(values)
        probability, raw = fusion.result()
        return Patch(probability, bounds), raw, view_dice(masks)

    def _fusion(self, shape: Sequence[int], fusion: Fusion) -> ViewFusion:
        caller, views = self.case.caller, self.case.views
        shape, axis = (caller.classes, *shape), views[0].axis if len(views) == 1 else 0
        threshold, device = self.settings.threshold, self.case.volume.device
        return ViewFusion(shape, len(views), fusion, threshold, caller.dtype, device, axis)

    def _seen(self, probability: Patch, mask: Patch) -> Patch | None:
        """What g sees of the last round; None without g."""
        if not self.case.caller.has_saliency:
            return None
        of_masks = self.settings.prior == Prior.MASK
        return Patch(mask.values.to(probability.values.dtype), mask.bounds) if of_masks else probability

    def _kept(self, probability: Patch, mask: Patch) -> torch.Tensor | None:
        """A copy of what g sees, for the record; only with ``keep_seen``: networks without rounds know of no g."""
        seen = self._seen(probability, mask) if self.settings.keep_seen else None
        return None if seen is None else seen.on(self.whole).cpu().clone()

    def _filter(self, mask: torch.Tensor) -> torch.Tensor:
        fraction = self.settings.component_fraction
        return torch.stack([filter_components(one, fraction, self.voxels) for one in mask]) if fraction else mask


def judge_answer(
    record: CaseRecord,
    signals: dict[str, float],
    mask: Patch,
    shape: Sequence[int],
    spacing: tuple[float, ...] | None,
    voxel_ml: float | None,
    model: QualityModel | None,
) -> None:
    """Note how far to trust an answer: its signals, and its size and place in a volume of a shape.

    Args:
        record: is filled.
        signals: of quality, see :py:func:`signals_of`.
        mask: Z(T), not empty, in the volume's voxels.
        shape: (H, W, D) of the volume.
        spacing: mm of a voxel along its sides; None where it is not known.
        voxel_ml: milliliters of a voxel; None where it is not known.
        model: predicts the DSC; None leaves the signals.
    """
    traits = None if spacing is None else traits_of(mask.values, mask.bounds, shape, spacing)
    record.judge(signals, model, None if voxel_ml is None else mask.voxels * voxel_ml, traits)


def _is_plausible(mask: Patch, changes: Sequence[float]) -> bool:
    """Whether a rescued answer counts: it is no speck, and the last two rounds agree on it."""
    return bool(changes) and mask.voxels >= FEW and changes[-1] >= RESCUE_AGREEMENT

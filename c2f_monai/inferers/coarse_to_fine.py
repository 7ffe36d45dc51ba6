# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop on whole volumes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.components import filter_components
from ..transforms.conflicts import resolve_conflicts
from ..utils import (
    Bounds,
    Fusion,
    Prior,
    Result,
    View,
    amp_dtype_on,
    check_amp_dtype,
    check_window,
    foreground_box,
    grow_bounds,
    unwrap,
)
from .fusion import ViewFusion, check_fusion, check_mask_arguments, move_to_mask
from .network_caller import NetworkCaller, network_kind
from .patches import EMPTY, Patch, align_bounds, patch_dice, whole_bounds
from .quality import QualityModel, expected_dice, signals_of, traits_of, view_dice
from .records import (
    CaseRecord,
    RoundRecorder,
    name_of,
    notes_of,
    plain,
    spacing_of,
    stack_cases,
    touches_border,
    voxel_ml,
)
from .stopping import DEFAULT_STOPPING, StopRule
from .views import CropRule, VolumeInView

__all__ = ["CoarseToFineInferer"]

#: A mask of fewer voxels says too little to look around; a rescued answer of fewer is none.
FEW = 8
#: d(T) from which a rescued answer counts: it had no mask to begin with, so the rounds have to agree on one.
RESCUE_AGREEMENT = 0.8
#: P(0) below which nothing is looked at, whatever its maximum.
RESCUE_FLOOR = 0.05


class CoarseToFineInferer(Inferer):
    """
    Coarse-to-fine inference on volumes: P(0) = f_C(X), then P(t) = f_F(Crop[X * g(P(t-1)); Z(t-1)]) until the mask
    rests [3.3.2, 3.4; Algorithms 1 and 2].

    The coarse networks run on whole slices of each view; the views are fused; then, round after round, the fine
    networks run on a crop of each slab around the last mask. The defaults are the end-to-end approach (RSTN). The
    step-wise approach is ``fusion="vote", prior="mask", margin=30`` with a network without saliency.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        views: names of the views to use, any non-empty subset of the network's; None for all of the network's.
        fusion: "mean" or "vote", or a pair for the coarse stage and the fine rounds (the original step-wise code:
            ``("vote", "mean")``).
        prior: what the saliency transformation sees of the last round: "probability" (unfiltered) or "mask".
        margin: frame around the box of the last mask, pixels of the working grid; None takes whole slices.
        crop_multiple: sides of crops and of whole slices are multiples of it; 1 reproduces the original exactly with
            networks that take any size.
        min_size: smallest side of a crop or whole slice, pixels; small ones carry no context and break instance norm.
        max_margin: for diagnosis, the margins of every box are drawn from {0..max_margin} as in training, with a fixed
            seed; None is ``margin`` everywhere.
        threshold: probability at and above which a voxel is foreground.
        stopping: when the loop ends, see :py:class:`StopRule`. Defaults to d(t) >= 0.95 or ten rounds.
        component_fraction: after each fine round 6-connected components smaller than this fraction of the largest
            leave the mask; 0 keeps all, 0.5 is the original code.
        window: (low, high) HU to clip and scale slab by slab; None where inputs are in [0, 1] already.
        pixels_per_batch: bound on slabs times height times width in one call of the network.
        amp_dtype: "bfloat16", "float16" or "auto" autocast around the convolutional networks, see
            :py:func:`c2f_monai.utils.amp_dtype_on`; None for float32.
        device: where slabs are sent; None for the network's device.
        volume_device: where volumes and probabilities live; None for the input's device.
        progress: show a bar for each case.
        keep_rounds: keep the mask of every round in the records.
        air_threshold: where a voxel at or below it is air, such as -500 HU, the coarse stage leaves out the slices and
            borders of the volume that are all air, as far as multiples of ``crop_multiple``; in the unit of the inputs.
            Probabilities change little, since what lies beyond a slice is 0 to the network as air is. None runs the
            whole volume.
        exclusive: give a voxel that several classes claim to the one with the largest mean of the views'
            probabilities, under vote too [3.6]; the others come back below ``threshold``. False lets classes overlap,
            such as an organ and the neoplasm in it.
        result: "last" is P(T), the method; "mean" is the mean of P(0) and P(T), where two networks see the same target
            at two scales, and nothing where the rounds end with nothing; it takes the fusion "mean". The rounds
            themselves, their boxes and d(t), are those of the method either way.
        rescue: where Z(0) has less than eight voxels, the first round looks where P(0) is at least this fraction of
            its maximum, in the largest component; the answer counts only where the last two rounds agree (d(T) >= 0.8)
            on a mask of eight voxels or more, else nothing is found; it is P(T), also with the result "mean". None
            leaves such a case without an answer.
        damping: a in P(t) <- a P(t) + (1 - a) P(t-1), in (0, 1]; below 1 it takes the fusion "mean" in the rounds. 1
            is the method.
        damping_decay: q in [0, 1] for steps that become smaller: in round t, a is ``damping * (2 / (t + 1)) ** q``. 0
            keeps it the same; damping 0.5 and 1 here make P(t) the mean of P(0) and all rounds (Mann's iteration).
        resolve_cycles: end the loop in a cycle of two masks, with the mean of both probabilities.
        quality: predicts each case's DSC in its record; None writes the signals alone.
        keep_seen: keep in the records what the saliency transformation sees in the first round. Defaults to False.

    Attributes:
        records: one :py:class:`CaseRecord` for each case of the latest call.

    Raises:
        TypeError: when ``stopping`` is no :py:class:`StopRule`.
        ValueError: for arguments out of range.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from c2f_monai.inferers import CoarseToFineInferer, StopRule
        >>> from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
        >>> small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3)
        >>> network = CoarseToFineNet(small, small, SaliencyTransform).eval()
        >>> inferer = CoarseToFineInferer(window=(-100, 240), stopping=StopRule(dice=0.95, max_rounds=2))
        >>> probability = inferer(torch.randint(-1000, 1000, (1, 1, 32, 24, 16)), network)
        >>> probability.shape
        torch.Size([1, 1, 32, 24, 16])

        Another model's answer starts the rounds, and the coarse networks are not needed:

        >>> fine_alone = CoarseToFineNet(None, small, SaliencyTransform).eval()
        >>> other = torch.zeros(1, 1, 32, 24, 16)
        >>> other[..., 10:20, 5:15, 4:9] = 0.9
        >>> refined = inferer(torch.zeros(1, 1, 32, 24, 16), fine_alone, initial=other)
        >>> inferer.records[0].rounds[0].voxels
        500
    """

    def __init__(
        self,
        views: Sequence[str] | None = None,
        fusion: str | Sequence[str] = Fusion.MEAN,
        prior: str = Prior.PROBABILITY,
        margin: int | None = 20,
        crop_multiple: int = 16,
        min_size: int = 0,
        max_margin: int | None = None,
        threshold: float = 0.5,
        stopping: StopRule = DEFAULT_STOPPING,
        component_fraction: float = 0.0,
        window: Sequence[float] | None = None,
        pixels_per_batch: int = 16 * 512 * 512,
        amp_dtype: str | torch.dtype | None = None,
        device: torch.device | str | None = None,
        volume_device: torch.device | str | None = None,
        progress: bool = False,
        keep_rounds: bool = False,
        air_threshold: float | None = None,
        exclusive: bool = False,
        result: str = Result.LAST,
        rescue: float | None = None,
        damping: float = 1.0,
        damping_decay: float = 0.0,
        resolve_cycles: bool = False,
        quality: QualityModel | None = None,
        keep_seen: bool = False,
    ) -> None:
        for name, value, least in (
            ("margin", 0 if margin is None else margin, 0),
            ("crop_multiple", crop_multiple, 1),
            ("min_size", min_size, 0),
            ("max_margin", 0 if max_margin is None else max_margin, 0),
            ("pixels_per_batch", pixels_per_batch, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        check_mask_arguments(threshold, component_fraction)
        if not isinstance(stopping, StopRule):
            raise TypeError(
                f"stopping must be a StopRule, such as StopRule(dice=0.95, max_rounds=10), got {stopping!r}."
            )
        self.views = None if views is None else [View(view) for view in views]
        if self.views is not None and (not self.views or len(set(self.views)) != len(self.views)):
            raise ValueError(f"views must be different names, at least one, got {list(views or [])}.")
        self.coarse_fusion, self.fine_fusion = check_fusion(fusion)
        self.prior = Prior(prior)
        self.keep_seen = keep_seen
        self.rule = CropRule(margin, crop_multiple, min_size, max_margin)
        self.threshold = threshold
        self.stopping = stopping
        self.component_fraction = component_fraction
        self.window = None if window is None else check_window(tuple(window))  # type: ignore[arg-type]
        self.pixels_per_batch = pixels_per_batch
        self.amp_dtype = check_amp_dtype(amp_dtype)
        self.device = device
        self.volume_device = volume_device
        self.progress = progress
        self.keep_rounds = keep_rounds
        self.air_threshold = air_threshold
        self.exclusive = exclusive
        self.result = Result(result)
        if self.result == Result.MEAN and Fusion.VOTE in (self.coarse_fusion, self.fine_fusion):
            raise ValueError("result mean is a mean of probabilities: with fusion vote set result to last.")
        for name, share in (("rescue", 1.0 if rescue is None else rescue), ("damping", damping)):
            if not 0.0 < share <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1, got {share}.")
        if not 0.0 <= damping_decay <= 1.0:
            raise ValueError(f"damping_decay must lie in [0, 1], got {damping_decay}.")
        if (damping < 1.0 or damping_decay) and self.fine_fusion == Fusion.VOTE:
            raise ValueError(
                "damping mixes probabilities: with fusion vote set it to 1 and damping_decay to 0, or fusion to "
                '["vote", "mean"].'
            )
        self.rescue, self.damping, self.damping_decay = rescue, damping, damping_decay
        self.resolve_cycles = resolve_cycles
        self.quality = quality
        self.records: list[CaseRecord] = []

    @torch.no_grad()
    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        initial: torch.Tensor | None = None,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            inputs: (B, 1, H, W, D) RAS volumes, any sides from 1 voxel up, in HU where ``window`` is set, else [0, 1].
            network: :py:class:`c2f_monai.networks.CoarseToFineNet`, also scripted or wrapped, in evaluation mode.
            initial: (B, K, H, W, D) probability or mask of any other model on the grid of the inputs: it is P(0), and
                where it is at least ``threshold`` is Z(0); the coarse networks are not run, and the network may be
                without them. None is the method.
            label: (B, K, H, W, D) true mask for the oracle box, a diagnostic: in every round each slab is cropped
                around it instead of around the last mask, and slabs without it are not run. None is the method.

        Returns:
            (B, K, H, W, D) probabilities, float32 (float64 with a float64 network); at and above ``threshold`` is the
            mask, Z(T) where ``result`` is "last": voxels that the component filter removed are 0. A MetaTensor where
            the input is one.

        Raises:
            ValueError: for another shape of inputs, initial or label, an initial that is neither probability nor mask,
                or views or a coarse part that the network does not have.
        """
        result, mask = self.segment(inputs, network, initial, label)
        if self.exclusive:
            mask = stack_cases([resolve_conflicts(*case) for case in zip(result, mask, strict=True)])
        if self.exclusive or Fusion.VOTE in (self.coarse_fusion, self.fine_fusion):
            move_to_mask(result, mask, self.threshold)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    @torch.no_grad()
    def segment(
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        initial: torch.Tensor | None = None,
        label: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last round's two answers, which differ under vote: how sure the views are, and what they decide.

        Args:
            inputs: (B, 1, H, W, D), as for the call.
            network: as for the call.
            initial: as for the call.
            label: as for the call.

        Returns:
            the mean of the views' probabilities (B, K, H, W, D), 0 where the component filter removed a voxel, and the
            mask (B, K, H, W, D) bool, Z(T) where ``result`` is "last", in which classes may overlap. Plain tensors.

        Raises:
            ValueError: as the call.
        """
        if inputs.dim() != 5 or inputs.shape[1] != 1 or min(inputs.shape) < 1:
            shape = tuple(inputs.shape)
            raise ValueError(f"inputs must have shape (B, 1, H, W, D) with sides of at least 1, got {shape}.")
        module = unwrap(network)
        if module.training:
            warnings.warn("the network is in training mode: call network.eval() before inference.", stacklevel=2)
        volumes = plain(inputs).to(self.volume_device or inputs.device)
        caller, views = self._caller(module, volumes), self._views(module)
        if initial is None and not caller.has_coarse:
            raise ValueError("the network has no coarse part: give initial, an answer that the rounds start from.")
        starts, labels = (
            _by_case(name, given, (len(inputs), caller.classes, *inputs.shape[2:]))
            for name, given in (("initial", initial), ("label", label))
        )
        if initial is not None:
            _check_initial(initial)
        self.records = [CaseRecord(name_of(inputs, i), notes=notes_of(inputs, i)) for i in range(len(volumes))]
        answers = []
        # An outer autocast keeps the 16-bit copies of the weights from one call to the next.
        with torch.autocast(caller.device.type, enabled=False):
            for i, record in enumerate(self.records):
                case = _Case(volumes[i, 0], views, caller, self.rule, starts[i], labels[i])
                answers.append(self._run(case, record, voxel_ml(inputs, i), spacing_of(inputs, i)))
        confidence, mask = (stack_cases(column) for column in zip(*answers, strict=True))
        return confidence, mask

    def _views(self, module: torch.nn.Module) -> list[View]:
        names = [View(name) for name in module.view_names]  # type: ignore[union-attr]
        missing = [view.value for view in self.views or [] if view not in names]
        if missing:
            raise ValueError(f"the network has no networks for the views {missing}, it has {[v.value for v in names]}.")
        return self.views or names

    def _caller(self, module: torch.nn.Module, volumes: torch.Tensor) -> NetworkCaller:
        """The network as it is run: what it has to do to itself before inference, it does."""
        dtype, device = network_kind(module, volumes)
        prepare = getattr(module, "for_inference", None)
        device = device if self.device is None else torch.device(self.device)
        amp_dtype = amp_dtype_on(self.amp_dtype, device)
        prepared = module if prepare is None else prepare(amp_dtype)
        return NetworkCaller(prepared, dtype, device, amp_dtype, self.pixels_per_batch, self.window)

    def _run(
        self, case: _Case, record: CaseRecord, voxel_ml: float | None, spacing: tuple[float, ...] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The way of a volume: P(0) and Z(0), then round after round; the last P(t) and Z(t), (K, H, W, D) both."""
        whole = whole_bounds(case.volume.shape)
        rule = self._rule(case)
        note = RoundRecorder(record, voxel_ml, whole, self.keep_rounds, rule.max_rounds, self.progress)

        prior, raw = self._coarse(case) if case.initial is None else self._given(case, case.initial)
        mask, probability = Patch.trimmed(raw, prior.bounds), prior.on(whole)
        del raw
        note(None, mask)
        first, view_dsc, earlier, cycle = mask, None, None, False
        if self.rescue is not None and case.label is None and rule.max_rounds and int(mask.values.sum()) < FEW:
            mask = self._most_probable(prior, self.rescue, case.volume.numel())
            record.rescued = not mask.empty

        record.seen = self._kept(case, prior, mask, whole)

        oracle = None if case.label is None else Patch.trimmed((case.label > 0.5).to(case.volume.device), whole)
        changes: list[float] = []
        while rule.reason(changes, cycle, (box := mask if oracle is None else oracle).empty) is None:
            last = prior
            prior, raw, view_dsc = self._fine(case, self._seen(case, prior, mask), box)
            if (share := self._share(len(changes) + 1)) < 1.0:
                prior, raw = self._mixed(last, prior, share)
            new = Patch.trimmed(self._filter(raw, case.volume.numel()), prior.bounds)
            changes.append(patch_dice(mask, new))
            cycle = earlier is not None and new.same_as(earlier) and not new.same_as(mask)
            earlier, mask = mask, new
            note(changes[-1], mask)
        if cycle and self.resolve_cycles:
            prior, raw = self._mixed(last, prior, 0.5)
            mask = Patch.trimmed(self._filter(raw, case.volume.numel()), prior.bounds)
        if record.rescued and not _is_plausible(mask, changes):
            mask, record.rescued = Patch.trimmed(torch.zeros_like(raw := torch.ones_like(raw)), prior.bounds), False

        note.close()
        record.stop_reason = rule.reason(changes, cycle, mask.empty, over=True)
        if changes:
            prior.values.masked_fill_(raw & ~mask.on(prior.bounds), 0.0)
            prior, mask = self._into(probability, prior, mask, record.rescued)
        record.voxels = int(mask.values.sum())
        if changes and record.voxels:
            agreements = (view_dsc, changes[-1], patch_dice(first, mask))
            _judge(record, agreements, prior, mask, case.volume.shape, spacing, voxel_ml, self.quality)
        record.touches_border = touches_border(mask.bounds, case.volume.shape)
        return probability, mask.on(whole)

    def _rule(self, case: _Case) -> StopRule:
        rule = self.stopping if case.caller.has_fine else StopRule(dice=None, max_rounds=0)
        return replace(rule, stop_on_cycle=True) if self.resolve_cycles else rule

    def _into(self, probability: torch.Tensor, last: Patch, mask: Patch, rescued: bool = False) -> tuple[Patch, Patch]:
        """The answer's probability and mask; the first takes the place of P(0) in ``probability``, (K, H, W, D).

        Of a rescued case it is P(T) whatever ``result`` says: the mean with a P(0) that saw nothing is nothing again.
        """
        place = last.within(whole_bounds(probability.shape[1:]))
        if self.result == Result.MEAN and not mask.empty and not rescued:
            last, mask = self._mean(probability[place], last, probability[0].numel())
        probability.zero_()[place] = last.values
        return last, mask

    def _most_probable(self, prior: Patch, fraction: float, voxels: int) -> Patch:
        """The largest component where P(0) is at least this fraction of its maximum; empty where that is next to 0."""
        top = float(prior.values.max()) if prior.values.numel() else 0.0
        near = prior.values >= max(fraction * top, RESCUE_FLOOR)
        return Patch.trimmed(torch.stack([filter_components(one, 1.0, voxels) for one in near]), prior.bounds)

    def _share(self, number: int) -> float:
        """Damping a of a round, counted from 1."""
        return self.damping * float((2.0 / (number + 1)) ** self.damping_decay)

    def _mixed(self, last: Patch, prior: Patch, share: float) -> tuple[Patch, torch.Tensor]:
        """``share`` of P(t) and the rest of P(t-1) on the bounds of P(t), and the unfiltered mask of it."""
        mixed = torch.lerp(last.on(prior.bounds), prior.values, share)
        return Patch(mixed, prior.bounds), mixed >= self.threshold

    def _mean(self, coarse: torch.Tensor, last: Patch, voxels: int) -> tuple[Patch, Patch]:
        """Mean probability and its mask where the last round has one; what that does not see or rules out is not found.

        Args:
            coarse: (K, h, w, d) P(0) on the bounds of ``last``.
            last: P(T) without what the component filter removed.
            voxels: of the whole volume.
        """
        mean = (coarse + last.values).mul_(0.5).masked_fill_(last.values == 0, 0.0)
        raw = mean >= self.threshold
        found = self._filter(raw, voxels)
        return Patch(mean.masked_fill_(raw & ~found, 0.0), last.bounds), Patch.trimmed(found, last.bounds)

    def _coarse(self, case: _Case) -> tuple[Patch, torch.Tensor]:
        """P(0) where it is not zero and Z(0) on the same bounds."""
        bounds = whole_bounds(case.volume.shape)
        if self.air_threshold is not None:
            body = foreground_box(case.volume > self.air_threshold)
            bounds = EMPTY if body is None else align_bounds(body, self.rule.multiple, case.volume.shape)
        part = replace(case, volume=case.volume[tuple(slice(*side) for side in bounds)])
        fusion = self._fusion(part, part.volume.shape, self.coarse_fusion)
        for seen in part.in_views() if part.volume.numel() else []:
            for start, values in seen.coarse():
                fusion.add(values, seen.view.axis, start)
        probability, mask = fusion.result()
        return Patch(probability, bounds), mask

    def _given(self, case: _Case, initial: torch.Tensor) -> tuple[Patch, torch.Tensor]:
        """P(0) and Z(0) from an outside answer (K, H, W, D), which is not changed."""
        probability = initial.to(case.volume.device, case.caller.dtype, copy=True)
        return Patch(probability, whole_bounds(case.volume.shape)), probability >= self.threshold

    def _fine(self, case: _Case, prior: Patch | None, box: Patch) -> tuple[Patch, torch.Tensor, float | None]:
        """P(t) where it is not zero, the unfiltered Z(t) on the same bounds, and how far the views agree."""
        # Along the slices a slab beside the mask still speaks of its far neighbors.
        slab = case.caller.slab
        bounds = grow_bounds(
            box.bounds, max(self.rule.reach(case.volume.shape), slab.in_reach + slab.out_reach), case.volume.shape
        )
        fusion = self._fusion(case, [stop - start for start, stop in bounds], self.fine_fusion)
        masks = []
        for seen in case.in_views():
            values = seen.fine(prior, box, bounds)
            masks.append(values >= self.threshold)
            fusion.add(values)
        probability, raw = fusion.result()
        return Patch(probability, bounds), raw, view_dice(masks)

    def _fusion(self, case: _Case, shape: Sequence[int], fusion: Fusion) -> ViewFusion:
        caller, count = case.caller, len(case.views)
        shape, axis = (caller.classes, *shape), case.views[0].axis if count == 1 else 0
        return ViewFusion(shape, count, fusion, self.threshold, caller.dtype, case.volume.device, axis)

    def _seen(self, case: _Case, probability: Patch, mask: Patch) -> Patch | None:
        """What g sees of the last round; None without g."""
        if not case.caller.has_saliency:
            return None
        return Patch(mask.values.to(probability.values.dtype), mask.bounds) if self.prior == Prior.MASK else probability

    def _kept(self, case: _Case, probability: Patch, mask: Patch, whole: Bounds) -> torch.Tensor | None:
        """A copy of what g sees, for the record; only with ``keep_seen``: networks without rounds know of no g."""
        seen = self._seen(case, probability, mask) if self.keep_seen else None
        return None if seen is None else seen.on(whole).cpu().clone()

    def _filter(self, mask: torch.Tensor, voxels: int) -> torch.Tensor:
        if not self.component_fraction:
            return mask
        return torch.stack([filter_components(one, self.component_fraction, voxels) for one in mask])


@dataclass(frozen=True)
class _Case:
    """A volume on its way through the loop, and what it is run with.

    Attributes:
        volume: (H, W, D), HU or [0, 1] as ``caller.window`` says.
        views: the views that are fused.
        caller: the network, which tells classes and slab spec.
        rule: how crops are cut.
        initial: (K, H, W, D) outside answer; None where the coarse networks give P(0).
        label: (K, H, W, D) truth that the boxes are taken around; None where the last mask is.
    """

    volume: torch.Tensor
    views: list[View]
    caller: NetworkCaller
    rule: CropRule
    initial: torch.Tensor | None
    label: torch.Tensor | None

    def in_views(self) -> list[VolumeInView]:
        """The volume along each view."""
        return [VolumeInView(self.volume, view, self.caller, self.rule) for view in self.views]


def _judge(
    record: CaseRecord,
    agreements: tuple[float | None, ...],
    prior: Patch,
    mask: Patch,
    shape: Sequence[int],
    spacing: tuple[float, ...] | None,
    voxel_ml: float | None,
    model: QualityModel | None,
) -> None:
    """Note how far to trust an answer: the agreements of views, rounds and stages, and what P(T) and Z(T) tell."""
    signals = signals_of(*agreements, expected_dice(prior.values, mask.on(prior.bounds)))
    traits = None if spacing is None else traits_of(mask.values, mask.bounds, shape, spacing)
    record.judge(signals, model, None if voxel_ml is None else int(mask.values.sum()) * voxel_ml, traits)


def _is_plausible(mask: Patch, changes: Sequence[float]) -> bool:
    """Whether a rescued answer counts: it is no speck, and the last two rounds agree on it."""
    return int(mask.values.sum()) >= FEW and bool(changes) and changes[-1] >= RESCUE_AGREEMENT


def _by_case(name: str, given: torch.Tensor | None, shape: tuple[int, ...]) -> Sequence[torch.Tensor | None]:
    """Probabilities or masks (B, K, H, W, D), case by case; None for each where there are none."""
    if given is None:
        return [None] * shape[0]
    if tuple(given.shape) != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {tuple(given.shape)}.")
    return plain(given).unbind(0)


def _check_initial(initial: torch.Tensor) -> None:
    low, high = initial.min().item(), initial.max().item()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"initial must be a probability or a mask in [0, 1], got values from {low:g} to {high:g}: apply a sigmoid "
            "to logits, and give each class of a label map a channel of its own."
        )

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop on whole volumes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.components import filter_components
from ..transforms.conflicts import resolve_conflicts
from ..utils import Fusion, Prior, StopReason, View, check_amp_dtype, check_window, prepare_for_inference, unwrap
from .arguments import check_mask_arguments
from .fusion import ViewFusion, check_fusion, move_to_mask
from .network_caller import NetworkCaller, network_kind
from .patches import Patch, align_bounds, foreground_bounds, grow_bounds, patch_dice, whole_bounds
from .records import CaseRecord, name_of, plain, stack_cases, touches_border, voxel_ml
from .round_recorder import RoundRecorder
from .views import CropRule, coarse_view, fine_view

__all__ = ["CoarseToFineInferer"]


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
        stop: the loop ends when d(t) = DSC(Z(t-1), Z(t)) reaches it; None or above 1: only after ``max_rounds``.
        max_rounds: T; 0 gives the coarse result.
        component_fraction: after each fine round 6-connected components smaller than this fraction of the largest
            leave the mask; 0 keeps all, 0.5 is the original code.
        window: (low, high) HU to clip and scale slab by slab; None where inputs are in [0, 1] already.
        pixels_per_batch: bound on slabs times height times width in one call of the network.
        amp_dtype: "bfloat16" or "float16" autocast around the convolutional networks; None for float32.
        device: where slabs are sent; None for the network's device.
        volume_device: where volumes and probabilities live; None for the input's device.
        progress: show a bar for each case.
        keep_rounds: keep the mask of every round in the records.
        air: where a voxel at or below it is air, such as -500 HU, the coarse stage leaves out the slices and borders of
            the volume that are all air, as far as multiples of ``crop_multiple``; in the unit of the inputs.
            Probabilities change little, since what lies beyond a slice is 0 to the network as air is. None runs the
            whole volume.
        exclusive: give a voxel that several classes claim to the one with the largest mean of the views'
            probabilities, under vote too [3.6]; the others come back below ``threshold``. False lets classes overlap,
            such as an organ and the neoplasm in it.

    Attributes:
        records: one :py:class:`CaseRecord` for each case of the latest call.

    Raises:
        ValueError: for arguments out of range.
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
        stop: float | None = 0.95,
        max_rounds: int = 10,
        component_fraction: float = 0.0,
        window: Sequence[float] | None = None,
        pixels_per_batch: int = 16 * 512 * 512,
        amp_dtype: str | torch.dtype | None = None,
        device: torch.device | str | None = None,
        volume_device: torch.device | str | None = None,
        progress: bool = False,
        keep_rounds: bool = False,
        air: float | None = None,
        exclusive: bool = False,
    ) -> None:
        for name, value, least in (
            ("margin", 0 if margin is None else margin, 0),
            ("crop_multiple", crop_multiple, 1),
            ("min_size", min_size, 0),
            ("max_margin", 0 if max_margin is None else max_margin, 0),
            ("max_rounds", max_rounds, 0),
            ("pixels_per_batch", pixels_per_batch, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        check_mask_arguments(threshold, component_fraction)
        self.views = None if views is None else [View(view) for view in views]
        if self.views is not None and (not self.views or len(set(self.views)) != len(self.views)):
            raise ValueError(f"views must be different names, at least one, got {list(views or [])}.")
        self.coarse_fusion, self.fine_fusion = check_fusion(fusion)
        self.prior = Prior(prior)
        self.rule = CropRule(margin, crop_multiple, min_size, max_margin)
        self.threshold = threshold
        self.stop = stop
        self.max_rounds = max_rounds
        self.component_fraction = component_fraction
        self.window = None if window is None else check_window(tuple(window))  # type: ignore[arg-type]
        self.pixels_per_batch = pixels_per_batch
        self.amp_dtype = check_amp_dtype(amp_dtype)
        self.device = device
        self.volume_device = volume_device
        self.progress = progress
        self.keep_rounds = keep_rounds
        self.air = air
        self.exclusive = exclusive
        self.records: list[CaseRecord] = []

    @torch.no_grad()
    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], truth: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            inputs: (B, 1, H, W, D) RAS volumes, any sides from 1 voxel up, in HU where ``window`` is set, else [0, 1].
            network: :py:class:`c2f_monai.networks.CoarseToFineNet`, also scripted or wrapped, in evaluation mode.
            truth: (B, K, H, W, D) true mask for the oracle box, a diagnostic: in every round each slab is cropped
                around it instead of around the last mask, and slabs without it are not run. None is the method.

        Returns:
            (B, K, H, W, D) probabilities, float32 (float64 with a float64 network); at and above ``threshold`` is the
            last mask Z(T): voxels that the component filter removed are 0. A MetaTensor where the input is one.

        Raises:
            ValueError: for another shape of inputs or truth, or views that the network does not have.
        """
        result, mask = self.segment(inputs, network, truth)
        if self.exclusive:
            mask = stack_cases([resolve_conflicts(*case) for case in zip(result, mask, strict=True)])
        if self.exclusive or Fusion.VOTE in (self.coarse_fusion, self.fine_fusion):
            move_to_mask(result, mask, self.threshold)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    @torch.no_grad()
    def segment(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], truth: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last round's two answers, which differ under vote: how sure the views are, and what they decide.

        Args:
            inputs: (B, 1, H, W, D), as for the call.
            network: as for the call.
            truth: as for the call.

        Returns:
            the mean of the views' probabilities (B, K, H, W, D), 0 where the component filter removed a voxel, and the
            mask Z(T) (B, K, H, W, D) bool, in which classes may overlap. Plain tensors.

        Raises:
            ValueError: for another shape of inputs or truth, or views that the network does not have.
        """
        if inputs.dim() != 5 or inputs.shape[1] != 1 or min(inputs.shape) < 1:
            shape = tuple(inputs.shape)
            raise ValueError(f"inputs must have shape (B, 1, H, W, D) with sides of at least 1, got {shape}.")
        module = unwrap(network)
        expected = (len(inputs), int(module.out_channels), *inputs.shape[2:])  # type: ignore[arg-type]
        if truth is not None and tuple(truth.shape) != expected:
            raise ValueError(f"truth must have the shape {expected}, got {tuple(truth.shape)}.")
        if module.training:
            warnings.warn("the network is in training mode: call network.eval() before inference.", stacklevel=2)
        views = self._views(module)
        volumes = plain(inputs).to(self.volume_device or inputs.device)
        dtype, device = network_kind(module, volumes)
        device = device if self.device is None else torch.device(self.device)
        prepared = prepare_for_inference(module, self.amp_dtype)
        caller = NetworkCaller(prepared, dtype, device, self.amp_dtype, self.pixels_per_batch, self.window)
        self.records = [CaseRecord(name=name_of(inputs, i)) for i in range(len(volumes))]
        oracles = [None] * len(volumes) if truth is None else (plain(truth) > 0.5).to(volumes.device).unbind(0)
        # An outer autocast keeps the 16-bit copies of the weights from one call to the next.
        with torch.autocast(device.type, enabled=False):
            answers = [
                self._run_case(volume[0], module, views, caller, record, voxel_ml(inputs, i), oracles[i])
                for i, (volume, record) in enumerate(zip(volumes, self.records, strict=True))
            ]
        confidence, mask = (stack_cases(column) for column in zip(*answers, strict=True))
        return confidence, mask

    def _views(self, module: torch.nn.Module) -> list[View]:
        names = [View(name) for name in module.view_names]  # type: ignore[union-attr]
        missing = [view.value for view in self.views or [] if view not in names]
        if missing:
            raise ValueError(f"the network has no networks for the views {missing}, it has {[v.value for v in names]}.")
        return self.views or names

    def _run_case(
        self,
        volume: torch.Tensor,
        module: torch.nn.Module,
        views: list[View],
        caller: NetworkCaller,
        record: CaseRecord,
        voxel_ml: float | None,
        oracle: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        classes, depth = int(module.out_channels), int(module.depth)  # type: ignore[arg-type]
        rounds = self.max_rounds if module.has_fine else 0
        whole = whole_bounds(volume.shape)
        note = RoundRecorder(record, voxel_ml, whole, self.keep_rounds, rounds, self.progress)
        prior, raw = self._coarse(volume, views, caller, classes, depth)
        mask, probability = Patch.trimmed(raw, prior.bounds), prior.on(whole)
        del raw
        note(None, mask)
        around = None if oracle is None else Patch.trimmed(oracle, whole)
        record.stop_reason = StopReason.FIXED_ROUNDS if self.stop is None or not rounds else StopReason.MAX_ROUNDS
        for _ in range(rounds):
            box = mask if around is None else around
            if box.empty:
                break
            seen = self._prior(module, prior, mask)
            prior, raw = self._fine(volume, views, caller, classes, depth, seen, box)
            new = Patch.trimmed(self._filter(raw, volume.numel()), prior.bounds)
            change, mask = patch_dice(mask, new), new
            note(change, mask)
            if self.stop is not None and change >= self.stop:
                record.stop_reason = StopReason.CONVERGED
                break
        if mask.empty:
            record.stop_reason = StopReason.EMPTY
        note.close()
        record.touches_border = touches_border(mask.bounds, volume.shape)
        found = mask.on(whole)
        if record.fine_rounds:
            prior.values.masked_fill_(raw & ~mask.on(prior.bounds), 0.0)
            probability.zero_()[prior.within(whole)] = prior.values
        return probability, found

    def _coarse(
        self, volume: torch.Tensor, views: list[View], caller: NetworkCaller, classes: int, depth: int
    ) -> tuple[Patch, torch.Tensor]:
        """P(0) where it is not zero and Z(0) on the same bounds."""
        bounds = whole_bounds(volume.shape)
        if self.air is not None:
            bounds = align_bounds(foreground_bounds(volume > self.air), self.rule.multiple, volume.shape)
        part = volume[tuple(slice(*side) for side in bounds)]
        fusion = ViewFusion(
            (classes, *part.shape), len(views), self.coarse_fusion, self.threshold, caller.dtype, volume.device
        )
        for view in views if part.numel() else []:
            for start, values in coarse_view(part, view, caller, classes, depth, self.rule):
                fusion.add(values, view.axis, start)
        probability, mask = fusion.result()
        return Patch(probability, bounds), mask

    def _fine(
        self,
        volume: torch.Tensor,
        views: list[View],
        caller: NetworkCaller,
        classes: int,
        depth: int,
        prior: Patch | None,
        mask: Patch,
    ) -> tuple[Patch, torch.Tensor]:
        """P(t) where it is not zero and the unfiltered Z(t) on the same bounds."""
        # Along the slices a slab beside the mask still speaks of its far neighbor.
        bounds = grow_bounds(mask.bounds, max(self.rule.reach(volume.shape), depth - 1), volume.shape)
        shape = (classes, *(stop - start for start, stop in bounds))
        fusion = ViewFusion(shape, len(views), self.fine_fusion, self.threshold, caller.dtype, volume.device)
        for view in views:
            fusion.add(fine_view(volume, prior, mask, view, caller, classes, depth, self.rule, bounds))
        probability, raw = fusion.result()
        return Patch(probability, bounds), raw

    def _prior(self, module: torch.nn.Module, probability: Patch, mask: Patch) -> Patch | None:
        if not module.has_saliency:
            return None
        return Patch(mask.values.to(probability.values.dtype), mask.bounds) if self.prior == Prior.MASK else probability

    def _filter(self, mask: torch.Tensor, voxels: int) -> torch.Tensor:
        if not self.component_fraction:
            return mask
        return torch.stack([filter_components(one, self.component_fraction, voxels) for one in mask])

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop on whole volumes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from tqdm.auto import tqdm

from ..transforms.components import filter_components
from ..transforms.conflicts import resolve_conflicts
from ..utils import Fusion, Prior, StopReason, View, check_amp_dtype, check_window, dice_coefficient, unwrap
from .arguments import check_mask_arguments
from .fusion import check_fusion, fuse, move_to_mask
from .records import CaseRecord, RoundRecord, box_of, name_of, plain, stack_cases, touches_border, voxel_ml
from .views import CropRule, NetworkCaller, coarse_view, fine_view

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
        margin: frame around the box of the last mask, pixels of the working grid.
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
        margin: int = 20,
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
        exclusive: bool = False,
    ) -> None:
        for name, value, least in (
            ("margin", margin, 0),
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
        confidence, mask = self.segment(inputs, network, truth)
        if self.exclusive:
            mask = stack_cases([resolve_conflicts(*case) for case in zip(confidence, mask, strict=True)])
        result = move_to_mask(confidence, mask, self.threshold)
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
        dtype, device = _network_kind(module, volumes)
        device = device if self.device is None else torch.device(self.device)
        caller = NetworkCaller(network, dtype, device, self.amp_dtype, self.pixels_per_batch, self.window)
        self.records = [CaseRecord(name=name_of(inputs, i)) for i in range(len(volumes))]
        oracles = [None] * len(volumes) if truth is None else (plain(truth) > 0.5).to(volumes.device).unbind(0)
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
        bar = tqdm(total=rounds + 1, desc=record.name or "case", unit="round", disable=not self.progress)
        clock = time.perf_counter()
        maps = (coarse_view(volume, view, caller, classes, depth, self.rule) for view in views)
        probability, mask = fuse(maps, len(views), self.coarse_fusion, self.threshold)
        raw = mask
        self._note(record, 0, None, mask, voxel_ml, time.perf_counter() - clock, bar)
        record.stop_reason = StopReason.FIXED_ROUNDS if self.stop is None or not rounds else StopReason.MAX_ROUNDS
        for t in range(1, rounds + 1):
            around = mask if oracle is None else oracle
            if not around.any():
                break
            clock = time.perf_counter()
            prior = self._prior(module, probability, mask)
            maps = (fine_view(volume, prior, around, view, caller, classes, depth, self.rule) for view in views)
            probability, raw = fuse(maps, len(views), self.fine_fusion, self.threshold)
            new = self._filter(raw)
            change = min(dice_coefficient(a, b) for a, b in zip(mask, new, strict=True))
            mask = new
            self._note(record, t, change, mask, voxel_ml, time.perf_counter() - clock, bar)
            if self.stop is not None and change >= self.stop:
                record.stop_reason = StopReason.CONVERGED
                break
        if record.rounds[-1].voxels == 0:
            record.stop_reason = StopReason.EMPTY
        bar.close()
        record.touches_border = touches_border(mask)
        return probability.masked_fill_(raw & ~mask, 0.0), mask

    def _prior(self, module: torch.nn.Module, probability: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | None:
        if not module.has_saliency:
            return None
        return mask.to(probability.dtype) if self.prior == Prior.MASK else probability

    def _filter(self, mask: torch.Tensor) -> torch.Tensor:
        if not self.component_fraction:
            return mask
        return torch.stack([filter_components(one, self.component_fraction) for one in mask])

    def _note(
        self,
        record: CaseRecord,
        index: int,
        dsc: float | None,
        mask: torch.Tensor,
        voxel_ml: float | None,
        seconds: float,
        bar: tqdm,
    ) -> None:
        voxels = int(mask.sum())
        ml = None if voxel_ml is None else voxels * voxel_ml
        record.rounds.append(RoundRecord(index, dsc, voxels, ml, box_of(mask), seconds))
        if self.keep_rounds:
            record.masks.append(mask.cpu())
        bar.set_postfix(voxels=voxels, d="-" if dsc is None else f"{dsc:.3f}", refresh=False)
        bar.update()


def _network_kind(module: torch.nn.Module, volumes: torch.Tensor) -> tuple[torch.dtype, torch.device]:
    """Working dtype, float64 for a float64 network and float32 for all others, and device of the network."""
    parameter = next(iter(module.parameters()), None)
    if parameter is None:
        return torch.float32, volumes.device
    return torch.float64 if parameter.dtype == torch.float64 else torch.float32, parameter.device

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop on whole volumes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.conflicts import resolve_conflicts
from ..utils import Fusion, Prior, Result, View, amp_dtype_on, check_amp_dtype, check_window, unwrap
from .arguments import by_case, check_counts, check_initial, check_loop_arguments, network_views, warn_of_other_unit
from .case_loop import Case, CaseLoop
from .fusion import check_fusion, check_mask_arguments, move_to_mask
from .network_caller import NetworkCaller, network_kind
from .quality import QualityModel
from .records import CaseRecord, is_stack, name_of, notes_of, plain, spacing_of, stack_cases, voxel_ml
from .stopping import DEFAULT_STOPPING, StopRule
from .views import CropRule

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
        bridge: a network of one slice (``SlabSpec(1, 1)``) also answers in slices without foreground that lie between
            two with it, at most so many in a row, cropped around both: an organ does not end in one slice and go on in
            the next but one. Slabs of several slices see it there as it is. Not in stacks of single slices, whose
            neighbors are none in the body, nor with ``label``. 0 is the method.
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
        bridge: int = 0,
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
        check_counts(margin, crop_multiple, min_size, max_margin, bridge, pixels_per_batch)
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
        self.rule = CropRule(margin, crop_multiple, min_size, max_margin, bridge)
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
        check_loop_arguments(rescue, damping, damping_decay, self.fine_fusion)
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

        Warns of a network in training mode, of HU without ``window``, and of values in [0, 1] with one.

        Raises:
            TypeError: for a network that is no coarse-to-fine network.
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
        views, caller = self._views(module), self._caller(module, volumes)
        warn_of_other_unit(volumes, self.window)
        if initial is None and not caller.has_coarse:
            raise ValueError("the network has no coarse part: give initial, an answer that the rounds start from.")
        starts, labels = (
            by_case(name, given, (len(inputs), caller.classes, *inputs.shape[2:]))
            for name, given in (("initial", initial), ("label", label))
        )
        if initial is not None:
            check_initial(initial)
        self.records = [CaseRecord(name_of(inputs, i), notes=notes_of(inputs, i)) for i in range(len(volumes))]
        answers = []
        # An outer autocast keeps the 16-bit copies of the weights from one call to the next.
        with torch.autocast(caller.device.type, enabled=False):
            for i, record in enumerate(self.records):
                # Gaps of the truth, and of slices that are no neighbors, are none of the answer.
                rule = self.rule if labels[i] is None and not is_stack(inputs, i) else replace(self.rule, bridge=0)
                case = Case(volumes[i, 0], views, caller, rule, starts[i], labels[i], spacing_of(inputs, i))
                answers.append(CaseLoop(self, case).run(record, voxel_ml(inputs, i)))
        confidence, mask = (stack_cases(column) for column in zip(*answers, strict=True))
        return confidence, mask

    def _views(self, module: torch.nn.Module) -> list[View]:
        names = network_views(module)
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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The training pass: the recurrence unrolled over T rounds, on slabs of each view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from monai.inferers import Inferer

from ..utils import (
    Part,
    TrainingStage,
    add_margins,
    amp_dtype_on,
    bounding_boxes,
    check_amp_dtype,
    crop_boxes,
    group_by_shape,
    grow_boxes,
    inside_boxes,
    pad_end,
    paste_boxes,
    unwrap,
)
from .frozen import frozen_shared_encoder
from .network_errors import check_draws, check_slabs, explained_channels

__all__ = ["UnrolledInferer"]

#: Slabs of equal shape: (height, width), and their places in the batch.
Groups = Sequence[tuple[tuple[int, int], torch.Tensor]]


class UnrolledInferer(Inferer):
    """
    P(0) = f_C(X), then T times I(t) = X * g(P(t-1)) on the whole slab and P(t) = f_F(Crop[I(t)]) [3.4].

    Beyond stages "coarse" and "fine" every call runs every part the network holds (a stage that ignores g multiplies
    its effect by 0), so DistributedDataParallel needs no search for unused parameters. P(t-1) is the view's own map,
    not detached. In stage "fine" f_C is not run: P(0) is 0, a constant of the loss, and only f_F learns [3.3.2]; an
    encoder that f_F has from f_C stays as it is, its batch norms included.
    In a training of one's own :py:func:`c2f_monai.handlers.prepare_slab_batch` makes the arguments of a call of a batch
    of :py:class:`c2f_monai.data.SlabCollate`, also as ``prepare_batch`` of MONAI's SupervisedTrainer.
    Only crops of equal shape share a forward call. A network without a fine part gives P(0) alone; one without a
    saliency part is the step-wise approach.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        rounds: T >= 1.
        stage: "coarse", "fine", "separate", "individual" or "joint"; may be assigned between calls.
        crop_multiple: sides of crops are grown to multiples of it.
        min_size: smallest side of a crop, pixels; a lone small crop leaves batch norm one pixel in the deepest map.
        slab_multiple: whole slabs are padded at their end to multiples of it; those of equal shape share a forward
            call, so a larger number makes larger groups. Default: ``crop_multiple``, as in testing.
        threshold: probability from which a pixel belongs to the prediction's box.
        amp_dtype: "bfloat16", "float16" or "auto" autocast of the coarse and fine networks, see
            :py:func:`c2f_monai.utils.amp_dtype_on`; None is float32. Sigmoid, saliency and loss are float32 always.
        common_shape: grow all crops of a call to the largest height and width among them, so that they share one
            forward call: fewer calls, and batch norm sees the whole batch.

    Raises:
        ValueError: when ``rounds`` or a multiple is below 1.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from c2f_monai.inferers import UnrolledInferer
        >>> from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
        >>> small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3)
        >>> network = CoarseToFineNet(small, small, SaliencyTransform, views=["axial"])
        >>> image, target = torch.rand(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)
        >>> target[:, :, 10:20, 12:18] = 1.0
        >>> draws = {  # whole slabs, one round with margins of 4 pixels, a box for slabs without any foreground
        ...     "size": torch.full((2, 2), 32),
        ...     "margins": torch.full((2, 1, 4), 4),
        ...     "fallback": torch.tensor([[0, 0, 16, 16]] * 2),
        ... }
        >>> inferer = UnrolledInferer(rounds=1, stage="separate")
        >>> found = inferer({"axial": image}, network, {"axial": target}, {"axial": draws})
        >>> found["axial"].shape  # the coarse result and one round
        torch.Size([2, 2, 3, 32, 32])
    """

    def __init__(
        self,
        rounds: int = 1,
        stage: str = TrainingStage.SEPARATE,
        crop_multiple: int = 16,
        min_size: int = 0,
        slab_multiple: int | None = None,
        threshold: float = 0.5,
        amp_dtype: str | torch.dtype | None = None,
        common_shape: bool = False,
    ) -> None:
        super().__init__()
        self.slab_multiple = crop_multiple if slab_multiple is None else slab_multiple
        for name, value in (
            ("rounds", rounds),
            ("crop_multiple", crop_multiple),
            ("slab_multiple", self.slab_multiple),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.rounds = rounds
        self.stage = TrainingStage(stage)
        self.crop_multiple = crop_multiple
        self.min_size = min_size
        self.common_shape = common_shape
        self.threshold = threshold
        self.amp_dtype = check_amp_dtype(amp_dtype)

    def __call__(  # type: ignore[override]  # by view, where MONAI's inferers take one tensor
        self,
        inputs: Mapping[str, torch.Tensor],
        network: Any,
        targets: Mapping[str, torch.Tensor],
        draws: Mapping[str, Mapping[str, torch.Tensor]],
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: for each view (B, in_slices, h, w) slabs in [0, 1], zero beyond a slab's own size.
            network: :py:class:`c2f_monai.networks.CoarseToFineNet`, or one wrapped for distributed training.
            targets: for each view (B, K * out_slices, h, w) in {0, 1}.
            draws: for each view, best on the CPU, ``size`` (B, 2) long, a slab's own height and width; ``margins``
                (B, T, 4) long, pixels (top, left, bottom, right); ``fallback`` (B, 4) long, the box of a slab that has
                neither truth nor prediction.

        Returns:
            for each view (B, T + 1, K * out_slices, h, w) float32 probabilities, zero outside a round's ungrown boxes.

        Raises:
            ValueError: for slabs of other slices or classes than the network's, networks of other slabs, targets or
                draws that lack a view or a round, and in stage "fine" without f_F.
        """
        check_slabs(inputs, targets, unwrap(network))
        check_draws(inputs, draws, self.rounds if self._runs_fine(unwrap(network)) else 0)
        # An outer autocast keeps the 16-bit copies of the weights until the end of the step: each part is called often.
        with torch.autocast(next(iter(inputs.values())).device.type, enabled=False):
            found = {}
            for view in inputs:
                fine_alone = self.stage == TrainingStage.FINE
                with frozen_shared_encoder(unwrap(network), view) if fine_alone else nullcontext():
                    found[view] = self._unroll(inputs[view], network, targets[view], _on_cpu(draws[view]), view)
            if self.stage in (TrainingStage.COARSE, TrainingStage.FINE) and unwrap(network) is not network:
                # DistributedDataParallel waits for a gradient of every parameter; here none of them is held back.
                nothing = 0.0 * sum(p.sum() for p in unwrap(network).parameters())
                found = {view: probability + nothing for view, probability in found.items()}
            return found

    def _runs_fine(self, parts: Any) -> bool:
        return bool(parts.has_fine) and self.stage != TrainingStage.COARSE

    def _unroll(
        self, image: torch.Tensor, network: Any, target: torch.Tensor, draws: Mapping[str, torch.Tensor], view: str
    ) -> torch.Tensor:
        parts = unwrap(network)
        if self.stage == TrainingStage.FINE and not parts.has_fine:
            raise ValueError("stage 'fine' trains a fine network, and this network has none: give fine_def.")
        size = draws["size"]
        whole = torch.cat([torch.zeros_like(size), size], dim=1)
        valid = inside_boxes(whole, (image.shape[-2], image.shape[-1])).to(image.device)
        if self.stage == TrainingStage.FINE:
            probability = torch.zeros_like(target, dtype=torch.float32)
        else:
            probability = self._coarse(image, whole, network, view) * valid
        rounds = self.rounds if self._runs_fine(parts) else 0
        unrolled = [probability]
        true_boxes = _boxes_of(target > 0.5)
        groups = group_by_shape(whole) if rounds and parts.has_saliency else []
        for t in range(rounds):
            inner = self._ungrown_boxes(true_boxes, probability, draws, t)
            weighted = image
            if parts.has_saliency:
                weights = self._weights(probability, groups, network, view)
                # Times 0 instead of left out: every parameter takes part in every step, as DDP wants.
                plain = self.stage in (TrainingStage.SEPARATE, TrainingStage.FINE)
                weighted = image * (1.0 + 0.0 * weights if plain else weights)
            probability = self._fine(weighted, inner, size, network, view)
            unrolled.append(probability)
        return torch.stack(unrolled, dim=1)

    def _weights(self, probability: torch.Tensor, groups: Groups, network: Any, view: str) -> torch.Tensor:
        """Weights of g on the canvas, each slab at its own size: as in testing, nothing lies beyond its border."""
        canvas = (probability.shape[-2], probability.shape[-1])

        def run(shape: tuple[int, int], rows: torch.Tensor) -> torch.Tensor:
            own = _rows(probability, rows)[:, :, : shape[0], : shape[1]]
            return pad_end(network(own, Part.SALIENCY.value, view).float(), canvas)

        return _by_group(groups, run)

    def _run(self, x: torch.Tensor, network: Any, part: Part, view: str) -> torch.Tensor:
        """Probabilities of one batch of equal shape."""
        x = x.contiguous(memory_format=torch.channels_last)
        dtype = amp_dtype_on(self.amp_dtype, x.device, training=True)
        autocast = torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None)
        with autocast, explained_channels(unwrap(network), part.value):
            logits = network(x, part.value, view)
        return torch.sigmoid(logits.float())

    def _coarse(self, image: torch.Tensor, whole: torch.Tensor, network: Any, view: str) -> torch.Tensor:
        """P(0) on the canvas; slabs of equal padded shape run together."""
        canvas = (image.shape[-2], image.shape[-1])

        def run(shape: tuple[int, int], rows: torch.Tensor) -> torch.Tensor:
            return pad_end(self._run(pad_end(_rows(image, rows), shape), network, Part.COARSE, view), canvas)

        return _by_group(group_by_shape(grow_boxes(whole, (0, 0), self.slab_multiple)), run)

    def _fine(
        self, weighted: torch.Tensor, inner: torch.Tensor, size: torch.Tensor, network: Any, view: str
    ) -> torch.Tensor:
        """P(t) on the canvas; crops of equal shape run together."""
        canvas = (weighted.shape[-2], weighted.shape[-1])
        grown = self._grow(inner, size, self.min_size)
        if self.common_shape:
            height, width = (grown[:, 2:] - grown[:, :2]).amax(dim=0).tolist()
            grown = self._grow(inner, size, (height, width))

        def run(_: tuple[int, int], rows: torch.Tensor) -> list[torch.Tensor]:
            crops = crop_boxes([weighted[row] for row in rows.tolist()], grown[rows])
            return paste_boxes(self._run(crops, network, Part.FINE, view), grown[rows], inner[rows], canvas)

        return _by_group(group_by_shape(grown), run)

    def _grow(self, inner: torch.Tensor, size: torch.Tensor, min_size: int | tuple[int, int]) -> torch.Tensor:
        """(B, 4) boxes of the networks' crops."""
        return torch.stack(
            [
                grow_boxes(box[None], (int(own[0]), int(own[1])), self.crop_multiple, min_size)[0]
                for box, own in zip(inner, size, strict=True)
            ]
        )

    def _ungrown_boxes(
        self,
        truth: tuple[torch.Tensor, torch.Tensor],
        probability: torch.Tensor,
        draws: Mapping[str, torch.Tensor],
        t: int,
    ) -> torch.Tensor:
        """(B, 4) boxes of round t with margins: around truth or prediction, else the other, else the fallback."""
        prediction = _boxes_of(probability.detach() >= self.threshold)
        first, second = (prediction, truth) if self.stage == TrainingStage.JOINT else (truth, prediction)
        boxes = torch.where(second[1][:, None], second[0], draws["fallback"])
        boxes = torch.where(first[1][:, None], first[0], boxes)
        return torch.stack(
            [
                add_margins(box[None], margin[None], (int(own[0]), int(own[1])))[0]
                for box, margin, own in zip(boxes, draws["margins"][:, t], draws["size"], strict=True)
            ]
        )


def _on_cpu(draws: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Draws where Python reads them without waiting for the device."""
    return {name: values.cpu() for name, values in draws.items()}


def _boxes_of(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes on the CPU, where all that is done with them is: the one time that Python waits for the device."""
    boxes, found = bounding_boxes(mask)
    return boxes.cpu(), found.cpu()


def _rows(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Some slabs of a batch; the batch itself, not a copy, where they are all."""
    return x if len(rows) == len(x) else x[rows]


def _by_group(groups: Groups, run: Callable[[tuple[int, int], torch.Tensor], Iterable[torch.Tensor]]) -> torch.Tensor:
    """What ``run`` gives for the slabs of each group, in the order of the batch."""
    slabs: dict[int, torch.Tensor] = {}
    for shape, rows in groups:
        slabs.update(zip(rows.tolist(), run(shape, rows), strict=True))
    return torch.stack([slabs[row] for row in range(len(slabs))])

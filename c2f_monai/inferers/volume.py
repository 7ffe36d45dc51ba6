# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volume networks of MONAI behind the interface of the coarse-to-fine inferer, to be compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.components import filter_components
from ..utils import check_window, foreground_box, scale_to_unit
from .fusion import check_mask_arguments
from .records import CaseRecord, RoundRecord, name_of, notes_of, plain, stack_cases, touches_border, voxel_ml

__all__ = ["VolumeInferer"]


class VolumeInferer(Inferer):
    """Probabilities, the component filter and records of a network that segments volumes in one pass.

    What comes in and out is that of :py:class:`CoarseToFineInferer`, so that the same preprocessing, postprocessing
    and reports serve both: HU or [0, 1] in, filtered probabilities out, one record with one round for each case.

    Args:
        inferer: runs the network, whose outputs are logits; such as a sliding window.
        window: (low, high) HU to clip and scale; None where inputs are in [0, 1] already. Defaults to None.
        threshold: probability at and above which a voxel is foreground. Defaults to 0.5.
        component_fraction: 6-connected components smaller than this fraction of the largest leave the mask; 0 keeps
            all. Defaults to 0.
        keep_rounds: keep the mask in the record. Defaults to False.
        margin: frame in voxels around the true box, where ``label`` is given; None is the whole volume. Defaults to 20.
        context: (H, W, D) voxels that the network sees around a true box that is smaller, in the volume as far as it
            reaches: the size of its training patches, as it knows no smaller ones. Defaults to (1, 1, 1).

    Attributes:
        records: one :py:class:`CaseRecord` for each case of the latest call.

    Raises:
        TypeError: When ``inferer`` is not a MONAI inferer.
        ValueError: When ``threshold``, ``component_fraction``, ``margin`` or ``context`` is out of range.
    """

    def __init__(
        self,
        inferer: Inferer,
        window: Sequence[float] | None = None,
        threshold: float = 0.5,
        component_fraction: float = 0.0,
        keep_rounds: bool = False,
        margin: int | None = 20,
        context: Sequence[int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        if not isinstance(inferer, Inferer):
            raise TypeError(f"inferer must be a monai.inferers.Inferer, got {type(inferer).__name__}.")
        check_mask_arguments(threshold, component_fraction)
        if margin is not None and margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}.")
        if len(context) != 3 or min(context) < 1:
            raise ValueError(f"context must be three numbers of at least 1, got {context}.")
        self.margin = margin
        self.context = tuple(context)
        self.inferer = inferer
        self.window = None if window is None else check_window(tuple(window))  # type: ignore[arg-type]
        self.threshold = threshold
        self.component_fraction = component_fraction
        self.keep_rounds = keep_rounds
        self.records: list[CaseRecord] = []

    @torch.no_grad()
    def __call__(
        self,
        inputs: torch.Tensor,
        network: Callable[..., torch.Tensor],
        *args: Any,
        label: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Segment (B, 1, H, W, D) volumes.

        Args:
            inputs: volumes in HU where ``window`` is set, else in [0, 1].
            network: gives logits (B, K, ...) of the windows or volumes that the wrapped inferer hands it.
            args: further arguments of the wrapped inferer.
            label: (B, K, H, W, D) true mask for the oracle box, a diagnostic [3.5.3.2]: the network sees the true 3D
                box with ``margin``, or ``context`` where that is larger, and what lies outside the box with
                ``margin`` is background. None is the method.
            kwargs: further ones, by name.

        Returns:
            (B, K, H, W, D) float32 probabilities; voxels that the filter removed are 0. A MetaTensor where the input
            is one.
        """

        def run(x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.inferer(x[None], network, *args, **kwargs)[0].float())

        volumes = plain(inputs)
        self.records = []
        results = []
        for i, volume in enumerate(volumes.unbind(0)):
            clock = time.perf_counter()
            scaled = volume if self.window is None else scale_to_unit(volume, self.window)
            probability = run(scaled) if label is None else self._in_box(scaled, plain(label)[i], run)
            mask = self._filter(probability)
            results.append(probability)
            self.records.append(self._record(inputs, i, mask, time.perf_counter() - clock))
        result = stack_cases(results)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _in_box(
        self, volume: torch.Tensor, label: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """(K, H, W, D) probability of what lies in the box of ``label`` (K, H, W, D) and the margin, 0 outside."""
        probability = torch.zeros(label.shape, device=volume.device)
        box = foreground_box((label > 0.5).any(dim=0))
        if box is not None:
            margin = max(label.shape) if self.margin is None else self.margin
            spans = [
                _spans(lo - margin, hi + margin, least, size)
                for (lo, hi), least, size in zip(box, self.context, label.shape[1:], strict=True)
            ]
            kept, seen, inside = ((slice(None), *axes) for axes in zip(*spans, strict=True))
            probability[kept] = run(volume[seen])[inside]
        return probability

    def _filter(self, probability: torch.Tensor) -> torch.Tensor:
        """The mask of a case, (K, H, W, D); what leaves it is set to 0 in ``probability``."""
        mask = probability >= self.threshold
        kept = torch.stack([filter_components(channel, self.component_fraction) for channel in mask])
        probability[mask & ~kept] = 0.0
        return kept

    def _record(self, inputs: torch.Tensor, index: int, mask: torch.Tensor, seconds: float) -> CaseRecord:
        voxels, of_voxel = int(torch.count_nonzero(mask)), voxel_ml(inputs, index)
        ml = None if of_voxel is None else voxels * of_voxel
        box = foreground_box(mask.any(dim=0))
        only = RoundRecord(0, None, voxels, ml, box, seconds)
        masks = [mask.cpu()] if self.keep_rounds else []
        return CaseRecord(
            name_of(inputs, index), [only], None, touches_border(box, mask.shape[1:]), masks, notes_of(inputs, index)
        )


def _spans(start: int, end: int, least: int, size: int) -> tuple[slice, slice, slice]:
    """Of an axis: what is kept, what the network sees of it, and where in this the first lies.

    It sees at least ``least`` indices with what is kept in their middle, or as near to it as the volume allows.
    """
    start, end = max(start, 0), min(end, size)
    length = min(max(end - start, least), size)
    first = min(max((start + end - length) // 2, 0), size - length)
    return slice(start, end), slice(first, first + length), slice(start - first, end - first)

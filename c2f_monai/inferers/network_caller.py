# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Calls of a network's parts, in batches that fit the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..utils import Part, SlabSpec, View, scale_to_unit
from .network_errors import explained_channels

__all__ = ["NetworkCaller", "network_kind"]

logger = logging.getLogger(__name__)


def network_kind(module: torch.nn.Module, volumes: torch.Tensor) -> tuple[torch.dtype, torch.device]:
    """Working dtype, float64 for a float64 network and float32 for all others, and device of the network."""
    parameter = next(iter(module.parameters()), None)
    if parameter is None:
        return torch.float32, volumes.device
    return torch.float64 if parameter.dtype == torch.float64 else torch.float32, parameter.device


@dataclass
class NetworkCaller:
    """A network and how it is called: the parts it has, its slabs, its device and precision.

    Attributes:
        network: CoarseToFineNet or one like it, also scripted; not wrapped.
        dtype: of images, saliency weights and probabilities: float64 for a float64 network, else float32.
        device: where the network is.
        amp_dtype: dtype of autocast around the convolutional networks; None for float32.
        pixels_per_batch: bound on slabs times height times width of a batch; lowered when the device runs out of
            memory.
        window: HU window to clip and scale; None where the volume is in [0, 1].
    """

    network: Any
    dtype: torch.dtype
    device: torch.device
    amp_dtype: torch.dtype | None
    pixels_per_batch: int
    window: tuple[float, float] | None

    @cached_property
    def classes(self) -> int:
        """K."""
        return int(self.network.out_channels)

    @cached_property
    def slab(self) -> SlabSpec:
        """Slices that go in and come out."""
        return SlabSpec.of(self.network)

    @property
    def has_coarse(self) -> bool:
        """Whether there is a coarse part; a network that does not say it has one."""
        return bool(getattr(self.network, "has_coarse", True))

    @property
    def has_fine(self) -> bool:
        """Whether there is a fine part."""
        return bool(self.network.has_fine)

    @property
    def has_saliency(self) -> bool:
        """Whether the fine part sees the last round through g."""
        return bool(self.network.has_saliency)

    @property
    def saliency_reach(self) -> int:
        """Pixels around its own that a weight of g depends on; -1 where g does not say it, and sees whole slices."""
        return int(getattr(self.network, "saliency_reach", -1))

    def image(self, x: torch.Tensor) -> torch.Tensor:
        """Network input of a piece of the volume, on the network's device."""
        x = x.to(self.device)
        return x.to(self.dtype) if self.window is None else scale_to_unit(x, self.window, self.dtype)

    def blank(self, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """A batch (B, in_slices, h, w) of what :py:meth:`image` turns to zeros: the window's bottom, not 0 HU."""
        fill = 0.0 if self.window is None else self.window[0]
        batch = torch.empty(shape, dtype=self.dtype, device=device, memory_format=torch.channels_last)
        return batch.fill_(fill)

    def probability(self, x: torch.Tensor, part: Part, view: View) -> torch.Tensor:
        """Probabilities (B, K * out_slices, h, w) of slabs or crops (B, in_slices, h, w).

        Raises:
            torch.cuda.OutOfMemoryError: when the device has no room for one slab.
        """
        try:
            return self._probability(x, part, view)
        except torch.cuda.OutOfMemoryError:
            if len(x) == 1:
                raise
        # Behind the handler, whose traceback would keep what the failed call had taken.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.pixels_per_batch = max(x[:, 0].numel() // 2, 1)
        logger.warning(
            "no memory for %d slabs of %dx%d pixels: from now on pixels_per_batch is %d. Setting it saves the attempt.",
            len(x),
            *x.shape[2:],
            self.pixels_per_batch,
        )
        pieces = self.batches(len(x), x[0, 0].numel())
        return torch.cat([self.probability(x[start:end], part, view) for start, end in pieces])

    def _probability(self, x: torch.Tensor, part: Part, view: View) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        autocast = torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=self.amp_dtype is not None)
        with autocast, explained_channels(self.network, part.value):
            logits = self.network(x, part.value, view.value)
        return torch.sigmoid(logits.to(self.dtype))

    def weights(self, prior: torch.Tensor, view: View) -> torch.Tensor:
        """Weights (B, in_slices, h, w) of slabs of the prior (B, K * out_slices, h, w)."""
        with explained_channels(self.network, Part.SALIENCY.value):
            weights: torch.Tensor = self.network(prior.to(self.device), Part.SALIENCY.value, view.value)
        return weights

    def batches(self, count: int, pixels: int) -> Iterator[tuple[int, int]]:
        """Start and end of batches of slabs of so many pixels each, at least one slab a batch."""
        start = 0
        while start < count:
            end = min(start + max(1, self.pixels_per_batch // max(pixels, 1)), count)
            yield start, end
            start = end

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training in which g and the boxes see the fused map of the views, as in testing, in the place of their own view's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events

from c2f_monai.data import CachedVolume, SlabCollate, SlabDataset
from c2f_monai.handlers import prepare_slab_batch
from c2f_monai.inferers import CoarseToFineInferer, StopRule, UnrolledInferer
from c2f_monai.utils import View

__all__ = [
    "MapCollate",
    "MapDataset",
    "MapInferer",
    "MapsHandler",
    "OwnMapInferer",
    "maps_of",
    "prepare_map_batch",
    "run_rounds",
]


def run_rounds(
    volume: torch.Tensor,
    network: torch.nn.Module,
    inferer: CoarseToFineInferer,
    stopping: StopRule,
    initial: torch.Tensor | None = None,
    views: Sequence[str] | None = None,
) -> torch.Tensor:
    """The fused map, (1, K, H, W, D), by an inferer with another rule of stopping, and with some of its views."""
    before = inferer.stopping, inferer.views
    inferer.stopping = stopping
    inferer.views = before[1] if views is None else [View(view) for view in views]
    try:
        return inferer.segment(volume, network, initial)[0]
    finally:
        inferer.stopping, inferer.views = before


def maps_of(image: torch.Tensor, network: torch.nn.Module, inferer: CoarseToFineInferer, rounds: int) -> torch.Tensor:
    """Fused maps of a case before each round.

    Args:
        image: (H, W, D) HU.
        network: in evaluation mode.
        inferer: of validation; its ``stopping`` is not followed.
        rounds: T.

    Returns:
        (T * K, H, W, D) float16, P(0) to P(T - 1).
    """
    volume = image[None, None].float()
    maps = [run_rounds(volume, network, inferer, StopRule(dice=None, max_rounds=0))]
    while len(maps) < rounds:
        maps.append(run_rounds(volume, network, inferer, StopRule(dice=None, max_rounds=1), maps[-1]))
    return torch.cat([fused[0] for fused in maps]).half()


class MapDataset(SlabDataset):
    """Slabs with "maps" (T * K * out_slices, h, w), the fused maps before each round; the augmentation turns them, too.

    Attributes:
        maps: those of each case by its name, see :func:`maps_of`.
    """

    maps: Mapping[str, torch.Tensor] = {}

    def _cut(self, volume: Any, view: View, center: int) -> dict[str, torch.Tensor]:
        reach = self.slab.in_reach
        start = max(center - reach, 0)
        near = self.maps[volume.name].movedim(view.axis + 1, 1)[:, start : center + reach + 1]
        return super()._cut(volume, view, center) | {"maps": self._predicted(near, center - start, view)}


class MapCollate(SlabCollate):
    """Batches with "maps" on the canvas of the images."""

    def __call__(self, items: Sequence[Mapping[str, Mapping[str, torch.Tensor]]]) -> dict[str, dict[str, torch.Tensor]]:
        batch = super().__call__(items)
        batch["maps"] = {
            view: torch.stack([self._place(item["maps"][view], image.shape[-2:]) for item in items])
            for view, image in batch["image"].items()
        }
        return batch


def prepare_map_batch(batch: Mapping[str, Any], *args: Any, **kwargs: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """``prepare_slab_batch`` whose draws hold the maps."""
    images, labels, rest, options = prepare_slab_batch(batch, *args, **kwargs)
    for view, draws in options["draws"].items():
        draws["maps"] = batch["maps"][view]
    return images, labels, rest, options


class OwnMapInferer(UnrolledInferer):
    """The training pass with coarse networks that stay as they are, statistics and dropout included."""

    def _unroll(self, image: torch.Tensor, network: Any, *args: Any) -> torch.Tensor:
        for parts in network.views.values():
            parts.coarse.eval()
        return super()._unroll(image, network, *args)


class MapInferer(OwnMapInferer):
    """The training pass in which P(t - 1) of g and the boxes is the map of the draws, fused over the views."""

    def _unroll(
        self, image: torch.Tensor, network: Any, target: torch.Tensor, draws: Mapping[str, torch.Tensor], view: str
    ) -> torch.Tensor:
        self._maps = draws["maps"].chunk(self.rounds, dim=1)
        self._round = 0
        return super()._unroll(image, network, target, draws, view)

    def _coarse(self, *_: Any) -> torch.Tensor:
        return self._maps[0]

    def _ungrown_boxes(self, truth: Any, probability: torch.Tensor, draws: Any, t: int) -> torch.Tensor:
        self._round = t
        return super()._ungrown_boxes(truth, self._maps[t], draws, t)

    def _weights(self, probability: torch.Tensor, *args: Any) -> torch.Tensor:
        return super()._weights(self._maps[self._round], *args)


class MapsHandler:
    """
    Makes the maps of all training cases anew before each epoch.

    Args:
        dataset: gets the maps.
        network: in training.
        inferer: of validation.
        say: is told how far it is.
        known: maps of the first epoch, which are those of all runs from the same weights; filled when empty.
    """

    def __init__(
        self,
        dataset: MapDataset,
        network: torch.nn.Module,
        inferer: CoarseToFineInferer,
        say: Callable[[str], None],
        known: dict[str, torch.Tensor],
    ) -> None:
        self.dataset, self.network, self.inferer, self.say, self.known = dataset, network, inferer, say, known

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Run the network on all cases."""
        if engine.state.epoch == 1 and self.known:
            self.dataset.maps = self.known
            return
        self.network.eval()
        maps = {
            volume.name: maps_of(volume.image, self.network, self.inferer, self.dataset.rounds)
            for volume in self.dataset.volumes
            if isinstance(volume, CachedVolume)
        }
        self.network.train()
        if engine.state.epoch == 1:
            self.known |= maps
        self.dataset.maps = maps
        self.say(f"epoch {engine.state.epoch}: maps of {len(maps)} cases")

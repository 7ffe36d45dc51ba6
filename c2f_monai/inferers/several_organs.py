# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Several organs, each with its own network, in one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.conflicts import resolve_conflicts
from ..utils import unwrap
from .coarse_to_fine import CoarseToFineInferer
from .fusion import move_to_mask
from .records import stack_cases

__all__ = ["SeveralOrgansInferer"]


class SeveralOrgansInferer(Inferer):
    """
    Organs that were trained alone, tested alone on the same volume, which is read once [3.6].

    A voxel that several organs claim goes to the largest mean of the views' probabilities, under vote too. Organs that
    are channels of one network need no such inferer: :py:class:`CoarseToFineInferer` with ``exclusive=True``.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        inferers: by organ, its coarse-to-fine inferer; settings may differ, the threshold may not. The latest call's
            records of an organ are those of its inferer; where it keeps masks, the last one is what the organ is left
            with.

    Raises:
        TypeError: when one is no :py:class:`CoarseToFineInferer`.
        ValueError: for no organ, an inferer that serves two organs, or different thresholds.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from c2f_monai.inferers import CoarseToFineInferer, SeveralOrgansInferer
        >>> from c2f_monai.networks import CoarseToFineNet, FCN8s
        >>> small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3)
        >>> organs = ["pancreas", "spleen"]
        >>> networks = torch.nn.ModuleDict({organ: CoarseToFineNet(small, small) for organ in organs}).eval()
        >>> inferer = SeveralOrgansInferer({organ: CoarseToFineInferer(margin=8) for organ in organs})
        >>> inferer(torch.rand(1, 1, 16, 16, 16), networks).shape  # a channel for each organ
        torch.Size([1, 2, 16, 16, 16])
    """

    def __init__(self, inferers: Mapping[str, CoarseToFineInferer]) -> None:
        super().__init__()
        if not inferers:
            raise ValueError("inferers is empty: give at least one organ.")
        for name, inferer in inferers.items():
            if not isinstance(inferer, CoarseToFineInferer):
                raise TypeError(f"the inferer of {name} must be a CoarseToFineInferer, got {type(inferer).__name__}.")
        if len({id(inferer) for inferer in inferers.values()}) < len(inferers):
            raise ValueError("every organ needs its own inferer: the records of one that serves two are overwritten.")
        if len(thresholds := {inferer.threshold for inferer in inferers.values()}) > 1:
            raise ValueError(f"the organs' thresholds must be equal, got {sorted(thresholds)}.")
        self.inferers = dict(inferers)

    @torch.no_grad()
    def __call__(  # type: ignore[override]  # a network for each organ, where MONAI's inferers take one
        self, inputs: torch.Tensor, network: Mapping[str, Any] | torch.nn.ModuleDict
    ) -> torch.Tensor:
        """
        Args:
            inputs: (B, 1, H, W, D) RAS volumes as the inferers take them.
            network: by organ, for instance a ``torch.nn.ModuleDict``.

        Returns:
            (B, sum of K, H, W, D) float32 probabilities in the order of ``inferers``; at each voxel at most one is at
            or above the threshold. A MetaTensor where the input is one.

        Raises:
            ValueError: for another shape or an organ without a network.
        """
        networks: Any = unwrap(network)
        if missing := [name for name in self.inferers if name not in networks]:
            raise ValueError(f"network must hold one network for each organ, it lacks {missing}.")
        answers = [inferer.segment(inputs, networks[name]) for name, inferer in self.inferers.items()]
        confidence, claims = (torch.cat(column, dim=1) for column in zip(*answers, strict=True))
        mask = stack_cases([resolve_conflicts(*case) for case in zip(confidence, claims, strict=True)])
        self._keep_answers(mask, [claim.shape[1] for _, claim in answers])
        move_to_mask(confidence, mask, next(iter(self.inferers.values())).threshold)
        return MetaTensor(confidence).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else confidence

    def _keep_answers(self, mask: torch.Tensor, classes: Sequence[int]) -> None:
        """Put the masks without conflicts in the place of the last rounds' in the records that keep masks."""
        for inferer, own in zip(self.inferers.values(), mask.split(list(classes), dim=1), strict=True):
            for record, case in zip(inferer.records, own, strict=True):
                if record.masks:
                    record.masks[-1] = case.cpu()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks by hand, which find what is brighter than a level."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from c2f_monai.networks import CoarseToFineNet, SaliencyTransform


class Brighter(torch.nn.Module):
    """Logits of being brighter than a level, one class for each level."""

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels).repeat_interleave(3)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 40.0 * (x.repeat(1, len(self.levels) // 3, 1, 1) - self.levels)


def network(*levels: float, saliency: bool = False, coarse: Sequence[float] = ()) -> CoarseToFineNet:
    """Network of one class for each level; its coarse part may have other levels than the fine one."""
    channels = 3 * len(levels)
    g = (lambda: SaliencyTransform(channels, 3)) if saliency else None
    net = CoarseToFineNet(lambda: Brighter(coarse or levels), lambda: Brighter(levels), g, out_channels=len(levels))
    return net.eval()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The saliency transformation g: a probability map becomes spatial weights on the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from ..utils import DEFAULT_SLAB

__all__ = ["SaliencyTransform"]


class SaliencyTransform(nn.Module):
    """
    Size-preserving convolutions from a probability map to one weight map for each input channel [3.4].

    ReLU between the layers, none after the last. It starts as a positive constant map: the last layer's weights are
    zero and its biases ``bias``, so that the fine network first sees the image itself.

    Based on: Yu et al., "Recurrent Saliency Transformation Network", CVPR 2018.

    Args:
        in_channels: channels of the probability map, for each class the slices that a slab predicts.
        out_channels: channels of the weight map, the slices of an input slab.
        kernel_sizes: odd kernel of each layer; (3, 3) is the paper's best, (3,) its basic, (3, 5) its code's.
        bias: starting bias of the last layer, one number or one for each output channel (the PyTorch port:
            1.0, 1.5, 2.0).

    Raises:
        ValueError: for no or even kernels, channels below 1, or a ``bias`` that is not positive or of wrong length.
    """

    def __init__(
        self,
        in_channels: int = DEFAULT_SLAB.out_slices,
        out_channels: int = DEFAULT_SLAB.in_slices,
        kernel_sizes: Sequence[int] = (3, 3),
        bias: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"channels must be at least 1, got {in_channels} and {out_channels}.")
        if not kernel_sizes or any(k < 1 or k % 2 == 0 for k in kernel_sizes):
            raise ValueError(f"kernel_sizes must be odd numbers, at least one, got {list(kernel_sizes)}.")
        biases = [float(bias)] * out_channels if isinstance(bias, (int, float)) else [float(b) for b in bias]
        if len(biases) != out_channels or min(biases) <= 0:
            raise ValueError(f"bias must be positive, one number or {out_channels}, got {bias!r}.")
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernel_sizes):
            if i:
                layers.append(nn.ReLU(inplace=True))
            conv = nn.Conv2d(out_channels if i else in_channels, out_channels, kernel, padding=kernel // 2)
            nn.init.xavier_uniform_(conv.weight)
            nn.init.ones_(conv.bias)  # type: ignore[arg-type]
            layers.append(conv)
        nn.init.zeros_(conv.weight)
        with torch.no_grad():
            conv.bias.copy_(torch.tensor(biases))  # type: ignore[union-attr]
        self.layers = nn.Sequential(*layers)
        #: Pixels that a weight depends on around its own.
        self.reach = sum(kernel // 2 for kernel in kernel_sizes)

    def forward(self, prior: torch.Tensor) -> torch.Tensor:
        """
        Args:
            prior: (B, in_channels, h, w) probabilities of the previous round on the whole slab.

        Returns:
            weights (B, out_channels, h, w), not bounded.
        """
        weights: torch.Tensor = self.layers(prior)
        return weights

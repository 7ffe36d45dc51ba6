# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""DeepLab on the layout of the 16-layer VGGNet, at any width, from MONAI's blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.blocks import Convolution, SimpleASPP

from ..utils import DEFAULT_SLAB
from .fcn8s import VGG16_BLOCKS

__all__ = ["DeepLab"]


class DeepLab(nn.Module):
    """
    DeepLab: VGG-16 features at one eighth of the resolution, atrous spatial pyramid pooling, bilinear up-sampling.

    The two last poolings of VGG-16 are left out and its fifth block is dilated instead, so small targets keep their
    place; the pyramid sees their surroundings at several scales. Size-preserving for every h, w >= 1: poolings round
    up, and the up-sampled map is cropped to the image. A stronger coarse stage of step-wise cyst segmentation [3.7].

    Based on: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and
    Fully Connected CRFs", TPAMI 2018 (without the CRF); Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small
    Target Segmentation in Abdominal CT Scans", 2019.

    Args:
        in_channels: channels of the input, the slices of a slab.
        out_channels: channels of the logits, for each class the slices that a slab predicts.
        width: channels of the first block; 64 is VGG-16.
        aspp_channels: channels of each branch of the pyramid.
        kernel_sizes: odd kernel of each branch.
        dilations: dilation of each branch, in cells of 8 pixels.
        dropout: probability before the scores.
        norm: MONAI normalization name or (name, arguments), such as "batch"; None for none.
        score_init: "zero" or "xavier" start of the score layer, as of :py:class:`c2f_monai.networks.FCN8s`.

    Raises:
        ValueError: for sizes below 1, even kernels, branches whose kernels and dilations differ in number, or an
            unknown ``score_init``.
    """

    def __init__(
        self,
        in_channels: int = DEFAULT_SLAB.in_slices,
        out_channels: int = DEFAULT_SLAB.out_slices,
        width: int = 64,
        aspp_channels: int = 256,
        kernel_sizes: Sequence[int] = (1, 3, 3, 3),
        dilations: Sequence[int] = (1, 2, 4, 6),
        dropout: float = 0.5,
        norm: str | tuple | None = "batch",
        score_init: str = "zero",
    ) -> None:
        super().__init__()
        for name, value in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("width", width),
            ("aspp_channels", aspp_channels),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self._check_choices(kernel_sizes, dilations, score_init)
        # A configuration file gives a list.
        kind = norm if norm is None or isinstance(norm, str) else tuple(norm)
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, (multiple, convolutions) in enumerate(VGG16_BLOCKS, start=1):
            blocks.append(self._block(channels, multiple * width, convolutions, kind, 2 if number == 5 else 1))
            channels = multiple * width
            if number <= 3:
                # A pooling that rounds up keeps the last row and column of odd sizes.
                blocks.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*blocks)
        self.aspp = SimpleASPP(
            spatial_dims=2,
            in_channels=channels,
            conv_out_channels=aspp_channels,
            kernel_sizes=kernel_sizes,
            dilations=dilations,
            norm_type=kind,
            acti_type="relu",
            bias=kind is None,
        )
        self.dropout = nn.Dropout(float(dropout))
        self.score = nn.Conv2d(aspp_channels * len(kernel_sizes), out_channels, 1)
        self._initialize(score_init)

    @staticmethod
    def _check_choices(kernel_sizes: Sequence[int], dilations: Sequence[int], score_init: str) -> None:
        if not kernel_sizes or any(k < 1 or k % 2 == 0 for k in kernel_sizes):
            raise ValueError(f"kernel_sizes must be odd numbers, at least one, got {list(kernel_sizes)}.")
        if len(dilations) != len(kernel_sizes) or min(dilations) < 1:
            raise ValueError(
                f"dilations must be positive, one for each of the {len(kernel_sizes)} kernels, got {list(dilations)}."
            )
        if score_init not in ("zero", "xavier"):
            raise ValueError(f"score_init must be 'zero' or 'xavier', got {score_init!r}.")

    @staticmethod
    def _block(
        in_channels: int, out_channels: int, convolutions: int, norm: str | tuple | None, dilation: int
    ) -> nn.Sequential:
        return nn.Sequential(
            *[
                Convolution(
                    spatial_dims=2,
                    in_channels=in_channels if i == 0 else out_channels,
                    out_channels=out_channels,
                    kernel_size=3,
                    dilation=dilation,
                    adn_ordering="NA",
                    act=("relu", {"inplace": True}),
                    norm=norm,
                    bias=norm is None,
                )
                for i in range(convolutions)
            ]
        )

    def _initialize(self, score_init: str) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if score_init == "zero":
            nn.init.zeros_(self.score.weight)
        else:
            nn.init.xavier_uniform_(self.score.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (B, in_channels, h, w), any h, w >= 1.

        Returns:
            logits (B, out_channels, h, w).
        """
        score = self.score(self.dropout(self.aspp(self.features(x))))
        # By the stride and then cropped: a size that is no multiple of 8 must not stretch the map.
        up = F.interpolate(score, scale_factor=8.0, mode="bilinear", align_corners=False)
        return up[:, :, : x.shape[2], : x.shape[3]]

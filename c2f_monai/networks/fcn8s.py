# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""FCN-8s on the layout of the 16-layer VGGNet, at any width."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers.utils import get_norm_layer

from ..utils import DEFAULT_SLAB
from .initialization import prior_logit
from .layers import MatrixConv2d, ScoreConv2d

__all__ = ["FCN8s", "bilinear_kernel"]

#: (channels as a multiple of the width, number of 3x3 convolutions) of VGG-16's five blocks.
VGG16_BLOCKS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
ORIGINAL_PADDING = 100


def bilinear_kernel(size: int) -> torch.Tensor:
    """Kernel of a bilinear up-sampling by ceil(size / 2).

    Returns:
        (size, size) float32.
    """
    factor = (size + 1) // 2
    center = factor - 1.0 if size % 2 else factor - 0.5
    line = 1.0 - (torch.arange(size, dtype=torch.float32) - center).abs() / factor
    return torch.outer(line, line)


def _crop_like(x: torch.Tensor, like: torch.Tensor, offset: int) -> torch.Tensor:
    """The part of a map that starts at an offset and has the height and width of another map."""
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


class FCN8s(nn.Module):
    """
    FCN-8s: VGG-16 features, class scores from fc7, pool4 and pool3, up-sampled in three steps [3.3.1].

    Size-preserving for every h, w >= 1: poolings round up, and every up-sampled map is cropped to the map it joins.

    Based on: Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015;
    Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans", 2019.

    Args:
        in_channels: channels of the input, the slices of a slab.
        out_channels: channels of the logits, for each class the slices that a slab predicts.
        width: channels of the first block; 64 is the published network.
        fc_channels: channels of fc6 and fc7; 4096 is published.
        fc_kernel_size: odd kernel of fc6; 7 is published.
        dropout: probability after fc6 and fc7.
        dropout_by_channel: drop whole channels (PyTorch port) instead of elements (Caffe).
        norm: MONAI normalization name or (name, arguments), such as "batch"; None as published.
        padding: "same", or 100: the original's padding of conv1_1 (fc6 then pads nothing), for imported weights.
        score_init: "zero" (PyTorch port) or "xavier" (Caffe RSTN) start of the score layers.
        freeze_upsampling: keep the up-sampling kernels fixed, as the original code does.
        prior: share of the target in a slice, where every probability starts but for those of the outermost 4 pixels,
            see :py:func:`c2f_monai.networks.initialization.prior_logit`; None starts at 0.5, as published.
        upsampling_init: "bilinear" (original code), or "random", as the chapter's RSTN starts [3.5.3.1]: normal, so
            that a map keeps its variance.

    Raises:
        ValueError: for sizes below 1, an even ``fc_kernel_size``, one that is not 7 with ``padding=100`` (the original
            crop offsets hold for 7 alone), an unknown ``padding``, ``score_init`` or ``upsampling_init``, or random
            up-sampling that is frozen or starts at a ``prior``.
    """

    # Offsets that align pool4, pool3 and the output when conv1_1 pads by 100 and nothing else pads.
    __constants__ = ["crop_pool4", "crop_pool3", "crop_output", "original_border", "pool3_reach"]
    crop_pool4, crop_pool3, crop_output = 5, 9, 31
    original_border = ORIGINAL_PADDING - 1
    # Pixels around its own 8 that a pixel of pool3 depends on: 2 of block 1, 2 * 2 of block 2 and 4 * 3 of block 3.
    pool3_reach = 18

    def __init__(
        self,
        in_channels: int = DEFAULT_SLAB.in_slices,
        out_channels: int = DEFAULT_SLAB.out_slices,
        width: int = 64,
        fc_channels: int = 4096,
        fc_kernel_size: int = 7,
        dropout: float = 0.5,
        dropout_by_channel: bool = False,
        norm: str | tuple | None = None,
        padding: str | int = "same",
        score_init: str = "zero",
        freeze_upsampling: bool = True,
        prior: float | None = None,
        upsampling_init: str = "bilinear",
    ) -> None:
        super().__init__()
        self._check_sizes(in_channels, out_channels, width, fc_channels, fc_kernel_size)
        self._check_choices(padding, fc_kernel_size, score_init)
        self._check_upsampling(upsampling_init, freeze_upsampling, prior)
        self.original_padding = padding == ORIGINAL_PADDING
        self.normalized = norm is not None
        blocks, channels = [], in_channels
        for number, (multiple, convolutions) in enumerate(VGG16_BLOCKS, start=1):
            blocks.append(self._block(number, channels, multiple * width, convolutions, norm))
            channels = multiple * width
        self.block1, self.block2, self.block3, self.block4, self.block5 = blocks
        # A pooling that rounds up keeps the last row and column of odd sizes.
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        drop = nn.Dropout2d if dropout_by_channel else nn.Dropout
        fc_padding = 0 if self.original_padding else fc_kernel_size // 2
        self.fc = nn.Sequential(
            OrderedDict(
                fc6=MatrixConv2d(channels, fc_channels, fc_kernel_size, padding=fc_padding),
                relu6=nn.ReLU(inplace=True),
                drop6=drop(float(dropout)),
                fc7=MatrixConv2d(fc_channels, fc_channels, 1),
                relu7=nn.ReLU(inplace=True),
                drop7=drop(float(dropout)),
            )
        )
        self.score_fr = ScoreConv2d(fc_channels, out_channels)
        self.score_pool4 = nn.Conv2d(8 * width, out_channels, 1)
        self.score_pool3 = nn.Conv2d(4 * width, out_channels, 1)
        trim = 0 if self.original_padding else 1
        self.upscore2 = nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=trim, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=trim, bias=False)
        self.upscore8 = nn.ConvTranspose2d(out_channels, out_channels, 16, stride=8, padding=4 * trim, bias=False)
        self._initialize(score_init, upsampling_init, freeze_upsampling)
        if prior is not None:
            bias: Any = self.score_pool3.bias  # of the last score layer; the kernel after it sums to 1
            nn.init.constant_(bias, prior_logit(prior))

    @staticmethod
    def _check_sizes(in_channels: int, out_channels: int, width: int, fc_channels: int, fc_kernel_size: int) -> None:
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("width", width)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if fc_channels < 1 or fc_kernel_size < 1 or fc_kernel_size % 2 == 0:
            raise ValueError(
                f"fc_channels must be positive and fc_kernel_size odd, got {fc_channels} and {fc_kernel_size}."
            )

    @staticmethod
    def _check_choices(padding: str | int, fc_kernel_size: int, score_init: str) -> None:
        if padding not in ("same", ORIGINAL_PADDING):
            raise ValueError(f"padding must be 'same' or {ORIGINAL_PADDING}, got {padding!r}.")
        if padding == ORIGINAL_PADDING and fc_kernel_size != 7:
            raise ValueError(f"fc_kernel_size must be 7 with padding {ORIGINAL_PADDING}, got {fc_kernel_size}.")
        if score_init not in ("zero", "xavier"):
            raise ValueError(f"score_init must be 'zero' or 'xavier', got {score_init!r}.")

    @staticmethod
    def _check_upsampling(init: str, frozen: bool, prior: float | None) -> None:
        if init not in ("bilinear", "random"):
            raise ValueError(f"upsampling_init must be 'bilinear' or 'random', got {init!r}.")
        if init == "random" and frozen:
            raise ValueError("random up-sampling kernels must be trained: set freeze_upsampling to False, got True.")
        if init == "random" and prior is not None:
            raise ValueError(f"prior needs kernels that sum to 1, upsampling_init 'bilinear', got prior {prior}.")

    @staticmethod
    def _block(
        number: int, in_channels: int, out_channels: int, convolutions: int, norm: str | tuple | None
    ) -> nn.Sequential:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(1, convolutions + 1):
            layers[f"conv{number}_{i}"] = nn.Conv2d(
                in_channels if i == 1 else out_channels, out_channels, 3, padding=1, bias=norm is None
            )
            if norm is not None:
                # A configuration file gives a list.
                kind = norm if isinstance(norm, str) else tuple(norm)
                layers[f"norm{number}_{i}"] = get_norm_layer(kind, spatial_dims=2, channels=out_channels)
            layers[f"relu{number}_{i}"] = nn.ReLU(inplace=True)
        return nn.Sequential(layers)

    def _initialize(self, score_init: str, upsampling_init: str, freeze_upsampling: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                self._start_upsampling(module, upsampling_init)
                module.weight.requires_grad_(not freeze_upsampling)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for score in (self.score_fr, self.score_pool4, self.score_pool3):
            if score_init == "zero":
                nn.init.zeros_(score.weight)
            else:
                nn.init.xavier_uniform_(score.weight)

    @staticmethod
    def _start_upsampling(layer: nn.ConvTranspose2d, init: str) -> None:
        size = layer.kernel_size[0]
        if init == "random":
            # So many terms make a pixel of the larger map.
            nn.init.normal_(layer.weight, std=(layer.in_channels * (size / layer.stride[0]) ** 2) ** -0.5)
            return
        with torch.no_grad():
            layer.weight.zero_()
            for channel in range(layer.in_channels):
                layer.weight[channel, channel] = bilinear_kernel(size)

    def _pool3(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.pool(self.block3(self.pool(self.block2(self.pool(self.block1(x))))))
        return features

    def _padded_pool3(self, x: torch.Tensor) -> torch.Tensor:
        """pool3 of an image in 100 zeros on each side, of which conv1_1 adds the last.

        Far from the image it is that of a blank image, which is run once for a batch; the images are run with as many
        zeros as pool3 sees of them. A normalization may look at the whole map: then all of it is run.
        """
        border = self.original_border
        canvas = F.pad(x, [border, border, border, border])
        if self.normalized or x.shape[0] == 1:
            return self._pool3(canvas)
        # In pixels of pool3, 8 of the image: those that see it, and a rim that those see.
        rim, reach = 3, self.pool3_reach
        start = (border - reach) // 8
        bottom, right = (border + x.shape[2] - 1 + reach) // 8 + 1, (border + x.shape[3] - 1 + reach) // 8 + 1
        first = 8 * (start - rim)
        window = canvas[:, :, first : 8 * (bottom + rim), first : 8 * (right + rim)]
        pool3 = self._pool3(torch.zeros_like(canvas[:1])).repeat(x.shape[0], 1, 1, 1)
        pool3[:, :, start:bottom, start:right] = self._pool3(window)[:, :, rim:-rim, rim:-rim]
        return pool3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (B, in_channels, h, w), any h, w >= 1.

        Returns:
            logits (B, out_channels, h, w).
        """
        pool3 = self._padded_pool3(x) if self.original_padding else self._pool3(x)
        pool4 = self.pool(self.block4(pool3))
        score = self.score_fr(self.fc(self.pool(self.block5(pool4))))
        if self.original_padding:
            up4 = self.upscore2(score)
            score4 = up4 + _crop_like(self.score_pool4(pool4), up4, self.crop_pool4)
            up3 = self.upscore_pool4(score4)
            score3 = up3 + _crop_like(self.score_pool3(pool3), up3, self.crop_pool3)
            return _crop_like(self.upscore8(score3), x, self.crop_output)
        score4 = _crop_like(self.upscore2(score), pool4, 0) + self.score_pool4(pool4)
        score3 = _crop_like(self.upscore_pool4(score4), pool3, 0) + self.score_pool3(pool3)
        return _crop_like(self.upscore8(score3), x, 0)

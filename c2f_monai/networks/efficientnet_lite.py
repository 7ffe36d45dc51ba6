# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 as an encoder of MONAI's FlexibleUNet, and a U-Net on it that is light enough for a CPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.blocks import BaseEncoder
from monai.networks.nets import FLEXUNET_BACKBONE, FlexibleUNet

from ..utils import pad_to_multiple
from .initialization import prior_logit

__all__ = ["EfficientNetLiteEncoder", "LiteUNet"]

#: (kernel, stride, expansion, channels, repeats) of Lite0's blocks; the stem has 32 channels.
LITE0_BLOCKS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LITE0_STEM = 32
LITE0_CHANNELS = (16, 24, 40, 112, 320)
BACKBONE = "efficientnet-lite0"
NORM_EPS = 1e-3
#: Mean and standard deviation of red, green and blue that ImageNet's networks see normalized images with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

T = TypeVar("T", bound=BaseEncoder)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: ceil(size / stride) outputs; what is odd of the padding lies at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, which is asymmetric at stride 2 and depends on the size."""

    def for_export(self) -> nn.Module:
        """The same for sizes that are multiples of the stride, whose padding is a constant."""
        (top, bottom), (left, right) = (
            _same_padding(step, kernel, step) for step, kernel in zip(self.stride, self.kernel_size, strict=True)
        )
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            groups=self.groups,
            bias=self.bias is not None,
        )
        plain.weight, plain.bias = self.weight, self.bias
        return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        top, bottom = _same_padding(input.shape[2], self.kernel_size[0], self.stride[0])
        left, right = _same_padding(input.shape[3], self.kernel_size[1], self.stride[1])
        padded = F.pad(input, [left, right, top, bottom])
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class _Block(nn.Sequential):
    """Inverted residual of EfficientNet without squeeze-and-excitation; names as in the published weights."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        wide = in_channels * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion != 1:
            layers["_expand_conv"] = nn.Conv2d(in_channels, wide, 1, bias=False)
            layers["_bn0"] = nn.BatchNorm2d(wide, eps=NORM_EPS)
            layers["_relu0"] = nn.ReLU6(inplace=True)
        # Symmetric at stride 1: the convolution pads for itself, without a copy of the map.
        depthwise, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (_SameConv2d, 0)
        layers["_depthwise_conv"] = depthwise(wide, wide, kernel, stride, padding, groups=wide, bias=False)
        layers["_bn1"] = nn.BatchNorm2d(wide, eps=NORM_EPS)
        layers["_relu1"] = nn.ReLU6(inplace=True)
        layers["_project_conv"] = nn.Conv2d(wide, out_channels, 1, bias=False)
        layers["_bn2"] = nn.BatchNorm2d(out_channels, eps=NORM_EPS)
        super().__init__(layers)
        self.residual: bool = stride == 1 and in_channels == out_channels

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        x = input
        for layer in self:
            x = layer(x)
        return x + input if self.residual else x


def _backbone(encoder: type[T]) -> type[T]:
    """Class decorator: the encoder becomes a backbone of ``FlexibleUNet``."""
    FLEXUNET_BACKBONE.register_class(encoder)
    return encoder


@_backbone
class EfficientNetLiteEncoder(nn.Module, BaseEncoder):
    """
    EfficientNet-Lite0 without its head, registered as the backbone "efficientnet-lite0" of MONAI's ``FlexibleUNet``.

    No squeeze-and-excitation, ReLU6, batch norm with eps 1e-3, a stem of 32 channels, TensorFlow's SAME padding. The
    names of the parameters are those of the published weights in PyTorch, see
    :py:func:`c2f_monai.networks.weights.import_lite0`.

    Based on: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, and
    its Lite variants (github.com/tensorflow/tpu, models/official/efficientnet/lite).

    Args:
        spatial_dims: 2.
        in_channels: channels of the input.
        pretrained: must be False: weights come from a file that the user has.

    Raises:
        ValueError: for other than 2 spatial dimensions, or ``pretrained``.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 3, pretrained: bool = False) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ValueError(f"EfficientNet-Lite0 has 2 spatial dimensions, got spatial_dims {spatial_dims}.")
        if pretrained:
            raise ValueError("no weights are downloaded: pretrained must be False; start from a file (import-weights).")
        self._conv_stem = _SameConv2d(in_channels, LITE0_STEM, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(LITE0_STEM, eps=NORM_EPS)
        self._relu = nn.ReLU6(inplace=True)
        blocks: list[nn.Module] = []
        kept = []
        channels = LITE0_STEM
        for kernel, stride, expansion, out_channels, repeats in LITE0_BLOCKS:
            if stride == 2:
                kept.append(len(blocks) - 1)
            for repeat in range(repeats):
                blocks.append(_Block(channels, out_channels, kernel, stride if repeat == 0 else 1, expansion))
                channels = out_channels
        self._blocks = nn.ModuleList(blocks)
        #: Blocks whose maps are given: the last ones at strides 2, 4, 8, 16 and 32.
        self.kept: list[int] = [*kept, len(blocks) - 1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        """Arguments of each encoder, as ``FlexibleUNet`` asks."""
        return [{"spatial_dims": 2, "in_channels": 3, "pretrained": False}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of each encoder's maps."""
        return [LITE0_CHANNELS]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of each encoder's maps."""
        return [len(LITE0_CHANNELS)]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Names of the backbones."""
        return [BACKBONE]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """
        Args:
            x: (B, in_channels, h, w), normalized.

        Returns:
            maps (B, 16, h/2, w/2), (B, 24, h/4, w/4), (B, 40, h/8, w/8), (B, 112, h/16, w/16), (B, 320, h/32, w/32);
            sizes are rounded up.
        """
        x = self._relu(self._bn0(self._conv_stem(x)))
        maps = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self.kept:
                maps.append(x)
        return maps


class LiteUNet(nn.Module):
    """
    U-Net on EfficientNet-Lite0 for slabs in [0, 1]: MONAI's ``FlexibleUNet`` with the normalization that its encoder
    expects and a light decoder (3.0 + 0.5 million parameters, 1.1 GMAC for 256x256 pixels).

    Size-preserving for every h, w >= 1: the input is padded with zeros at its end to multiples of 32. Choose
    ``crop_multiple`` 32, so that crops grow by real pixels instead.

    Args:
        in_channels: slices of a slab, 1 or 3; a single slice becomes the three channels that the encoder expects.
        out_channels: channels of the logits.
        decoder_channels: channels of the decoder's five levels, from stride 16 to 1.
        momentum: of the encoder's batch norms. 0.01 keeps pretrained statistics, which training then follows slowly;
            from random weights they would lag behind, and 0.1 is right.
        dropout: probability in the decoder.
        prior: share of the target in a slice, where every probability starts, see
            :py:func:`c2f_monai.networks.initialization.prior_logit`; None starts the last bias as PyTorch does.

    Raises:
        ValueError: for ``in_channels`` other than 1 and 3, decoder channels that are not five numbers above 1, or a
            ``prior`` outside of (0, 1).
    """

    __constants__ = ["divisor"]
    divisor = 32

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        decoder_channels: Sequence[int] = (96, 48, 32, 16, 16),
        momentum: float = 0.1,
        dropout: float = 0.0,
        prior: float | None = None,
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 or 3, the slices of a slab, got {in_channels}.")
        if len(decoder_channels) != len(LITE0_CHANNELS) or min(decoder_channels) < 2:
            raise ValueError(f"decoder_channels must be five numbers above 1, got {list(decoder_channels)}.")
        self.unet = FlexibleUNet(
            in_channels=3,
            out_channels=out_channels,
            backbone=BACKBONE,
            decoder_channels=tuple(decoder_channels),
            dropout=float(dropout),
        )
        encoder: Any = self.unet.encoder
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum
        if prior is not None:
            head: Any = self.unet.segmentation_head[0]
            nn.init.constant_(head.bias, prior_logit(prior))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (B, in_channels, h, w) in [0, 1], any h, w >= 1.

        Returns:
            logits (B, out_channels, h, w).
        """
        # A single slice is broadcast to three channels here.
        normalized = (pad_to_multiple(x, self.divisor) - self.mean) / self.std  # type: ignore[operator]
        logits: torch.Tensor = self.unet(normalized)[:, :, : x.shape[2], : x.shape[3]]
        return logits

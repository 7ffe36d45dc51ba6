# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers of our own: convolutions for many weights and small maps, and for few classes of many channels."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["MatrixConv2d", "ScoreConv2d"]


class MatrixConv2d(nn.Conv2d):
    """
    Convolution of stride 1 that is one matrix product where the maps are small and the weights many.

    Convolution libraries bring the weights into an order of their own in every call. For fc6 of the published FCN-8s,
    411 MB, that takes longer than convolving a crop. Where there are fewer output pixels than output channels, the
    patches are smaller than the weights, and a product of both reads each of them once. What of a kernel falls on
    padding alone, on maps smaller than the kernel, is left out.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        padding: zeros around the input. Defaults to 0.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        self.side, self.margin = kernel_size, padding

    def for_export(self) -> nn.Module:
        """The plain convolution: which of the two is quicker depends on the size, which a graph leaves open."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, self.side, padding=self.margin)
        plain.weight, plain.bias = self.weight, self.bias
        return plain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (B, in_channels, h, w).

        Returns:
            (B, out_channels, h + 2 * padding - kernel_size + 1, w + 2 * padding - kernel_size + 1).
        """
        height = x.shape[2] + 2 * self.margin - self.side + 1
        width = x.shape[3] + 2 * self.margin - self.side + 1
        if min(height, width) < 1 or x.shape[0] * height * width >= self.out_channels:
            plain: torch.Tensor = self._conv_forward(x, self.weight, self.bias)
            return plain
        # Rows and columns of the kernel that meet the input at any output pixel.
        top, bottom = max(0, self.margin - height + 1), min(self.side, self.margin + x.shape[2])
        left, right = max(0, self.margin - width + 1), min(self.side, self.margin + x.shape[3])
        before = [self.margin - left, self.margin - top]
        after = [width - 1 + right - x.shape[3] - before[0] - left, height - 1 + bottom - x.shape[2] - before[1] - top]
        padded = F.pad(x, [before[0], after[0], before[1], after[1]]).permute(0, 2, 3, 1)
        patches = padded.unfold(1, bottom - top, 1).unfold(2, right - left, 1).permute(0, 1, 2, 4, 5, 3)
        # The order of weights in channels_last: the matrix is a view of them.
        weight = self.weight[:, :, top:bottom, left:right].permute(0, 2, 3, 1).flatten(1)
        y = F.linear(patches.reshape(-1, weight.shape[1]), weight, self.bias)
        return y.view(x.shape[0], height, width, self.out_channels).permute(0, 3, 1, 2)


class ScoreConv2d(nn.Conv2d):
    """
    1x1 convolution to few channels, the scores of classes, whose training under autocast is safe on every processor.

    On processors with AMX the gradient of such weights in bfloat16 is written beyond its buffer by oneDNN (torch 2.13,
    several threads, more than 2048 channels to fewer than 16): training ends with "corrupted size vs. prev_size", or
    goes on with memory overwritten. So where gradients are asked for on a CPU, scores of so many channels are float32.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (B, in_channels, h, w).

        Returns:
            (B, out_channels, h, w), of the type of the weights for more than 2048 channels on a CPU with gradients.
        """
        if not torch.jit.is_scripting():  # a script is not trained
            if self.in_channels > 2048 and x.device.type == "cpu" and torch.is_grad_enabled():
                with torch.autocast("cpu", enabled=False):
                    return super().forward(x.to(self.weight.dtype))
        plain: torch.Tensor = self._conv_forward(x, self.weight, self.bias)
        return plain

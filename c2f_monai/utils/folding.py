# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation of a finished network as part of the convolutions before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_batch_norm"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Sequential, str, str]]:
    """Each ``nn.Sequential`` with the names of a convolution in it and of the batch norm that follows."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            names = list(module._modules)
            for first, second in zip(names, names[1:], strict=False):
                if isinstance(module._modules[first], CONVOLUTIONS) and isinstance(module._modules[second], _BatchNorm):
                    yield module, first, second


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A network that computes the same in evaluation mode, without its batch norms.

    A normalisation is one more pass over every map, about a sixth of the time of a compact FCN-8s in float32.

    Args:
        network: it is not changed.

    Returns:
        a copy with each convolution and the batch norm behind it in an ``nn.Sequential`` as one convolution; the
        network itself where there is no such pair, in training mode, or where it was scripted.
    """
    if network.training or next(_pairs(network), None) is None:
        return network
    folded = copy.deepcopy(network)
    for module, first, second in list(_pairs(folded)):
        pair: Any = (module._modules[first], module._modules[second])
        module._modules[first] = fuse_conv_bn_eval(*pair)
        module._modules[second] = nn.Identity()
    return folded

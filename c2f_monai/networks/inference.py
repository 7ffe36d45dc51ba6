# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A finished network with less to compute."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layers import MatrixConv2d

__all__ = ["prepare_for_inference"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Sequential, str, str]]:
    """Each ``nn.Sequential`` with the names of a convolution in it and of the batch norm that follows."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            names = list(module._modules)
            for first, second in zip(names, names[1:], strict=False):
                if isinstance(module._modules[first], CONVOLUTIONS) and isinstance(module._modules[second], _BatchNorm):
                    yield module, first, second


def prepare_for_inference(network: nn.Module, amp_dtype: torch.dtype | None = None) -> nn.Module:
    """A network that computes the same in evaluation mode with less work.

    Batch norms become part of the convolutions before them: one is one more pass over every map, about a sixth of the
    time of a compact FCN-8s in float32. Weights that are used as a matrix are brought to the dtype of autocast, which
    casts a view of them anew in every call.

    Args:
        network: it is not changed.
        amp_dtype: dtype of the autocast in which it will run. Defaults to None, no autocast.

    Returns:
        a copy that shares the weights that stay as they are; the network itself where there is nothing to do, in
        training mode, or where it was scripted.
    """
    if network.training or isinstance(network, torch.jit.ScriptModule):
        return network
    if next(_pairs(network), None) is None and (amp_dtype is None or next(_matrices(network), None) is None):
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    prepared = copy.deepcopy(network, shared)
    for module, first, second in list(_pairs(prepared)):
        pair: Any = (module._modules[first], module._modules[second])
        module._modules[first] = fuse_conv_bn_eval(*pair)
        module._modules[second] = nn.Identity()
    for matrix in _matrices(prepared) if amp_dtype is not None else ():
        for name, parameter in list(matrix.named_parameters()):
            setattr(matrix, name, nn.Parameter(parameter.detach().to(amp_dtype), requires_grad=False))
    return prepared


def _matrices(network: nn.Module) -> Iterator[MatrixConv2d]:
    return (module for module in network.modules() if isinstance(module, MatrixConv2d))

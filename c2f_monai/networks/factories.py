# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What configurations build networks with: a backbone by its name, and the network of three parts around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from monai.networks.nets import UNet

from ..utils import DEFAULT_SLAB, SlabSpec, View
from .coarse_to_fine import CoarseToFineNet
from .fcn8s import FCN8s
from .initialization import prior_logit

__all__ = ["build_network", "fcn8s_compact", "unet"]


def build_network(
    coarse: Callable[..., nn.Module],
    fine: Callable[..., nn.Module] | None = None,
    saliency: Callable[..., nn.Module] | None = None,
    out_channels: int = 1,
    slab: SlabSpec = DEFAULT_SLAB,
    views: Sequence[str] = tuple(View),
    **options: Any,
) -> CoarseToFineNet:
    """The coarse-to-fine network of some parts, each told the channels that the slab and the classes ask for.

    Args:
        coarse: makes f_C from ``in_channels`` and ``out_channels``: any 2D network that keeps the size of its input.
        fine: makes f_F likewise; None leaves the fine stage out.
        saliency: makes g likewise, such as :py:class:`SaliencyTransform`; None is the step-wise approach.
        out_channels: number K of target classes. Defaults to 1.
        slab: slices that go into a slab and that come out. Defaults to 3 and 3.
        views: any non-empty subset of "sagittal", "coronal", "axial". Defaults to all three.
        options: further arguments of :py:class:`CoarseToFineNet`, such as ``size_divisor`` and ``slice_axcodes``.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: what :py:class:`CoarseToFineNet` refuses.
    """
    maps = out_channels * slab.out_slices

    def part(make: Callable[..., nn.Module] | None, into: int, out: int) -> Callable[[], nn.Module] | None:
        return None if make is None else partial(make, in_channels=into, out_channels=out)

    return CoarseToFineNet(
        coarse=partial(coarse, in_channels=slab.in_slices, out_channels=maps),
        fine=part(fine, slab.in_slices, maps),
        saliency=part(saliency, maps, slab.in_slices),
        views=views,
        out_channels=out_channels,
        slab=slab,
        **options,
    )


def fcn8s_compact(in_channels: int = 3, out_channels: int = 3, **changes: Any) -> FCN8s:
    """The bundle's backbone: FCN-8s of a quarter of the width with batch norm, which two cores train within an hour.

    Args:
        in_channels: channels of the input. Defaults to 3.
        out_channels: channels of the logits. Defaults to 3.
        changes: arguments of :py:class:`FCN8s` in the place of this one's: width 16, ``fc_channels`` 64,
            ``fc_kernel_size`` 3, no dropout, norm "batch", score layers that start as "xavier", trained up-sampling.
    """
    compact: Mapping[str, Any] = {
        "width": 16,
        "fc_channels": 64,
        "fc_kernel_size": 3,
        "dropout": 0.0,
        "norm": "batch",
        "score_init": "xavier",
        "freeze_upsampling": False,
    }
    return FCN8s(in_channels, out_channels, **{**compact, **changes})


def unet(in_channels: int = 3, out_channels: int = 3, prior: float | None = None, **options: Any) -> UNet:
    """MONAI's ``UNet``, whose answer starts at the target's share.

    Args:
        in_channels: channels of the input. Defaults to 3.
        out_channels: channels of the logits. Defaults to 3.
        prior: share of the target in a slice, see :py:func:`c2f_monai.networks.initialization.prior_logit`. Defaults to
            None, MONAI's start.
        options: further arguments of ``UNet``.

    Raises:
        ValueError: for a share that is not in (0, 1).
    """
    network = UNet(in_channels=in_channels, out_channels=out_channels, **options)
    if prior is not None:
        last = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d) and m.bias is not None][-1]
        with torch.no_grad():
            last.bias.add_(prior_logit(prior))  # type: ignore[union-attr]
    return network

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One encoder for two networks."""

from __future__ import annotations

import torch.nn as nn

from ..utils import describe_mismatch

__all__ = ["share_encoder"]

NAME = "encoder"


def share_encoder(first: nn.Module, second: nn.Module) -> str:
    """Give the second network the encoder of the first: weights, gradients and running statistics of batch norms.

    Args:
        first: has a module named ``encoder``, as :py:class:`LiteUNet` and MONAI's ``FlexibleUNet`` have; the outermost
            counts.
        second: has one of the same form at the same place, which it loses.

    Returns:
        The place of the encoder in both, such as ``unet.encoder``.

    Raises:
        ValueError: for a network without a module ``encoder``, or two of another form or place.
    """
    place, other = (_place(network) for network in (first, second))
    encoder = first.get_submodule(place)
    shapes = {key: value.shape for key, value in encoder.state_dict().items()}
    problems = describe_mismatch(shapes, second.get_submodule(other).state_dict())
    if place != other or problems:
        raise ValueError(
            f"shared_encoder: the encoders of the coarse network ({place}) and of the fine one ({other}) differ"
            f"{': ' if problems else ''}{problems}; take one backbone for both."
        )
    second.get_submodule(place.rpartition(".")[0]).register_module(NAME, encoder)
    return place


def _place(network: nn.Module) -> str:
    places: list[str] = [name for name, _ in network.named_modules() if name.split(".")[-1] == NAME]
    if not places:
        raise ValueError(
            f"shared_encoder: {type(network).__name__} has no module named {NAME}, as LiteUNet and MONAI's "
            "FlexibleUNet have: take one of these, or an encoder for each part."
        )
    return min(places, key=lambda name: name.count("."))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine networks that begin as copies of the coarse ones."""

from __future__ import annotations

import logging

import torch
import torch.nn as nn

from ..utils import describe_mismatch

__all__ = ["copy_to_fine", "fine_marks", "is_copy"]

logger = logging.getLogger(__name__)


def copy_to_fine(network: nn.Module) -> None:
    """Copy each view's coarse network into its fine one: the same target at the same scale, with less around it.

    Does nothing where there is no fine network. One of another form keeps its own start, which the log says.

    Args:
        network: :py:class:`c2f_monai.networks.CoarseToFineNet`.
    """
    for view, parts in network.views.items():  # type: ignore[operator, union-attr]
        if parts.fine is None:
            continue
        state = parts.coarse.state_dict()
        problems = describe_mismatch({key: value.shape for key, value in parts.fine.state_dict().items()}, state)
        if problems:
            logger.info(f"{view}: the fine network is not a copy of the coarse one: {problems}")
        else:
            parts.fine.load_state_dict(state)


def fine_marks(network: nn.Module) -> list[float]:
    """A number for each trainable tensor of the fine networks, which another one in its place changes."""
    parts = [views.fine for views in network.views.values()] if hasattr(network, "views") else []  # type: ignore[operator]
    tensors = [tensor for part in parts if part is not None for tensor in part.parameters() if tensor.requires_grad]
    return [float(tensor.detach().double().norm()) for tensor in tensors]


def is_copy(network: nn.Module) -> bool:
    """Whether the fine networks are copies of the coarse ones."""
    for parts in network.views.values():  # type: ignore[operator]
        coarse, fine = parts.coarse.state_dict(), parts.fine.state_dict()
        if describe_mismatch({key: value.shape for key, value in coarse.items()}, fine):
            return False
        if not all(torch.equal(value, fine[key]) for key, value in coarse.items()):
            return False
    return True

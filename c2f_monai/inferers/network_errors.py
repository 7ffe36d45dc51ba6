# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors of a network that was built for other slabs than its CoarseToFineNet has, and of what training hands over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..utils import SlabSpec

__all__ = ["check_draws", "check_slabs", "explained_channels"]

_DRAWS = ("size", "margins", "fallback")


@contextmanager
def explained_channels(network: Any, part: str) -> Iterator[None]:
    """Say of a convolution's error about its input's channels which argument is wrong.

    Args:
        network: CoarseToFineNet or one like it.
        part: of the network that is called.

    Raises:
        ValueError: in the place of PyTorch's error.
    """
    try:
        yield
    except RuntimeError as error:
        numbers = re.search(r"to have (\d+) channels, but got (\d+) channels", str(error))
        if numbers is None:
            raise
        own, given = numbers.groups()
        raise ValueError(
            f"the {part} network has a layer of {own} input channels that got {given}, and the slab is "
            f"{SlabSpec.of(network)}: build the network for it, or give CoarseToFineNet another, such as "
            "slab=SlabSpec(1, 1) for networks of one slice."
        ) from error


def check_slabs(inputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], network: Any) -> None:
    """Refuse slabs that were cut for another network, and views without targets.

    Raises:
        ValueError: for these.
    """
    slab, classes = SlabSpec.of(network), int(network.out_channels)
    if missing := [view for view in inputs if view not in targets]:
        raise ValueError(f"targets must hold a tensor for each view, and hold none for {', '.join(missing)}.")
    for view, image in inputs.items():
        found, wanted = (image.shape[1], targets[view].shape[1]), (slab.in_slices, slab.out_channels(classes))
        if found != wanted:
            raise ValueError(
                f"{view} slabs must have {wanted[0]} channels and targets {wanted[1]}, as the network of {classes} "
                f"class(es) has {slab}, got {found[0]} and {found[1]}: give the data set the network's slab."
            )


def check_draws(inputs: Mapping[str, torch.Tensor], draws: Mapping[str, Mapping[str, Any]], rounds: int) -> None:
    """Refuse draws that are not by view, as a collated batch has them, or are of fewer rounds.

    Raises:
        ValueError: for these.
    """
    for view in inputs:
        if missing := [name for name in _DRAWS if name not in draws.get(view, {})]:
            raise ValueError(
                f"draws must hold for each view size, margins and fallback; of {view} it lacks {', '.join(missing)}: "
                "c2f_monai.handlers.prepare_slab_batch makes them of a collated batch."
            )
        if (drawn := draws[view]["margins"].shape[1]) < rounds:
            raise ValueError(f"margins of {view} are of {drawn} rounds, and {rounds} run: give the data set rounds.")

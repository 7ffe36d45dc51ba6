# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an inferer may be given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from ..utils import Fusion, View
from .records import plain

__all__ = ["by_case", "check_counts", "check_initial", "check_loop_arguments", "network_views", "warn_of_other_unit"]

#: Beyond it values are no scaled intensities, z-scores included, but HU or gray values.
SCALED = 50.0


def check_counts(
    margin: int | None, crop_multiple: int, min_size: int, max_margin: int | None, bridge: int, pixels_per_batch: int
) -> None:
    """Numbers of pixels and slices.

    Raises:
        ValueError: for one out of range, or between two numbers.
    """
    for name, value, least in (
        ("margin", 0 if margin is None else margin, 0),
        ("crop_multiple", crop_multiple, 1),
        ("min_size", min_size, 0),
        ("max_margin", 0 if max_margin is None else max_margin, 0),
        ("bridge", bridge, 0),
        ("pixels_per_batch", pixels_per_batch, 1),
    ):
        if value != int(value):
            raise ValueError(f"{name} must be a whole number, got {value}.")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


def check_loop_arguments(rescue: float | None, damping: float, damping_decay: float, fine_fusion: Fusion) -> None:
    """Arguments of the loop beside the method.

    Raises:
        ValueError: for one out of range, and for damping of votes.
    """
    for name, share in (("rescue", 1.0 if rescue is None else rescue), ("damping", damping)):
        if not 0.0 < share <= 1.0:
            raise ValueError(f"{name} must be above 0 and at most 1, got {share}.")
    if not 0.0 <= damping_decay <= 1.0:
        raise ValueError(f"damping_decay must lie in [0, 1], got {damping_decay}.")
    if (damping < 1.0 or damping_decay) and fine_fusion == Fusion.VOTE:
        raise ValueError(
            "damping mixes probabilities: with fusion vote set it to 1 and damping_decay to 0, or fusion to "
            '["vote", "mean"].'
        )


def by_case(name: str, given: torch.Tensor | None, shape: tuple[int, ...]) -> Sequence[torch.Tensor | None]:
    """Probabilities or masks (B, K, H, W, D), case by case; None for each where there are none."""
    if given is None:
        return [None] * shape[0]
    if tuple(given.shape) != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {tuple(given.shape)}.")
    return plain(given).unbind(0)


def check_initial(initial: torch.Tensor) -> None:
    """An outside answer that the rounds start from.

    Raises:
        ValueError: when it is neither a probability nor a mask.
    """
    low, high = initial.min().item(), initial.max().item()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"initial must be a probability or a mask in [0, 1], got values from {low:g} to {high:g}: apply a sigmoid "
            "to logits, and give each class of a label map a channel of its own."
        )


def warn_of_other_unit(volumes: torch.Tensor, window: tuple[float, float] | None) -> None:
    """Warn of HU that no window scales, and of scaled values that a window makes one gray of: nothing would be found.

    Args:
        volumes: of a call.
        window: HU that become 0 and 1; None where inputs are in [0, 1].
    """
    low, high = (value.item() for value in volumes.aminmax())
    if window is None and max(-low, high) > SCALED:
        warnings.warn(
            f"inputs have values from {low:g} to {high:g} and are taken as scaled to [0, 1]: are they in HU? Give the "
            "inferer a window, such as window=(-100, 240), or scale them before.",
            stacklevel=4,
        )
    if window is not None and window[1] - window[0] > SCALED and 0 <= low < high <= 1:
        warnings.warn(
            f"inputs have values from {low:g} to {high:g} and are taken as HU, of which window {window} makes one "
            "gray: are they scaled to [0, 1] already? Leave window out.",
            stacklevel=4,
        )


def network_views(module: torch.nn.Module) -> list[View]:
    """Views of a coarse-to-fine network.

    Raises:
        TypeError: for a network of another kind.
    """
    names = getattr(module, "view_names", None)
    if names is None:
        raise TypeError(
            f"the network must be a CoarseToFineNet, or one with its interface, got {type(module).__name__}, which has "
            "no view_names: make one of 2D networks by c2f_monai.networks.CoarseToFineNet or build_network."
        )
    return [View(name) for name in names]

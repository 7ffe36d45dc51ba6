# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the views in the fusion, fitted on some cases and tested on another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.utils import dice_coefficient

from .maps import run_rounds

__all__ = ["dice_table", "left_out", "simplex", "view_maps"]


def simplex(views: int, parts: int) -> list[tuple[float, ...]]:
    """Weights of the views that add up to 1, in steps of 1 / parts.

    Examples:
        >>> simplex(2, 2)
        [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """
    counts = product(range(parts + 1), repeat=views)
    return [tuple(n / parts for n in each) for each in counts if sum(each) == parts]


def view_maps(
    image: torch.Tensor, network: torch.nn.Module, inferer: CoarseToFineInferer
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each view says of a case, in the coarse stage and in the last round by the inferer's rule.

    Args:
        image: (H, W, D) HU.
        network: in evaluation mode.
        inferer: of validation.

    Returns:
        (V, H, W, D) float16 both.
    """
    volume, names = image[None, None].float(), list(network.view_names)  # type: ignore[arg-type]
    run_rounds(volume, network, inferer, inferer.stopping)
    last = max(inferer.records[0].fine_rounds, 1)
    before = run_rounds(volume, network, inferer, StopRule(dice=None, max_rounds=last - 1))
    coarse, fine = [], []
    for name in names:
        coarse.append(run_rounds(volume, network, inferer, StopRule(dice=None, max_rounds=0), views=[name]))
        one = StopRule(dice=None, max_rounds=1)
        fine.append(run_rounds(volume, network, inferer, one, before, [name]))
    return torch.cat([x[0] for x in coarse]).half(), torch.cat([x[0] for x in fine]).half()


def dice_table(maps: torch.Tensor, label: torch.Tensor, weights: Sequence[tuple[float, ...]]) -> np.ndarray:
    """DSC in % of the weighted mean of the views' maps, for each choice of weights, (W,).

    Args:
        maps: (V, H, W, D) probabilities.
        label: (H, W, D) bool.
        weights: of the views.
    """
    near = (maps.amax(dim=0) > 0) | label
    values, truth = maps[:, near].float(), label[near]
    found = []
    for each in weights:
        mask = torch.tensor(each) @ values >= 0.5
        found.append(100 * dice_coefficient(mask, truth, empty=0.0))
    return np.array(found)


def left_out(tables: np.ndarray) -> tuple[list[int], np.ndarray]:
    """For each case the weights that are best on the mean of the others, and its DSC with them.

    Args:
        tables: (cases, W) DSC.

    Returns:
        (cases) places in W, and (cases,) DSC.

    Examples:
        >>> chosen, dsc = left_out(np.array([[70.0, 80.0], [60.0, 90.0], [85.0, 50.0]]))
        >>> chosen, dsc.tolist()
        ([0, 0, 1], [70.0, 60.0, 50.0])
    """
    chosen = [int((tables.sum(axis=0) - own).argmax()) for own in tables]
    return chosen, np.array([own[place] for own, place in zip(tables, chosen, strict=True)])

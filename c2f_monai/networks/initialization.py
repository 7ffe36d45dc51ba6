# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How the last layer of a segmentation network starts."""

from __future__ import annotations

import math

__all__ = ["prior_logit"]


def prior_logit(prior: float) -> float:
    """Log-odds of the target's share: a last bias that starts every probability at it.

    With a bias of 0 a network of random weights first has to learn that most of a slice is background, by steps so
    large that it may unlearn the target for good (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017).

    Args:
        prior: share of the target in a slice, such as 0.018 for the pancreas, which gives -4.

    Examples:
        >>> round(prior_logit(0.018), 4), round(prior_logit(0.75), 4)  # log(0.018 / 0.982) and log(3)
        (-3.9992, 1.0986)

    Raises:
        ValueError: for a share that is not in (0, 1).
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior must be a share in (0, 1), got {prior}.")
    return math.log(prior / (1.0 - prior))

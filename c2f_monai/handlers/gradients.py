# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What happens to gradients before the optimizer's step."""

from __future__ import annotations

import torch.nn as nn
from ignite.engine import Engine
from monai.engines import IterationEvents

__all__ = ["GradientClipping"]


class GradientClipping:
    """
    Shortens the gradient to a largest norm over all parameters (``torch.nn.utils.clip_grad_norm_``).

    MONAI's ``SupervisedTrainer`` has no argument for it. Gradients must not be scaled (``amp`` of the trainer); under
    the inferer's bfloat16 they are not.

    Args:
        network: its gradients.
        max_norm: largest Euclidean norm.

    Raises:
        ValueError: for a norm that is not positive.
    """

    def __init__(self, network: nn.Module, max_norm: float) -> None:
        if not max_norm > 0:
            raise ValueError(f"max_grad_norm must be positive, or null for no limit, got {max_norm}.")
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Attach to MONAI's trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip."""
        nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The same statistics of batch norms in all processes."""

from __future__ import annotations

import ignite.distributed as idist
import torch.distributed as dist
import torch.nn as nn
from ignite.engine import Engine, Events

__all__ = ["AverageBuffers"]


class AverageBuffers:
    """Averages running statistics over the processes after each epoch: all validate and save the same network.

    Args:
        network: network in training.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before validation and checkpoints."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Average the floating-point buffers."""
        for buffer in self.network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= idist.get_world_size()

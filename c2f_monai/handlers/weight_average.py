# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An average of the weights over training."""

from __future__ import annotations

import ignite.distributed as idist
import torch.nn as nn
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

from ..utils import unwrap
from .average_buffers import AverageBuffers

__all__ = ["ExponentialAverage"]


class ExponentialAverage:
    """
    An exponential average of the weights, which is validated and saved in their place (Ignite's ``EMAHandler``).

    After each iteration the average keeps a share ``decay`` of itself and takes the rest from the weights; after n
    iterations it keeps at most (1 + n) / (10 + n), so that the start is soon forgotten. The running statistics of batch
    norms are averaged likewise, over all processes where there are several. It starts at the weights that training
    starts from, and again nowhere, neither with a stage nor in a run that continues.

    :py:class:`StageSchedule` attaches it and copies its coarse networks to its own fine ones when it copies those of
    the network; :py:class:`TrainingCheckpoint` saves it.

    Args:
        network: network in training, bare or wrapped for several processes.
        decay: share of the average that stays in an iteration, such as 0.999; its memory is 1 / (1 - decay) iterations.
        validator: MONAI's evaluator of the validation, which scores the average from now on; None leaves it alone.
            Defaults to None.

    Attributes:
        model: the average, a network in evaluation mode.

    Raises:
        ValueError: when ``decay`` is not between 0 and 1.
    """

    #: In ``engine.state``: the share that the weights have in this iteration.
    momentum = "ema_momentum"

    def __init__(self, network: nn.Module, decay: float, validator: Engine | None = None) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"ema must be above 0 and below 1, such as 0.999, got {decay}.")
        self.network = unwrap(network)
        self.decay = decay
        self._handler = EMAHandler(self.network, momentum=1.0 - decay, handle_buffers="update")
        self.model: nn.Module = self._handler.ema_model
        if validator is not None:
            validator.network = self.model  # type: ignore[attr-defined]

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after what loads weights and before what validates and saves."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._set_momentum)
        self._handler.attach(engine, self.momentum, warn_if_exists=False)
        if idist.get_world_size() > 1:
            AverageBuffers(self.model).attach(engine)

    def started(self, engine: Engine) -> None:
        """Start at the network's weights, which may have been loaded since it was made."""
        if engine.state.iteration == 0:
            self.model.load_state_dict(self.network.state_dict())

    def _set_momentum(self, engine: Engine) -> None:
        """A function of the iteration alone: a run that continues needs no state of it."""
        done = engine.state.iteration
        setattr(engine.state, self.momentum, max(1.0 - self.decay, 9.0 / (10.0 + done)))

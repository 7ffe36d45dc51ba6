# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""When training is validated."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

__all__ = ["EpochValidationHandler"]


class EpochValidationHandler(ValidationHandler):
    """MONAI's ``ValidationHandler``, but the last epoch is validated whatever the interval is.

    The weights that a whole training leads to would otherwise never be scored, where the interval does not divide the
    number of epochs.

    Args:
        interval: epochs between validations; above the number of epochs the last one alone is validated.
        validator: MONAI's evaluator.

    Raises:
        TypeError: when ``validator`` is no evaluator.
        ValueError: when ``interval`` is below 1.
    """

    def __init__(self, interval: int, validator: Evaluator) -> None:
        if interval < 1:
            raise ValueError(f"val_interval must be at least 1 epoch, got {interval}.")
        super().__init__(interval, validator)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before what saves checkpoints."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What happens to gradients before the optimizer's step."""

from __future__ import annotations

import logging
import math
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn as nn
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils.enums import CommonKeys

from ..utils import some_names

__all__ = ["GradientClipping"]

logger = logging.getLogger(__name__)

#: Iterations one after the other that may be left out: what fails always is no accident.
IN_A_ROW = 10


class GradientClipping:
    """
    Shortens the gradient to a largest norm over all parameters (``torch.nn.utils.clip_grad_norm_``), and takes no step
    from a loss or a gradient that is NaN or infinite: one such step makes every weight NaN.

    MONAI's ``SupervisedTrainer`` has no argument for either. Gradients must not be scaled (``amp`` of the trainer);
    under the inferer's bfloat16 they are not.

    Args:
        network: its gradients.
        max_norm: largest Euclidean norm; None does not shorten. Defaults to None.
        non_finite: "stop" ends training at a loss or gradient that is NaN or infinite; "skip" leaves the iteration out,
            with the running statistics of its batch norms, and counts it in ``engine.state.metrics``, but stops at ten
            in a row. Defaults to "stop".
        dataset: :py:class:`c2f_monai.data.SlabDataset`, to name the slices of such an iteration. Defaults to None.

    Raises:
        ValueError: for a norm that is not positive, or another ``non_finite``. In training, where it stops: with the
            iteration, the learning rates and the slices.
    """

    #: In ``engine.state.metrics``.
    skipped = "skipped iterations"

    def __init__(
        self, network: nn.Module, max_norm: float | None = None, non_finite: str = "stop", dataset: Any = None
    ) -> None:
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_grad_norm must be positive, or null for no limit, got {max_norm}.")
        if non_finite not in ("stop", "skip"):
            raise ValueError(f"non_finite must be stop or skip, got {non_finite!r}.")
        self.network = network
        self.max_norm = math.inf if max_norm is None else max_norm
        self.skip = non_finite == "skip"
        self.dataset = dataset
        self._buffers: list[torch.Tensor] = []
        self._in_a_row = 0

    def attach(self, engine: Engine) -> None:
        """Attach to MONAI's trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)
        if self.skip:
            engine.add_event_handler(Events.ITERATION_STARTED, self._keep_buffers)

    def __call__(self, engine: Engine) -> None:
        """Clip, or refuse the step."""
        output: Any = engine.state.output
        loss = output[CommonKeys.LOSS].detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
        failed = not bool(torch.isfinite(loss) & torch.isfinite(norm))
        if idist.get_world_size() > 1:  # all processes do the same
            failed = bool(idist.all_reduce(int(failed), "MAX"))
        if not failed:
            self._in_a_row = 0
            return
        message = f"{_what(loss, norm)} {self._where(engine)}"
        self._in_a_row += 1
        if not self.skip or self._in_a_row >= IN_A_ROW:
            often = (
                f" ({IN_A_ROW} iterations in a row)" if self.skip else ", or leave such iterations out: non_finite skip"
            )
            raise ValueError(f"{message}: look at these cases, lower learning_rate or max_grad_norm{often}.")
        self._leave_out(engine)
        logger.warning(f"{message}: left out, {engine.state.metrics[self.skipped]} so far")

    def _keep_buffers(self, engine: Engine) -> None:
        self._buffers = [buffer.clone() for buffer in self.network.buffers()]

    def _leave_out(self, engine: Any) -> None:
        engine.optimizer.zero_grad(set_to_none=True)  # an optimizer passes over what has no gradient
        for buffer, before in zip(self.network.buffers(), self._buffers, strict=True):
            buffer.copy_(before)
        engine.state.metrics[self.skipped] = engine.state.metrics.get(self.skipped, 0) + 1

    def _where(self, engine: Any) -> str:
        """Iteration, learning rates and slices."""
        rates = ", ".join(f"{rate:.3g}" for rate in sorted({group["lr"] for group in engine.optimizer.param_groups}))
        text = f"at iteration {engine.state.iteration} (epoch {engine.state.epoch}), learning rates {rates}"
        drawn = engine.state.batch.get("case") if isinstance(engine.state.batch, dict) else None
        if drawn is None or self.dataset is None:
            return text
        names = [
            f"{view} slice {center} of {self.dataset.volumes[case].name}"
            for view, rows in drawn.items()
            for case, center in rows.tolist()
        ]
        return f"{text}, on {some_names(names, shown=8)}"


def _what(loss: torch.Tensor, norm: torch.Tensor) -> str:
    if not loss.isfinite():
        return f"the loss is {float(loss):g}"
    if not norm.isfinite():
        return f"the norm of the gradient is {float(norm):g}"
    return "the loss of another process is NaN or infinite"

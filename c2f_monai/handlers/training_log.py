# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI's ``StatsHandler`` and ``TensorBoardStatsHandler`` write, but do not find in an engine by themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from .case_rows import grid_dsc

__all__ = ["EventFile", "GridDice", "RoundLosses"]


class EventFile:
    """
    The TensorBoard file of a run, for all its handlers (their ``summary_writer``).

    It is made with the first value and by the first process alone: a run that does not begin leaves no folder, and
    handlers without a writer of their own would leave a file each.

    Args:
        log_dir: folder of the file.
    """

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self._made: SummaryWriter | None = None

    def _writer(self) -> SummaryWriter | None:
        if self._made is None and idist.get_rank() == 0:
            self._made = SummaryWriter(self.log_dir)
        return self._made

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """As ``SummaryWriter.add_scalar``."""
        if (writer := self._writer()) is not None:
            writer.add_scalar(tag, scalar_value, global_step)

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, dataformats: str = "CHW") -> None:
        """As ``SummaryWriter.add_image``."""
        if (writer := self._writer()) is not None:
            writer.add_image(tag, img_tensor, global_step, dataformats=dataformats)

    def flush(self) -> None:
        """Write what waits in memory."""
        if self._made is not None:
            self._made.flush()

    def close(self) -> None:
        """Close the file; the next value begins another."""
        if self._made is not None:
            self._made.close()
            self._made = None


class RoundLosses:
    """
    Makes metrics of the trainer: the mean loss of each round and view over the epoch, and the learning rates.

    ``loss/<view>/coarse``, ``loss/<view>/round <t>`` and ``learning rate/group <i>`` of ``engine.state.metrics`` are
    then written by MONAI's handlers, which are attached after this one; a line in the log tells the losses. Iterations
    whose losses are NaN or infinite are left out.

    The output of an iteration, a dictionary, becomes a list of one, as decollated outputs are: tracking handlers take
    the loss from the first.

    Args:
        loss: :py:class:`c2f_monai.losses.RoundsLoss` of the trainer.
        optimizer: its groups' learning rates.
    """

    def __init__(self, loss: Any, optimizer: Optimizer) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, torch.Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish)

    def _reset(self, engine: Engine) -> None:
        self._sums, self._counts = {}, {}

    def _add(self, engine: Engine) -> None:
        output: Any = engine.state.output
        if isinstance(output, dict):
            engine.state.output = [output]  # type: ignore[assignment]
        for view, losses in self.loss.rounds.items():
            finite = torch.isfinite(losses).all()  # stays on the device: nobody waits for it
            self._sums[view] = self._sums.get(view, 0) + torch.where(finite, losses, torch.zeros_like(losses))
            self._counts[view] = self._counts.get(view, 0) + finite.long()

    def means(self) -> dict[str, list[float]]:
        """Mean loss of each round (coarse first) of the epoch so far, by view."""
        return {view: (total / self._counts[view].clamp(min=1)).tolist() for view, total in self._sums.items()}

    def _publish(self, engine: Engine) -> None:
        means = self.means()
        # A stage with fewer rounds must not leave the last one's losses behind.
        kept = {name: value for name, value in engine.state.metrics.items() if not name.startswith("loss/")}
        rates = {f"learning rate/group {i}": group["lr"] for i, group in enumerate(self.optimizer.param_groups)}
        engine.state.metrics = {**kept, **_by_round(means), **rates}
        text = "; ".join(f"{view} {' '.join(f'{x:.4f}' for x in losses)}" for view, losses in means.items())
        engine.logger.info(f"epoch {engine.state.epoch}: loss of the coarse stage and each round: {text}")


def _by_round(means: Mapping[str, list[float]]) -> dict[str, float]:
    return {
        f"loss/{view}/{f'round {t}' if t else 'coarse'}": loss
        for view, losses in means.items()
        for t, loss in enumerate(losses)
    }


class GridDice:
    """
    Makes metrics of the evaluator: the mean DSC of the coarse stage and of every round on the working grid.

    ``grid DSC coarse``, ``grid DSC round <t>`` and ``grid DSC last round`` of ``engine.state.metrics`` are then written
    by MONAI's handlers, which are attached after this one. A case that stopped before round t counts with its last; one
    without target, in which nothing was found either, has no DSC. Each process tells those of its own cases.

    Args:
        inferer: the evaluator's :py:class:`c2f_monai.inferers.CoarseToFineInferer`, with ``keep_rounds=True``.
        label_key: key of the label on the working grid, (K, H, W, D); "label" is that on the image's own, where known.
    """

    def __init__(self, inferer: Any, label_key: str = "label_grid") -> None:
        self.inferer = inferer
        self.label_key = label_key
        self._scores: list[list[float | None]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator of the validation."""
        engine.add_event_handler(Events.STARTED, lambda _: self._scores.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish)

    def _add(self, engine: Engine) -> None:
        cases: Any = engine.state.batch
        for case, record in zip(cases, self.inferer.records, strict=True):
            label = torch.as_tensor(case[self.label_key]).cpu() > 0.5
            voxels = int((torch.as_tensor(case.get("label", label)) > 0).sum())
            self._scores.append([grid_dsc(mask, label, voxels) for mask in record.masks])

    def _publish(self, engine: Engine) -> None:
        rounds = max((len(scores) for scores in self._scores), default=0)
        for t in range(rounds):
            scores = [case[min(t, len(case) - 1)] for case in self._scores]
            known = [score for score in scores if score is not None]
            mean = sum(known) / len(known) if known else math.nan
            engine.state.metrics[f"grid DSC round {t}" if t else "grid DSC coarse"] = mean
            engine.state.metrics["grid DSC last round"] = mean

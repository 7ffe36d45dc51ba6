# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of training and their learning rates, as a function of the trainer's iteration alone."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import torch.nn as nn
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from torch.optim import Optimizer

from ..config.stage_kinds import STAGE_KEYS, change_stages, stage_ends
from ..inferers import StopRule
from ..inferers.frozen import idle_parameters
from ..utils import settings_file, unwrap
from .fine_copies import copy_to_fine, fine_marks, is_copy
from .save_weights import save_weights
from .time_left import TimeLeft

if TYPE_CHECKING:
    from .weight_average import ExponentialAverage

__all__ = ["StageSchedule", "change_stages", "learning_rate_factor", "stage_ends"]

logger = logging.getLogger(__name__)

#: Time of a round in training, in times of the coarse pass: measured 1.6 and 1.5 for one and two of them.
ROUND_WORK = 1.5
#: The coarse answer alone.
NO_ROUNDS = StopRule(dice=None, max_rounds=0)


def learning_rate_factor(stage: Mapping[str, Any], progress: float) -> float:
    """Factor on the learning rates within a stage.

    It starts at ``lr_factor`` (default 1) and follows a half cosine to ``lr_end_factor`` (default: the same) over the
    stage. The halving of the original code is a stage for each factor: 1, 0.5, 0.25 and so on.

    Args:
        stage: entry of the schedule.
        progress: share of the stage that has passed, in [0, 1).

    Examples:
        >>> [learning_rate_factor({"lr_factor": 1.0, "lr_end_factor": 0.2}, progress) for progress in (0, 0.5, 1)]
        [1.0, 0.6, 0.2]
    """
    start = float(stage.get("lr_factor", 1.0))
    end = float(stage.get("lr_end_factor", start))
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


class StageSchedule:
    """
    Sets the inferer's stage at each epoch and the learning rates at each iteration.

    Both follow from the trainer's iteration, epoch length and number of epochs: a run that continues from a checkpoint
    needs no state of its own, and another number of epochs rescales the whole schedule. The number of the stage in the
    schedule, from 1, becomes ``stage`` of ``engine.state.metrics``, which MONAI's handlers write. The log tells how
    long the run will still take: a stage of rounds takes longer than the coarse one.

    Parts that a stage does not train keep their weights, whatever weight decay and momentum are.

    With ``validator_inferer``, validation in stage "coarse" scores the coarse answer: fine networks that no stage has
    trained yet would only spoil it. In the other stages it scores the last round. Both are scores of an answer on the
    same cases, so they are compared as they are: where the rounds that follow find less than the coarse networks did,
    the coarse stage's weights stay the best, and those are to be used with ``max_rounds`` 0.

    Args:
        stages: dictionaries with ``stage`` ("coarse", "fine", "separate", "individual", "joint"), ``length`` (relative
            to the sum) and optionally ``lr_factor``, ``lr_end_factor``, ``rounds``: the most rounds of this stage,
            ``keep_as``: the file in ``directory`` that keeps the weights of the stage's end, and ``copy_to_fine``, for
            "coarse" alone: whether each epoch ends with a copy of the coarse networks into the fine ones, which then
            begin the next stage with what the coarse ones know. Fine networks that got weights of their own before
            training starts, from whatever handler, keep them.
        inferer: :py:class:`c2f_monai.inferers.UnrolledInferer`, whose ``stage`` and ``rounds`` are assigned; its
            rounds at construction are T, which a stage may lower.
        optimizer: its groups' learning rates at construction are the base that the factors multiply.
        warmup: iterations over which the factor rises linearly from 0 at the start of training.
        network: :py:class:`c2f_monai.networks.CoarseToFineNet`, bare or wrapped; needed for ``copy_to_fine``.
        changes: of the stages of some kinds, see :func:`change_stages`. Defaults to none.
        validator_inferer: :py:class:`c2f_monai.inferers.CoarseToFineInferer` of the validation, whose ``stopping`` is
            assigned; its own comes back with the first stage of fine networks, and when training ends. None leaves the
            validation alone. Defaults to None.
        directory: of the files of ``keep_as``. Defaults to None.
        average: of the weights; it is attached, copied from coarse to fine and kept as the network is. None is without.

    Raises:
        ValueError: for an empty schedule, unknown keys, lengths that are not positive or rounds out of range, and for
            ``copy_to_fine`` without a network or in a stage that trains the fine one.
    """

    keys = frozenset(STAGE_KEYS)

    def __init__(
        self,
        stages: Sequence[Mapping[str, Any]],
        inferer: Any,
        optimizer: Optimizer,
        warmup: int = 0,
        network: nn.Module | None = None,
        changes: Mapping[str, Mapping[str, Any] | None] | None = None,
        validator_inferer: Any = None,
        directory: str | Path | None = None,
        average: ExponentialAverage | None = None,
    ) -> None:
        stages = change_stages(stages, changes or {})
        if not stages:
            raise ValueError(f"stages is empty: give at least one stage that changes ({changes}) do not leave out.")
        self._check(stages, network, directory)
        self.stages = list(stages)
        self.rounds = inferer.rounds
        self.inferer = inferer
        self.optimizer = optimizer
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.warmup = warmup
        self.network = network
        self.made = [] if network is None else fine_marks(unwrap(network))
        self.keeps_fine = False
        self.validator_inferer = validator_inferer
        self.stopping = getattr(validator_inferer, "stopping", None)
        self.directory = None if directory is None else Path(directory)
        self.average = average

    def _check(self, stages: Sequence[Mapping[str, Any]], network: nn.Module | None, directory: Any) -> None:
        for stage in stages:
            unknown = sorted(set(stage) - self.keys)
            if unknown or "stage" not in stage:
                raise ValueError(f"a stage needs 'stage' and knows {sorted(self.keys)}, got {sorted(stage)}.")
            if not float(stage.get("length", 0)) > 0:
                raise ValueError(f"length of stage {stage['stage']!r} must be positive, got {stage.get('length')}.")
            if int(stage.get("rounds", 1)) < 1:
                raise ValueError(f"rounds of stage {stage['stage']!r} must be at least 1, got {stage['rounds']}.")
            if stage.get("copy_to_fine") and (network is None or stage["stage"] != "coarse"):
                raise ValueError(
                    f"copy_to_fine needs the network and is for stage 'coarse', got it in stage {stage['stage']!r}."
                )
            if stage.get("keep_as") and (network is None or directory is None):
                raise ValueError(f"keep_as {stage['keep_as']!r} needs the network and a directory.")

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after what loads weights."""
        if self.average is not None:
            self.average.attach(engine)
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        engine.add_event_handler(Events.ITERATION_STARTED, self.iteration_started)
        if self.network is not None:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.backward_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        TimeLeft(self.work).attach(engine)

    def work(self, engine: Engine, epoch: int) -> float:
        """Work of an iteration in an epoch, from 1, in coarse passes."""
        stage = self.locate(engine, epoch - 1)[0]
        return 1.0 if stage["stage"] == "coarse" else 1.0 + ROUND_WORK * self._rounds(stage)

    def _rounds(self, stage: Mapping[str, Any]) -> int:
        rounds: int = min(int(stage.get("rounds", self.rounds)), self.rounds)
        return rounds

    def locate(self, engine: Engine, epoch: float) -> tuple[Mapping[str, Any], float]:
        """The stage at a fractional number of completed epochs, and its progress in [0, 1)."""
        ends = stage_ends([float(s["length"]) for s in self.stages], int(engine.state.max_epochs or 1))
        start = 0
        for stage, end in zip(self.stages, ends, strict=True):
            if epoch < end:
                return stage, (epoch - start) / (end - start)
            start = end
        return self.stages[-1], 1.0

    def started(self, engine: Engine) -> None:
        """Find out whether every fine network was filled since the network was made: from a whole set of weights."""
        if self.network is None or not any(stage.get("copy_to_fine") for stage in self.stages):
            return
        network = unwrap(self.network)
        filled = bool(self.made) and all(a != b for a, b in zip(self.made, fine_marks(network), strict=True))
        self.keeps_fine = filled and not is_copy(network)
        if self.keeps_fine:
            logger.info("the fine networks have weights of their own: no copies of the coarse ones take their place")

    def epoch_started(self, engine: Engine) -> None:
        """Assign the stage and the rounds of this epoch, and what its validation scores; keep a stage's end."""
        stage = self.locate(engine, engine.state.epoch - 1)[0]
        if engine.state.epoch > 1 and stage is not (last := self.locate(engine, engine.state.epoch - 2)[0]):
            self._keep(last)
        name, rounds = stage["stage"], self._rounds(stage)
        if engine.state.epoch == 1 or (self.inferer.stage, self.inferer.rounds) != (name, rounds):
            about = name if name == "coarse" else f"{name}, rounds {rounds}"
            logger.info(f"epoch {engine.state.epoch} of {engine.state.max_epochs}: stage {about}")
        self.inferer.stage, self.inferer.rounds = name, rounds
        if self.validator_inferer is not None:
            self.validator_inferer.stopping = NO_ROUNDS if name == "coarse" else self.stopping

    def epoch_completed(self, engine: Engine) -> None:
        """Copy the coarse networks where the stage says so; attached before what validates, logs and saves."""
        stage = self.locate(engine, engine.state.epoch - 1)[0]
        engine.state.metrics["stage"] = next(number for number, one in enumerate(self.stages, 1) if one is stage)
        if self.network is not None and stage.get("copy_to_fine") and not self.keeps_fine:
            for network in (self.network, *([] if self.average is None else [self.average.model])):
                copy_to_fine(unwrap(network))

    def iteration_started(self, engine: Engine) -> None:
        """Assign the learning rates of this iteration."""
        done = engine.state.iteration - 1
        factor = learning_rate_factor(*self.locate(engine, done / int(engine.state.epoch_length or 1)))
        if done < self.warmup:
            factor *= (done + 1) / self.warmup
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def backward_completed(self, engine: Engine) -> None:
        """Take the gradients of what this stage does not train away.

        They are zero, and a step with zero still decays weights and follows old momentum, while running statistics of
        batch norms stay: a coarse network lost 1.2 points of DSC in a stage of fine ones.
        """
        for parameter in idle_parameters(unwrap(self.network), self.inferer.stage):
            parameter.grad = None

    def _keep(self, stage: Mapping[str, Any]) -> None:
        """Write the weights of a stage's end, where it asks for them.

        It is done when the next stage begins: a run that was killed between the two writes the same when it goes on.
        """
        if stage.get("keep_as") and self.network is not None and self.directory is not None and idist.get_rank() == 0:
            kept, settings = self.directory / stage["keep_as"], settings_file(self.directory / "model.pt")
            network = self.network if self.average is None else self.average.model
            save_weights(unwrap(network).state_dict(), kept)
            if settings.is_file():
                shutil.copy(settings, settings_file(kept))

    def completed(self, engine: Engine) -> None:
        """Keep the last stage's end, and give the validation its own rule back."""
        if engine.state.epoch == engine.state.max_epochs:
            self._keep(self.locate(engine, engine.state.epoch - 1)[0])
        if self.validator_inferer is not None:
            self.validator_inferer.stopping = self.stopping

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights and checkpoints of training."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import torch
import torch.nn as nn
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver

from ..utils import (
    BEGUN,
    CHECKPOINT_PREFIX,
    FolderLock,
    check_run_folder,
    epoch_of,
    read_weights_file,
    remove_leftovers,
    saved_checkpoints,
    unwrap,
    write_weights_file,
)
from .run_settings import SavedSettings, compare_settings, plain_settings, with_own_rates
from .save_weights import save_settings, save_weights

if TYPE_CHECKING:
    from .weight_average import ExponentialAverage

__all__ = ["TrainingCheckpoint", "best_weights"]

logger = logging.getLogger(__name__)


def best_weights(network: nn.Module, path: str | Path, metric: str) -> Checkpoint:
    """Ignite's checkpoint that keeps in one file the weights of the best validation; attach it to the evaluator.

    It is a saver of ours and not ``DiskSaver``, which deletes the old file before it writes the new one. A score that
    is not a number (no validation case has a target) is worse than any other.

    Args:
        network: network in training.
        path: the file, a flat state_dict; written by the first process.
        metric: name of the evaluator's metric; larger is better.
    """

    def score(engine: Engine) -> float:
        value = float(engine.state.metrics[metric])
        return -math.inf if math.isnan(value) else value

    def save(state_dict: Mapping[str, torch.Tensor], *_: Any) -> None:
        if idist.get_rank() == 0:
            save_weights(state_dict, path)

    return Checkpoint(
        {"network": unwrap(network)}, save, score_name=metric, score_function=score, filename_pattern=Path(path).name
    )


class _Saver(DiskSaver):
    """Writes a checkpoint whole, and on the disk, before it removes the one that Ignite has told it to remove."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), create_dir=True, require_empty=False)
        self.outdated: list[str] = []

    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        if self.save_on_rank != idist.get_rank():
            return
        write_weights_file(checkpoint, self.dirname / filename)
        (self.dirname / BEGUN).unlink(missing_ok=True)
        while self.outdated:
            (self.dirname / self.outdated.pop()).unlink(missing_ok=True)

    def remove(self, filename: str) -> None:
        self.outdated.append(filename)


class TrainingCheckpoint:
    """
    Keeps the chosen weights and the two latest checkpoints, and continues from the latest that is whole.

    A checkpoint holds network, its average where there is one, optimizer, trainer, the best score, the run's settings
    and what Ignite's ``Checkpoint`` knows of its files. Attach this handler after the validation, so that the best
    score of an epoch is part of the epoch's checkpoint. From start to end no other process trains in the folder.

    Args:
        directory: of the checkpoints and of ``model.pt``, the chosen weights.
        network: network in training.
        optimizer: its optimizer.
        validator: evaluator of the validation.
        metric: name of the validator's metric that decides which weights are best; None is its key metric.
        resume: continue from the latest checkpoint of ``directory``.
        interval: epochs between checkpoints.
        selection: "best" chooses the weights of the best validation, "last" those of the latest epoch, as the chapter
            does, which nothing needs to be held back for.
        settings: what a run continues with: other values than the checkpoint's are refused. Plain values and
            containers by id. Defaults to nothing.
        changeable: what a run may continue with at other values, which the log says then. Defaults to nothing.
        inference: overlay of ``inference.json`` for the weights, see :func:`c2f_monai.config.inference_settings`; it is
            written beside them as ``model.json``. Defaults to none.
        average: of the weights, which ``model.pt`` holds in their place. Defaults to none.

    Raises:
        ValueError: for another ``selection``, or "best" without a validation case.
        FileNotFoundError: when ``resume`` is set and there is no checkpoint.
        FileExistsError: when it is not set and there is one, or there are weights: a new run must not mix with an old
            one, nor take the place of its weights.
        BlockingIOError: when another process trains in ``directory``.
    """

    def __init__(
        self,
        directory: str,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        validator: Engine,
        metric: str | None = None,
        resume: bool = False,
        interval: int = 1,
        selection: str = "best",
        settings: Mapping[str, Any] | None = None,
        changeable: Mapping[str, Any] | None = None,
        inference: Mapping[str, Any] | None = None,
        average: ExponentialAverage | None = None,
    ) -> None:
        if selection not in ("best", "last"):
            raise ValueError(f"selection must be best or last, got {selection!r}.")
        if selection == "best" and not len(getattr(validator, "data_loader", [None])):
            raise ValueError("selection best needs validation cases: set holdout above 0, or selection to last.")
        self.selection = selection
        self.directory = Path(directory)
        metric = metric or getattr(validator.state, "key_metric_name")  # noqa: B009 - MONAI's engines add it
        self.chosen = unwrap(network) if average is None else average.model
        self.best = best_weights(self.chosen, self.directory / "model.pt", str(metric))
        self.validator = validator
        self.objects: dict[str, Any] = {"network": unwrap(network), "optimizer": optimizer, "best": self.best}
        if average is not None:
            self.objects["average"] = average.model
        ema = None if average is None else average.decay
        self.settings = {
            "fixed": plain_settings({**(settings or {}), "ema": ema, "optimizer class": type(optimizer).__name__}),
            "changeable": plain_settings(changeable),
        }
        self.inference = inference
        self.interval = interval
        self.resume = resume
        self.lock = FolderLock(self.directory)
        self.begun = False
        check_run_folder(self.directory, self.resume)
        if self.directory.is_dir() and idist.get_rank() == 0:  # before the volumes are read, if it can be known
            self.lock.acquire()
            self.lock.release()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)
        if self.selection == "best":
            self.validator.add_event_handler(Events.COMPLETED, self.best)
        else:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save_last)
        # In every process: Ignite forms groups of processes in the saver, and lets the first one write.
        saver = Checkpoint(
            {**self.objects, "settings": SavedSettings(self.settings), "trainer": engine},
            _Saver(self.directory),
            filename_pattern=f"{CHECKPOINT_PREFIX}_{{global_step}}.{{ext}}",
            global_step_transform=lambda e, _: e.state.epoch,
            n_saved=2,
            include_self=True,
        )
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load, saver)
        engine.add_event_handler(Events.STARTED, self.write_settings)  # a run that is refused leaves the old ones
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), saver)

    def begin(self) -> None:
        """Take the directory, and remove what a killed run left there."""
        if idist.get_rank() == 0:
            self.lock.acquire()
            if not self.begun:  # another run may have trained there while this one read its volumes
                check_run_folder(self.directory, self.resume)
                if not self.resume:
                    (self.directory / BEGUN).touch()
            self.begun = True  # a trainer that is run again, as in federated rounds, finds its own checkpoints
            remove_leftovers(self.directory)
            for left in self.directory.glob("tmp????????"):  # of Ignite's DiskSaver
                if left.is_file():
                    left.unlink()

    def write_settings(self) -> None:
        """Write ``model.json``, what inference must know of this training; by the first process."""
        if self.inference and idist.get_rank() == 0:
            save_settings(self.inference, self.directory / "model.pt")

    def completed(self) -> None:
        """Give the directory back; weights of a run that ended before its first checkpoint stay, too."""
        if idist.get_rank() == 0 and (self.directory / "model.pt").is_file():
            (self.directory / BEGUN).unlink(missing_ok=True)
        self.lock.release()

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Give the directory back."""
        self.lock.release()
        raise error  # ignite leaves it to its handlers

    def save_last(self) -> None:
        """Write the weights, or their average, as they are; by the first process."""
        if idist.get_rank() == 0:
            save_weights(self.chosen.state_dict(), self.directory / "model.pt")

    def load(self, engine: Engine, saver: Checkpoint) -> None:
        """Continue from the latest checkpoint that is whole, with the number of epochs of this run's config.

        Raises:
            ValueError: when none is whole, or its ``settings``, iterations in an epoch or groups of parameters are
                others.
        """
        path, checkpoint = self.read_latest()
        compare_settings(path, checkpoint.pop("settings", None), self.settings)
        epochs, length = engine.state.max_epochs, engine.state.epoch_length
        saved = checkpoint["trainer"].get("epoch_length")
        if length is not None and saved != length:
            raise ValueError(
                f"resume: {path} is of a run with {saved} iterations an epoch, now {length}: continue with as many "
                "processes, batch_size and items_per_epoch as it had."
            )
        checkpoint["optimizer"] = with_own_rates(path, checkpoint["optimizer"], self.objects["optimizer"])
        Checkpoint.load_objects({**self.objects, "trainer": engine, "checkpointer": saver}, checkpoint)
        if engine.state.max_epochs != epochs:
            logger.warning(f"resume: the run was of {engine.state.max_epochs} epochs, now {epochs}: its schedule moves")
        engine.state.max_epochs = epochs
        self.remove_older(path, [name for _, name in saver.state_dict()["_saved"]])
        logger.info(f"resume: continuing after epoch {engine.state.epoch} from {path}")
        if engine.state.epoch >= (epochs or 0):
            logger.warning(f"resume: nothing is left to train, epochs is {epochs}: a larger number goes on")

    def remove_older(self, path: Path, known: Sequence[str]) -> None:
        """Remove checkpoints before ``path`` that a run was killed before it removed; by the first process."""
        for old in saved_checkpoints(self.directory) if idist.get_rank() == 0 else []:
            if old.name not in known and (epoch_of(old) or 0) < (epoch_of(path) or 0):
                old.unlink()

    def read_latest(self) -> tuple[Path, dict[str, Any]]:
        """The latest checkpoint that can be read, and its path.

        Raises:
            ValueError: when none can be read.
        """
        damaged = []
        for path in saved_checkpoints(self.directory):
            try:
                checkpoint = dict(read_weights_file(path, in_memory=True))
            except ValueError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                logger.warning(f"resume: {message} The one before is taken, {path.name}")
            return path, checkpoint
        raise ValueError(f"resume: no checkpoint can be read: {' '.join(damaged)}")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights and checkpoints of training."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
import torch.nn as nn
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.networks.utils import copy_model_state

from ..utils import (
    FolderLock,
    check_weights_file,
    read_state_dict,
    read_weights_file,
    remove_leftovers,
    unwrap,
    write_weights_file,
)
from .save_weights import save_settings, save_weights
from .stage_schedule import copy_to_fine

if TYPE_CHECKING:
    from .weight_average import ExponentialAverage

__all__ = ["AverageBuffers", "InitialWeights", "TrainingCheckpoint", "best_weights"]

logger = logging.getLogger(__name__)


class InitialWeights:
    """
    Starts training from another model's weights, and names the parts that do not fit. Where the file has no fine
    networks, they start as copies of the coarse ones.

    Args:
        network: network to fill.
        path: flat state_dict.

    Raises:
        FileNotFoundError: when ``path`` does not exist.
        ValueError: when the file is damaged or no state_dict of finite values, when no part fits, or the weights expect
            slices of another orientation than the network's.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        check_weights_file(path)
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; attach the checkpoint's handler after this one."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Copy what fits by name and shape."""
        network = unwrap(self.network)
        source = read_state_dict(self.path)
        own = network.state_dict()
        turned = [key for key in source if key.endswith(".slice_axes") and key not in own]
        if turned:
            raise ValueError(
                f"init_weights: {self.path} was trained on slices of another orientation ({turned[0]}): "
                "set slice_axcodes to theirs, as configs/network/imported_rstn.json does."
            )
        _, copied, left = copy_model_state(network, source)
        if not copied:
            raise ValueError(f"init_weights: nothing in {self.path} fits this network: check views and network_def.")
        if not any(".fine." in key for key in source):
            copy_to_fine(network)
        unused = sorted(set(source) - set(copied))
        logger.info(f"{self.path}: {len(copied)} tensors copied, {len(left)} keep their start, {len(unused)} not used")
        if left or unused:
            logger.warning(f"init_weights: not filled: {_summary(left)}; not used: {_summary(unused)}")


def _summary(names: Sequence[str], most: int = 8, depth: int = 5) -> str:
    """Names of tensors; where they are many, the modules that they belong to and how many of each."""
    if len(names) <= most:
        return ", ".join(names) or "none"
    modules = Counter(".".join(name.split(".")[:-1][:depth]) for name in names)
    return ", ".join(f"{module} ({count})" for module, count in modules.items())


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
        FileExistsError: when it is not set and there is one: a new run must not mix with an old one.
        BlockingIOError: when another process trains in ``directory``.
    """

    prefix = "checkpoint"

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
        self.settings = {"fixed": _plain({**(settings or {}), "ema": ema}), "changeable": _plain(changeable)}
        self.inference = inference
        self.interval = interval
        self.resume = resume
        self.lock = FolderLock(self.directory)
        self.begun = False
        self.check_directory()
        if self.directory.is_dir() and idist.get_rank() == 0:  # before the volumes are read, if it can be known
            self.lock.acquire()
            self.lock.release()

    def saved(self) -> list[Path]:
        """Checkpoints of the directory, the latest first."""
        found = [path for path in self.directory.glob(f"{self.prefix}_*.pt") if _epoch_of(path) is not None]
        return sorted(found, key=lambda path: _epoch_of(path) or 0, reverse=True)

    def check_directory(self) -> None:
        """Refuse a directory without checkpoints to continue, or with those of another run.

        Raises:
            FileNotFoundError: when there is no checkpoint to continue from.
            FileExistsError: when there is one and the run is new.
        """
        found = self.saved()
        if self.resume and not found:
            raise FileNotFoundError(f"resume: no checkpoint in {self.directory}")
        if not self.resume and found:
            raise FileExistsError(
                f"{self.directory} holds checkpoints of an earlier run ({found[0].name}): "
                "continue it with --resume true, or choose another --output_dir."
            )

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.COMPLETED, self.lock.release)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)
        if self.selection == "best":
            self.validator.add_event_handler(Events.COMPLETED, self.best)
        else:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save_last)
        # In every process: Ignite forms groups of processes in the saver, and lets the first one write.
        saver = Checkpoint(
            {**self.objects, "settings": _Settings(self.settings), "trainer": engine},
            _Saver(self.directory),
            filename_pattern=f"{self.prefix}_{{global_step}}.{{ext}}",
            global_step_transform=lambda e, _: e.state.epoch,
            n_saved=2,
            include_self=True,
        )
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load, saver)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), saver)

    def begin(self) -> None:
        """Take the directory, and remove what a killed run left there."""
        if idist.get_rank() == 0:
            self.lock.acquire()
            if not self.begun:  # another run may have trained there while this one read its volumes
                self.check_directory()
            self.begun = True  # a trainer that is run again, as in federated rounds, finds its own checkpoints
            remove_leftovers(self.directory)
            for left in self.directory.glob("tmp????????"):  # of Ignite's DiskSaver
                if left.is_file():
                    left.unlink()
            if self.inference:
                save_settings(self.inference, self.directory / "model.pt")

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
            ValueError: when none is whole, or its ``settings`` are others.
        """
        path, checkpoint = self.read_latest()
        self.compare(path, checkpoint.pop("settings", None))
        epochs = engine.state.max_epochs
        Checkpoint.load_objects({**self.objects, "trainer": engine, "checkpointer": saver}, checkpoint)
        if engine.state.max_epochs != epochs:
            logger.warning(f"resume: the run was of {engine.state.max_epochs} epochs, now {epochs}: its schedule moves")
        engine.state.max_epochs = epochs
        self.remove_older(path, [name for _, name in saver.state_dict()["_saved"]])
        logger.info(f"resume: continuing after epoch {engine.state.epoch} from {path}")

    def remove_older(self, path: Path, known: Sequence[str]) -> None:
        """Remove checkpoints before ``path`` that a run was killed before it removed; by the first process."""
        for old in self.saved() if idist.get_rank() == 0 else []:
            if old.name not in known and (_epoch_of(old) or 0) < (_epoch_of(path) or 0):
                old.unlink()

    def read_latest(self) -> tuple[Path, dict[str, Any]]:
        """The latest checkpoint that can be read, and its path.

        Raises:
            ValueError: when none can be read.
        """
        damaged = []
        for path in self.saved():
            try:
                checkpoint = dict(read_weights_file(path, in_memory=True))
            except ValueError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                logger.warning(f"resume: {message} The one before is taken, {path.name}")
            return path, checkpoint
        raise ValueError(f"resume: no checkpoint can be read: {' '.join(damaged)}")

    def compare(self, path: Path, saved: Mapping[str, Any] | None) -> None:
        """Refuse to continue with other settings, and say which changeable ones are others.

        Raises:
            ValueError: naming the settings, and both values.
        """
        if saved is None:
            logger.warning(f"resume: {path} does not tell its run's settings: they are not compared")
            return
        differ = {
            kind: [
                f"{key} {json.dumps(values[key])}, now {json.dumps(self.settings[kind][key])}"
                for key in values
                if key in self.settings[kind] and values[key] != self.settings[kind][key]
            ]
            for kind, values in ((kind, json.loads(saved[kind])) for kind in ("fixed", "changeable"))
        }
        if differ["fixed"]:
            raise ValueError(
                f"resume: {path} is of a run with {'; '.join(differ['fixed'])}: continue with the same values, or "
                "choose another --output_dir and start from its weights with --init_weights."
            )
        if differ["changeable"]:
            logger.warning(f"resume: the run was begun with {'; '.join(differ['changeable'])}")


class _Settings:
    """Settings as an object with a state, as Ignite's ``Checkpoint`` takes them: text, which is read without code."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = settings

    def state_dict(self) -> dict[str, str]:
        return {kind: json.dumps(values) for kind, values in self.settings.items()}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Nothing: they are the configuration's."""


def _plain(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings as a file gives them back: lists for tuples, text for what is neither."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings or {}), default=str))
    return plain


def _epoch_of(path: Path) -> int | None:
    number = path.stem.rsplit("_", 1)[1]
    return int(number) if number.isdecimal() else None


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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights and checkpoints of training."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
import torch.nn as nn
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.networks.utils import copy_model_state

from ..utils import atomic_write, check_weights_file, read_weights_file, unwrap
from .stage_schedule import copy_to_fine

__all__ = ["AverageBuffers", "InitialWeights", "TrainingCheckpoint", "best_weights", "save_weights"]

logger = logging.getLogger(__name__)


def save_weights(state_dict: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a flat state_dict of CPU tensors, beside and renamed into place: a killed run leaves the old file whole."""
    with atomic_write(path) as part:
        torch.save({key: value.detach().cpu().contiguous() for key, value in state_dict.items()}, part)


class InitialWeights:
    """
    Starts training from another model's weights, and names the parts that do not fit. Where the file has no fine
    networks, they start as copies of the coarse ones.

    Args:
        network: network to fill.
        path: flat state_dict.

    Raises:
        FileNotFoundError: when ``path`` does not exist.
        ValueError: when no part fits, or the weights expect slices of another orientation than the network's.
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
        source = read_weights_file(self.path)
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
        {"network": unwrap(network)},
        save,
        score_name=metric,
        score_function=score,
        filename_pattern=Path(path).name,
    )


class _Folder(DiskSaver):
    """A folder in which a run may have been killed between the removal of an old checkpoint and the new one's."""

    def remove(self, filename: str) -> None:
        with suppress(FileNotFoundError):
            super().remove(filename)


class TrainingCheckpoint:
    """
    Keeps the chosen weights and the two latest checkpoints, and continues from the latest.

    A checkpoint holds network, optimizer, trainer, the best score and what Ignite's ``Checkpoint`` knows of its files.
    Attach this handler after the validation, so that the best score of an epoch is part of the epoch's checkpoint.

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

    Raises:
        ValueError: for another ``selection``, or "best" without a validation case.
        FileNotFoundError: when ``resume`` is set and there is no checkpoint.
        FileExistsError: when it is not set and there is one: a new run must not mix with an old one.
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
    ) -> None:
        if selection not in ("best", "last"):
            raise ValueError(f"selection must be best or last, got {selection!r}.")
        if selection == "best" and not len(getattr(validator, "data_loader", [None])):
            raise ValueError("selection best needs validation cases: set holdout above 0, or selection to last.")
        self.selection = selection
        self.directory = Path(directory)
        metric = metric or getattr(validator.state, "key_metric_name")  # noqa: B009 - MONAI's engines add it
        self.best = best_weights(network, self.directory / "model.pt", str(metric))
        self.validator = validator
        self.objects: dict[str, Any] = {"network": unwrap(network), "optimizer": optimizer, "best": self.best}
        self.interval = interval
        self.resume = resume
        found = self.directory.glob(f"{self.prefix}_*.pt")
        self.latest = max(found, key=lambda path: int(path.stem.rsplit("_", 1)[1]), default=None)
        if resume and self.latest is None:
            raise FileNotFoundError(f"resume: no checkpoint in {self.directory}")
        if not resume and self.latest is not None:
            raise FileExistsError(
                f"{self.directory} holds checkpoints of an earlier run ({self.latest.name}): "
                "continue it with --resume true, or choose another --output_dir."
            )

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if self.selection == "best":
            self.validator.add_event_handler(Events.COMPLETED, self.best)
        else:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save_last)
        # In every process: Ignite forms groups of processes in the saver, and lets the first one write.
        saver = Checkpoint(
            {**self.objects, "trainer": engine},
            _Folder(str(self.directory), create_dir=True, require_empty=False, atomic=True),
            filename_pattern=f"{self.prefix}_{{global_step}}.{{ext}}",
            global_step_transform=lambda e, _: e.state.epoch,
            n_saved=2,
            include_self=True,
        )
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load, saver)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), saver)

    def save_last(self) -> None:
        """Write the weights as they are; by the first process."""
        if idist.get_rank() == 0:
            save_weights(self.objects["network"].state_dict(), self.directory / "model.pt")

    def load(self, engine: Engine, saver: Checkpoint) -> None:
        """Continue from the latest checkpoint, with the number of epochs of this run's config."""
        assert self.latest is not None
        epochs = engine.state.max_epochs
        checkpoint = torch.load(self.latest, map_location="cpu", weights_only=True)
        Checkpoint.load_objects({**self.objects, "trainer": engine, "checkpointer": saver}, checkpoint)
        if engine.state.max_epochs != epochs:
            logger.warning(f"resume: the run was of {engine.state.max_epochs} epochs, now {epochs}: its schedule moves")
        engine.state.max_epochs = epochs
        logger.info(f"resume: continuing after epoch {engine.state.epoch} from {self.latest}")


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

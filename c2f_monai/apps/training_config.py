# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training configurations outside a run: read with overrides, and timed by training for a while."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Sequence
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from ..config import override_config

__all__ = ["BESIDE", "IterationClock", "parse_option", "read_training_config", "strip_to_iterations"]

#: What a run does beside its iterations, by the end of the handlers' names.
BESIDE = ("ValidationHandler", "TrainingCheckpoint", "RoundLosses", "TensorBoardStatsHandler", "ProgressBar")


class IterationClock:
    """Times whole iterations, from the end of one to the end of the next, and ends training after ``seconds``.

    Args:
        seconds: to train for.
        warmup: seconds at the start that are not counted: memory is allocated, the loader's buffer is filled.
        clock: what a second is; ``time.process_time`` counts the processor's, on a machine that is not idle.

    Attributes:
        laps: seconds of each iteration.
    """

    def __init__(self, seconds: float, warmup: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds, self.warmup, self.clock = seconds, warmup, clock
        self.laps: list[float] = []
        self._start = self._last = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._completed)

    def _started(self, engine: Engine) -> None:
        self._start = self._last = self.clock()

    def _completed(self, engine: Engine) -> None:
        now = self.clock()
        if self._last - self._start >= self.warmup and engine.state.iteration > 1:
            self.laps.append(now - self._last)
        self._last = now
        if now - self._start >= self.seconds and len(self.laps) > 1:
            engine.terminate()


def parse_option(text: str) -> tuple[str, Any]:
    """Id and value of ``ID=VALUE``, such as ``batch_size=4``; what is no Python literal is a text.

    Raises:
        ValueError: for a text without an id or an equals sign.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"--option takes ID=VALUE, got {text!r}.")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def read_training_config(
    files: Sequence[str], bundle_root: str, dataset_dir: str | None = None, options: Sequence[str] = ()
) -> ConfigParser:
    """Configuration of some files, later ones overriding earlier ones.

    Args:
        files: train.json and overlays.
        bundle_root: of the bundle.
        dataset_dir: None leaves the configuration's.
        options: overrides, see :func:`parse_option`.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: for an option without an id or an equals sign, or what :func:`c2f_monai.config.check_config`
            refuses.
    """
    parser = ConfigParser()
    parser.read_config(list(files))
    parser["bundle_root"] = str(bundle_root)
    if dataset_dir:
        parser["dataset_dir"] = str(dataset_dir)
    override_config(parser, dict(parse_option(option) for option in options))
    return parser


def strip_to_iterations(parser: ConfigParser) -> None:
    """Take from a training configuration what is not part of an iteration: validation, logs, checkpoints, the end."""
    handlers: list[dict[str, Any]] = parser["train#handlers"]
    parser["train#handlers"] = [handler for handler in handlers if not handler["_target_"].endswith(BESIDE)]
    parser["epochs"] = 1_000_000  # the clock ends it; schedules stay at their start

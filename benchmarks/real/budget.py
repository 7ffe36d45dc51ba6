# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How many epochs of a method take as long as another training did."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from benchmarks.chapter.parts import ROOT
from c2f_monai.apps.training_config import IterationClock, read_training_config, strip_to_iterations
from c2f_monai.data.datalist import load_datalist

from .plan import MethodRun, training_files

__all__ = ["epochs_within", "iteration_seconds"]

#: Share of the measuring that is not counted, and cases that it reads.
_WARMUP, _CASES = 0.2, 4


def iteration_seconds(run: MethodRun, seconds: float) -> list[float]:
    """Seconds of single iterations of a method's first stage, on some cases; nothing is written.

    It is measured beside whatever else the machine does, as the training then runs beside it.

    Args:
        run: the method, its data and options.
        seconds: to train for.
    """
    files = [str(ROOT / file) for file in training_files(run.method)]
    parser = read_training_config(files, str(ROOT / "bundle"), str(run.data))
    options = {**run.method.options, **run.options, "fold": run.fold, "seed": run.seed, "init_weights": None}
    for key, value in options.items():
        parser[key] = value
    strip_to_iterations(parser)
    parser["train#dataset#data"] = load_datalist(run.data, "training", fold=run.fold)[:_CASES]
    parser["cache_dir"] = None
    parser.get_parsed_content("initialize")
    trainer = parser.get_parsed_content("train#trainer")
    clock = IterationClock(seconds, warmup=_WARMUP * seconds)
    clock.attach(trainer)
    trainer.run()
    return clock.laps


def epochs_within(seconds: float, laps: Sequence[float], items_per_epoch: int, batch_size: int) -> int:
    """Whole epochs that fit into so many seconds, at least one.

    Args:
        seconds: the budget.
        laps: seconds of single iterations.
        items_per_epoch: slabs of an epoch.
        batch_size: slabs of an iteration.

    Examples:
        >>> epochs_within(2000.0, [0.5, 0.7, 0.6], items_per_epoch=400, batch_size=4)
        33
    """
    return max(1, math.floor(seconds / (statistics.fmean(laps) * math.ceil(items_per_epoch / batch_size))))

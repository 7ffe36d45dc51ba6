# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Speed of training: slabs a second of a configuration, beside a plain loop, and where the time goes.

The plain loop is what the published packages do: one slab at a time, conv1_1 padded by 100, float32, forward, backward
and step for coarse and fine part. Both train on slabs of one size with a given ellipsoid as target, in turns, so that
neither reading nor augmentation counts; ``--config_file`` instead times whole iterations of a configuration on its data
set and the share of them inside forward, backward and step. Prints the environment and the figures as JSON:

    python benchmarks/training.py --plain --size 192 192 --slabs 8
    python benchmarks/training.py --config_file bundle/configs/train.json bundle/configs/three_views.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from ignite.engine import Engine, Events
from monai.utils import set_determinism

from benchmarks.slabs import slabs_of
from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import IterationClock, read_training_config, strip_to_iterations
from c2f_monai.inferers import UnrolledInferer
from c2f_monai.losses import RoundsLoss
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import keep_freed_memory
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions


def full_network(padding: str | int) -> CoarseToFineNet:
    """RSTN of one view with FCN-8s of full size."""
    torch.manual_seed(0)
    part = partial(FCN8s, padding=padding, score_init="xavier")
    return CoarseToFineNet(part, part, partial(SaliencyTransform, kernel_sizes=(3, 3)), views=("axial",)).train()


class Loop:
    """Forward, backward and step of a network on the same slabs.

    Args:
        padding: of FCN-8s.
        batch: slabs in a step.
        amp_dtype: of autocast.
        channels_last: memory format of the weights.
        crop_multiple: of the unrolled inferer.
    """

    def __init__(self, padding: str | int, batch: int, amp_dtype: str | None, channels_last: bool, crop_multiple: int):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = full_network(padding).to(memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-5, momentum=0.99)
        self.inferer = UnrolledInferer(stage="individual", crop_multiple=crop_multiple, amp_dtype=amp_dtype)
        self.loss, self.batch = RoundsLoss(), batch

    def run(self, slabs: int, size: tuple[int, int]) -> float:
        """Slabs a second."""
        start = time.perf_counter()
        for _ in range(0, slabs, self.batch):
            images, targets, draws = slabs_of(self.batch, size)
            self.optimizer.zero_grad()
            self.loss(self.inferer(images, self.network, targets, draws), targets).backward()
            self.optimizer.step()
        return slabs / (time.perf_counter() - start)


def against_plain(size: tuple[int, int], slabs: int, repeats: int) -> dict[str, Any]:
    """Slabs a second of the plain loop and of ours with the network of full size, in turns."""
    loops = {
        "plain: pad 100, one slab, float32": (Loop(100, 1, None, False, 1), max(slabs // 8, 1)),
        "pad same, batch, float32": (Loop("same", slabs, None, True, 16), slabs),
        "pad same, batch, bfloat16": (Loop("same", slabs, "bfloat16", True, 16), slabs),
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats + 1):
        for name, (loop, count) in loops.items():
            rates[name].append(loop.run(count, size))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}  # the first is not counted
    plain = next(iter(medians.values()))
    return {
        name: {
            "slabs_per_second": round(median, 3),
            "min": round(min(rates[name][1:]), 3),
            "max": round(max(rates[name][1:]), 3),
            "times_faster_than_plain": round(median / plain, 2),
        }
        for name, median in medians.items()
    }


class StepClock:
    """Seconds of an engine inside forward, backward and step."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._start = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: setattr(self, "_start", time.perf_counter()))
        engine.add_event_handler(
            Events.ITERATION_COMPLETED, lambda _: self.steps.append(time.perf_counter() - self._start)
        )


def of_configuration(args: argparse.Namespace) -> dict[str, Any]:
    """Iterations of a configuration on its data set."""
    parser = read_training_config(args.config_file, args.bundle_root, args.dataset_dir, args.option)
    strip_to_iterations(parser)
    set_determinism(parser.get("seed", 0))
    trainer = parser.get_parsed_content("train#trainer")
    clock, steps = IterationClock(args.seconds, args.seconds / 5), StepClock()
    steps.attach(trainer)
    clock.attach(trainer)
    trainer.run()
    lap, step = statistics.median(clock.laps), statistics.median(steps.steps[-len(clock.laps) :])
    slabs = int(parser["batch_size"]) * len(parser["views"])
    return {
        "iterations": len(clock.laps),
        "seconds_per_iteration": round(lap, 4),
        "slabs_per_second": round(slabs / lap, 2),
        "share_in_forward_backward_step": round(step / lap, 4),
    }


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="time the network of full size beside a plain loop")
    parser.add_argument("--size", type=int, nargs=2, default=[192, 192], help="pixels of a slab (default: 192 192)")
    parser.add_argument("--slabs", type=int, default=8, help="in a batch (default: 8)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, in turns (default: 3)")
    parser.add_argument("--config_file", nargs="+", help="train.json and overlays to time")
    parser.add_argument("--bundle_root", default="bundle", help="default: bundle")
    parser.add_argument("--dataset_dir", help="default: the configuration's")
    parser.add_argument("--seconds", type=float, default=60.0, help="time to train for (default: 60)")
    parser.add_argument("--return_memory", action="store_true", help="let glibc return freed memory to the system")
    add_option(parser, "override of a config id")
    args = parser.parse_args()
    if not args.plain and not args.config_file:
        parser.error("give --plain, --config_file or both.")
    return args


def main() -> None:
    args = parse_args()
    load = os.getloadavg()[0]
    if not args.return_memory:
        keep_freed_memory()
    figures: dict[str, Any] = {}
    if args.plain:
        figures["full_size"] = against_plain(tuple(args.size), args.slabs, args.repeats)
    if args.config_file:
        figures["configuration"] = of_configuration(args)
    environment = {"threads": torch.get_num_threads(), "load_before": round(load, 2)}
    environment = {**describe_machine(), **environment, **describe_versions(), **describe_source()}
    print(json.dumps({"command": " ".join(sys.argv), "environment": environment, **figures}, indent=1))


if __name__ == "__main__":
    main()

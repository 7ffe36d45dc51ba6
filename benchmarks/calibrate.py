# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
r"""Seconds of a training iteration, so that methods are compared after the same training time.

Trains for a while with a configuration, without validation, logs and checkpoints, alone on the machine, and prints
the environment, the mean time of an iteration (waiting for data included) and the epochs that fit a budget. On a
machine that is not idle, ``--clock cpu`` counts the seconds of the processor instead (use OMP_NUM_THREADS=1, so that
no thread spins while it waits for another):

    python benchmarks/calibrate.py --config_file bundle/configs/train.json bundle/configs/three_views.json \
        configs/baseline/unet3d.json --budget 900
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from monai.utils import set_determinism

from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import IterationClock, read_training_config, strip_to_iterations
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

IDLE_LOAD = 0.5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_file", nargs="+", required=True, help="train.json and overlays, in this order")
    parser.add_argument("--bundle_root", default="bundle", help="default: bundle")
    parser.add_argument("--dataset_dir", help="default: the configuration's")
    parser.add_argument("--seconds", type=float, default=45.0, help="time to train for (default: 45)")
    parser.add_argument("--budget", type=float, default=900.0, help="training seconds to plan (default: 900)")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="what a second is (default: wall)")
    add_option(parser, "override of a config id")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    load = os.getloadavg()[0]
    parser = read_training_config(args.config_file, args.bundle_root, args.dataset_dir, args.option)
    strip_to_iterations(parser)
    set_determinism(parser.get("seed", 0))
    began = time.perf_counter()
    trainer = parser.get_parsed_content("train#trainer")
    prepared = time.perf_counter() - began
    clock = IterationClock(args.seconds, args.seconds / 5, CLOCKS[args.clock])
    clock.attach(trainer)
    trainer.run()
    lap, epoch = statistics.fmean(clock.laps), int(trainer.state.epoch_length)
    iterations = int(args.budget / lap)
    environment = {"threads": torch.get_num_threads(), "load_before": round(load, 2)}
    report = {
        "config": args.config_file,
        "options": args.option,
        "environment": {**describe_machine(), **environment, **describe_versions(), **describe_source()},
        "preparation_seconds": round(prepared, 1),
        "clock": args.clock,
        "iterations_timed": len(clock.laps),
        "seconds_per_iteration": round(lap, 4),
        "std": round(statistics.pstdev(clock.laps), 4),
        "iterations_per_epoch": epoch,
        "budget_seconds": args.budget,
        "iterations_for_budget": iterations,
        "epochs_for_budget": max(1, round(iterations / epoch)),
    }
    print(json.dumps(report, indent=1))
    if load > IDLE_LOAD and args.clock == "wall":
        print(f"warning: the load was {load:.2f} before the start: the machine was not idle.", file=sys.stderr)


if __name__ == "__main__":
    main()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What two processes of one training do alike."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from torch import multiprocessing, nn

from c2f_monai.handlers import ExponentialAverage, GradientClipping, TimeLimit


def train_one_of_two(rank: int, value: float, folder: str) -> None:
    """Three iterations; the second loss of the second process is increased by a value. Its reason goes to a file."""
    torch.set_num_threads(1)  # a copied process makes its pool of threads again
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
    losses: list[torch.Tensor] = []

    def loss(pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        losses.append(pred.mean() + (value if rank == 1 and len(losses) == 1 else 0.0))
        return losses[-1]

    trainer = SupervisedTrainer(
        torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": torch.ones(2, 1), "label": torch.zeros(2, 1)}] * 3,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.25),
        loss_function=loss,
        train_handlers=[GradientClipping(network, None)],
        decollate=False,
    )
    try:
        trainer.run()
    except ValueError as error:
        Path(folder, f"{rank}.txt").write_text(f"{len(losses)} iterations, {error}", encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_without_a_number_in_one_process_stops_both(value: float, tmp_path: Path) -> None:
    multiprocessing.start_processes(train_one_of_two, (value, str(tmp_path)), nprocs=2, start_method="fork")
    told = [(tmp_path / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(2)]
    assert told[0].startswith("2 iterations, the loss of another process is NaN or infinite at iteration 2")
    assert told[1].startswith(f"2 iterations, the loss is {value:g} at iteration 2")


def average_one_of_two(rank: int, folder: str) -> None:
    """One iteration, in which the running mean becomes 1 in one process and 3 in the other."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    norm = nn.BatchNorm1d(1)
    network = nn.parallel.DistributedDataParallel(norm, broadcast_buffers=False)
    average = ExponentialAverage(network, 0.5)
    trainer = Engine(lambda engine, batch: norm.running_mean.fill_(1.0 + 2.0 * rank))
    average.attach(trainer)
    trainer.run([0])
    Path(folder, f"{rank}.txt").write_text(f"{average.model.running_mean.item():.4f}", encoding="utf-8")


def test_the_average_of_the_weights_is_the_same_in_both(tmp_path: Path) -> None:
    multiprocessing.start_processes(average_one_of_two, (str(tmp_path),), nprocs=2, start_method="fork")
    # 9/11 of the mean of both: what the average begins with has a running mean of 0
    assert [(tmp_path / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(2)] == ["1.6364"] * 2


def limit_one_of_two(rank: int, folder: str) -> None:
    """Up to five iterations; by the clock of the second process alone the time is over in the third."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    limit = TimeLimit(3600)

    def step(engine: Engine, batch: int) -> None:
        if rank == 1 and engine.state.iteration == 3:
            limit.start_time -= 3601

    trainer = Engine(step)
    limit.attach(trainer)
    trainer.run(range(5))
    Path(folder, f"{rank}.txt").write_text(str(trainer.state.iteration), encoding="utf-8")


def test_the_time_is_over_in_both_after_the_same_iteration(tmp_path: Path) -> None:
    multiprocessing.start_processes(limit_one_of_two, (str(tmp_path),), nprocs=2, start_method="fork")
    assert [(tmp_path / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(2)] == ["3"] * 2

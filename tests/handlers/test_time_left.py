# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import pytest
from ignite.engine import Engine, Events

from c2f_monai.handlers import time_left
from c2f_monai.handlers.time_left import TimeLeft, estimate_seconds_left


@pytest.mark.parametrize(
    ("work", "seconds", "left"),
    [
        ([1, 1, 1], [10.0], 20.0),
        ([1, 1, 1], [10.0, 20.0, 30.0], 0.0),
        ([1, 2.5, 2.5], [10.0], 50.0),
        ([1, 2.5, 2.5, 4], [10.0, 30.0], 30.0 + 48.0),  # a stage that has run counts by its own time
    ],
)
def test_epochs_to_come_take_what_those_of_their_work_took(work, seconds, left) -> None:
    assert estimate_seconds_left(work, seconds) == pytest.approx(left)


def test_without_an_epoch_there_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="no epoch has ended"):
        estimate_seconds_left([1, 1], [])


def trainer_of(monkeypatch, seconds: float) -> Engine:
    """Its iterations take so long by a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr(time_left.time, "perf_counter", lambda: now[0])

    def step(engine: Engine, batch: int) -> None:
        now[0] += seconds

    return Engine(step)


def test_a_run_tells_soon_and_with_each_epoch(monkeypatch, caplog) -> None:
    trainer = trainer_of(monkeypatch, 2.0)
    TimeLeft(lambda engine, epoch: 1.0 if epoch < 3 else 3.0).attach(trainer)
    with caplog.at_level(logging.INFO):
        trainer.run(range(100), max_epochs=3)
    assert [record.getMessage() for record in caplog.records if "left" in record.getMessage()] == [
        "epoch 1 of 3: 2 min so far, about 15 min left",  # 40 iterations, an epoch of 200 s and one of 600 s
        "epoch 2 of 3: 3 min so far, about 13 min left",
        "epoch 3 of 3: 7 min so far, about 10 min left",
    ]


def test_a_run_that_continues_estimates_from_its_own_epochs(monkeypatch, caplog) -> None:
    trainer = trainer_of(monkeypatch, 1.0)
    TimeLeft(lambda engine, epoch: 100.0 if epoch == 1 else 1.0).attach(trainer)
    trainer.load_state_dict({"epoch_length": 20, "max_epochs": 4, "iteration": 20})
    with caplog.at_level(logging.INFO):
        trainer.run(range(20), max_epochs=4)
    told = [record.getMessage() for record in caplog.records if "left" in record.getMessage()]
    assert told[0] == "epoch 3 of 4: 20 s so far, about 40 s left"


def test_a_checkpoint_may_be_loaded_after_it_has_started(monkeypatch, caplog) -> None:
    """By a handler that was attached later."""
    trainer = trainer_of(monkeypatch, 1.0)
    TimeLeft(lambda engine, epoch: 1.0 if epoch == 1 else 5.0).attach(trainer)
    state = {"epoch_length": 20, "max_epochs": 4, "iteration": 20}
    trainer.add_event_handler(Events.STARTED, lambda engine: engine.load_state_dict(state))
    with caplog.at_level(logging.INFO):
        trainer.run(range(20), max_epochs=4)
    told = [record.getMessage() for record in caplog.records if "left" in record.getMessage()]
    assert told == ["epoch 3 of 4: 20 s so far, about 40 s left", "epoch 4 of 4: 40 s so far, about 20 s left"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers of training: stages, draws, weights, checkpoints, logs."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
import torch
import torch.nn as nn
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedEvaluator, SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from c2f_monai.handlers import (
    DrawsHandler,
    EpochValidationHandler,
    EventFile,
    ExponentialAverage,
    GradientClipping,
    GridDice,
    InitialWeights,
    RoundLosses,
    StageSchedule,
    TrainingCheckpoint,
    WaitingTime,
    best_weights,
    copy_to_fine,
    learning_rate_factor,
    parameter_groups,
    prepare_slab_batch,
    save_weights,
    stage_ends,
)
from c2f_monai.inferers import StopRule
from c2f_monai.inferers.frozen import idle_parameters
from c2f_monai.networks import CoarseToFineNet, LiteUNet, SaliencyTransform, build_network
from c2f_monai.utils import SlabSpec
from tests.processes import ROOT, Command

STAGES = [
    {"stage": "separate", "length": 1},
    {"stage": "individual", "length": 1, "lr_factor": 0.5},
    {"stage": "joint", "length": 2, "lr_factor": 0.5, "lr_end_factor": 0.1},
]


def make_engine(step: Callable | None = None) -> Engine:
    engine = Engine(step or (lambda engine, batch: 0.0))
    engine.register_events(*IterationEvents)
    return engine


@pytest.mark.parametrize(
    ("lengths", "epochs", "expected"),
    [([2, 6, 8], 16, [2, 8, 16]), ([10000, 30000, 40000], 8, [1, 4, 8]), ([1, 1, 1], 1, [0, 1, 1]), ([5], 3, [3])],
)
def test_lengths_share_out_the_epochs(lengths: list[float], epochs: int, expected: list[int]) -> None:
    assert stage_ends(lengths, epochs) == expected


@pytest.mark.parametrize(
    ("stage", "progress", "expected"),
    [
        ({}, 0.7, 1.0),
        ({"lr_factor": 0.2}, 0.7, 0.2),
        ({"lr_factor": 1.0, "lr_end_factor": 0.0}, 0.5, 0.5),
        ({"lr_factor": 1.0, "lr_end_factor": 0.2}, 1.0, 0.2),
    ],
)
def test_learning_rate_within_a_stage(stage: dict, progress: float, expected: float) -> None:
    assert learning_rate_factor(stage, progress) == pytest.approx(expected)


def test_schedule_follows_the_iteration() -> None:
    network = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": network.weight, "lr": 1.0}, {"params": network.bias, "lr": 2.0}])
    inferer = SimpleNamespace(stage="", rounds=1)
    seen = []
    engine = make_engine(lambda e, _: seen.append((inferer.stage, *(g["lr"] for g in optimizer.param_groups))))
    StageSchedule(STAGES, inferer, optimizer, warmup=2).attach(engine)
    numbers = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: numbers.append(e.state.metrics["stage"]))
    engine.run([0, 1], max_epochs=4)
    assert numbers == [1, 2, 3, 3]  # for those that save
    cosine = [0.1 + 0.4 * 0.5 * (1 + math.cos(math.pi * p)) for p in (0, 0.25, 0.5, 0.75)]
    expected = [("separate", 0.5), ("separate", 1.0), ("individual", 0.5), ("individual", 0.5)]
    expected += [("joint", f) for f in cosine]
    assert [s[0] for s in seen] == [e[0] for e in expected]
    assert [s[1] for s in seen] == pytest.approx([e[1] for e in expected])
    assert [s[2] for s in seen] == pytest.approx([2 * e[1] for e in expected])


def test_a_stage_may_unroll_fewer_rounds_than_the_inferer_was_made_with() -> None:
    inferer, seen = SimpleNamespace(stage="", rounds=3), []
    stages = [{"stage": "joint", "length": 1, "rounds": n} for n in (1, 2, 7)] + [{"stage": "joint", "length": 1}]
    engine = make_engine(lambda e, _: seen.append(inferer.rounds))
    StageSchedule(stages, inferer, torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)).attach(engine)
    engine.run([0], max_epochs=4)
    assert seen == [1, 2, 3, 3]


def test_a_stage_keeps_the_weights_of_its_end(tmp_path: Path) -> None:
    network = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    stages = [
        {"stage": "individual", "length": 2, "keep_as": "model_individual.pt"},
        {"stage": "joint", "length": 1, "keep_as": "model_joint.pt"},
    ]

    def trainer() -> Engine:
        def step(engine: Engine, batch: int) -> None:
            network.weight.data.fill_(float(engine.state.iteration))

        engine = make_engine(step)
        inferer = SimpleNamespace(stage="", rounds=1)
        StageSchedule(stages, inferer, optimizer, network=network, directory=tmp_path).attach(engine)
        return engine

    def kept(name: str) -> float:
        return float(torch.load(tmp_path / name, weights_only=True)["weight"])

    first = trainer()
    first.add_event_handler(Events.EPOCH_COMPLETED(once=2), first.terminate)  # killed at the end of the stage
    first.run([0, 1], max_epochs=3)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    second = trainer()
    second.load_state_dict({"epoch_length": 2, "max_epochs": 3, "iteration": 4})
    second.run([0, 1], max_epochs=3)
    assert (kept("model_individual.pt"), kept("model_joint.pt")) == (4.0, 6.0)
    assert (tmp_path / "model_individual.json").is_file()  # what inference must know of them


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages is empty"),
        ([{"stage": "joint", "epochs": 3}], "a stage needs 'stage' and knows"),
        ([{"stage": "joint", "length": 0}], "length of stage 'joint' must be positive, got 0"),
        ([{"stage": "joint", "length": 1, "rounds": 0}], "rounds of stage 'joint' must be at least 1, got 0"),
        ([{"stage": "coarse", "length": 1, "copy_to_fine": True}], "copy_to_fine needs the network"),
        ([{"stage": "joint", "length": 1, "keep_as": "model_a.pt"}], "keep_as 'model_a.pt' needs the network"),
    ],
)
def test_bad_stages_are_refused(stages: list, message: str) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match=message):
        StageSchedule(stages, SimpleNamespace(stage="", rounds=1), optimizer)


def test_stages_of_a_kind_are_changed_or_left_out() -> None:
    inferer = SimpleNamespace(stage="", rounds=2)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    stages = [{"stage": "coarse", "length": 1}, {"stage": "joint", "length": 2, "rounds": 1}]
    found = StageSchedule(stages, inferer, optimizer, changes={"coarse": None, "joint": {"stage": "individual"}}).stages
    assert found == [{"stage": "individual", "length": 2, "rounds": 1}]
    assert StageSchedule(stages, inferer, optimizer, changes={"coarse": {}, "joint": {}}).stages == stages
    with pytest.raises(ValueError, match="give at least one stage that changes .* do not leave out"):
        StageSchedule(stages, inferer, optimizer, changes={"coarse": None, "joint": None})


def test_validation_scores_the_coarse_answer_until_a_fine_network_is_trained() -> None:
    own, seen = StopRule(dice=0.9, max_rounds=4), []
    validator_inferer = SimpleNamespace(stopping=own)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)

    def schedule(*stages: str) -> Engine:
        engine = make_engine()
        lengths = [{"stage": stage, "length": 1} for stage in stages]
        inferer = SimpleNamespace(stage="", rounds=1)
        StageSchedule(lengths, inferer, optimizer, validator_inferer=validator_inferer).attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(validator_inferer.stopping))
        return engine

    schedule("coarse", "separate", "individual", "joint").run([0], max_epochs=4)
    assert seen == [StopRule(dice=None, max_rounds=0), own, own, own]
    seen.clear()
    continued = schedule("coarse", "joint")
    continued.load_state_dict({"iteration": 1, "max_epochs": 4, "epoch_length": 1})
    continued.run([0], max_epochs=4)
    assert [rule.max_rounds for rule in seen] == [0, 4, 4]
    schedule("coarse").run([0], max_epochs=1)
    assert validator_inferer.stopping is own  # afterwards it is as it was


@pytest.mark.parametrize(
    ("interval", "epochs", "expected"), [(3, 7, [3, 6, 7]), (3, 6, [3, 6]), (9, 2, [2]), (1, 2, [1, 2])]
)
def test_the_last_epoch_is_validated_whatever_the_interval_is(interval: int, epochs: int, expected: list[int]) -> None:
    device = torch.device("cpu")
    validator = SupervisedEvaluator(device, [], nn.Identity())
    seen: list[int] = []
    validator.run = seen.append  # type: ignore[method-assign,assignment] # what the handler calls, with the epoch
    trainer = make_engine()
    EpochValidationHandler(interval, validator).attach(trainer)
    trainer.run([0, 1], max_epochs=epochs)
    assert seen == expected
    with pytest.raises(ValueError, match="val_interval must be at least 1 epoch, got 0"):
        EpochValidationHandler(0, validator)


@pytest.mark.parametrize(("limit", "step"), [(None, 30.0), (1.0, 1.0), (100.0, 30.0)])
def test_gradients_are_shortened_to_a_largest_norm(limit: float | None, step: float) -> None:
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": torch.tensor([[18.0, 24.0]]), "label": torch.zeros(1, 1)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=lambda pred, label: (pred - label).sum(),
        train_handlers=[] if limit is None else [GradientClipping(network, limit)],
    )
    trainer.run()
    assert (network.weight - before).norm().item() == pytest.approx(step, rel=1e-5)
    with pytest.raises(ValueError, match="max_grad_norm must be positive, or null for no limit, got 0"):
        GradientClipping(network, 0)


def train_on(values: list[float], **options: object) -> tuple[nn.Module, SupervisedTrainer]:
    """One batch of ``values`` after the other through a weight that starts at 1; the loss is weight * value."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1, affine=False, momentum=0.5))
    network[0].weight.data.fill_(1.0)
    case = {"axial": torch.tensor([[1, 7], [0, 2]])}
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[
            {"image": torch.tensor([[x], [x]]), "label": torch.zeros(2, 1), "case": case} for x in values
        ],
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.25, fused=True),
        prepare_batch=lambda batch, *_, **__: (batch["image"], batch["label"]),
        inferer=lambda image, net: net(image) * 0 + net[0](image),
        loss_function=lambda pred, label: pred.mean(),
        train_handlers=[GradientClipping(network, None, **options)],
        decollate=False,
    )
    trainer.logger.setLevel(logging.CRITICAL)
    return network, trainer


def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights() -> None:
    dataset = SimpleNamespace(volumes=[SimpleNamespace(name="a.nii"), SimpleNamespace(name="b.nii")])
    network, trainer = train_on([1.0, math.nan, 1.0], dataset=dataset)
    message = (
        r"the loss is nan at iteration 2 \(epoch 1\), learning rates 0.25, on axial slice 7 of b.nii, axial slice 2"
    )
    with pytest.raises(ValueError, match=message):
        trainer.run()
    assert network[0].weight.isfinite().all() and network[0].weight.item() != 1.0
    _, trainer = train_on([1.0])
    trainer.loss_function = lambda pred, label: pred.mean() + math.inf
    with pytest.raises(ValueError, match="the loss is inf at iteration 1 .* such iterations out: non_finite skip"):
        trainer.run()
    with pytest.raises(ValueError, match="non_finite must be stop or skip, got 'go on'"):
        train_on([], non_finite="go on")


def test_a_gradient_that_is_no_number_stops_too() -> None:
    network, trainer = train_on([0.0])
    trainer.loss_function = lambda pred, label: pred.abs().sqrt().sum()  # 0, with an infinite slope
    with pytest.raises(ValueError, match="the norm of the gradient is nan at iteration 1"):
        trainer.run()
    assert network[0].weight.item() == 1.0


def test_iterations_without_a_number_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    network, trainer = train_on([1.0, math.nan, 2.0], non_finite="skip")
    with caplog.at_level(logging.WARNING, "c2f_monai.handlers.gradients"):
        trainer.run()
    expected, without = train_on([1.0, 2.0])
    without.run()
    for found, wanted in zip(network.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(found, wanted)  # the running statistics, too
    assert trainer.state.metrics == {"skipped iterations": 1}
    assert "the loss is nan at iteration 2" in caplog.text and "left out, 1 so far" in caplog.text
    _, hopeless = train_on([math.nan] * 20, non_finite="skip")
    with pytest.raises(ValueError, match=r"at iteration 10 .* \(10 iterations in a row\)"):
        hopeless.run()


class Parts(nn.Module):
    """Names as in the coarse-to-fine network."""

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        parts = {name: nn.Linear(1, width) for name in ("coarse", "saliency", "fine")}
        self.views = nn.ModuleDict({"axial": nn.ModuleDict(parts)})


def test_the_fine_networks_begin_as_copies_of_the_coarse_ones() -> None:
    network = Parts()
    stages = [{"stage": "coarse", "length": 2, "copy_to_fine": True}, {"stage": "separate", "length": 1}]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    parts = network.views["axial"]

    def step(engine: Engine, batch: int) -> None:
        parts["coarse"].weight.data.fill_(float(engine.state.iteration))

    engine, seen = make_engine(step), []
    StageSchedule(stages, SimpleNamespace(stage="", rounds=1), optimizer, network=network).attach(engine)
    # Behind the schedule, as validation is.
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(parts["fine"].weight[0].item()))
    engine.run([0, 1], max_epochs=3)
    assert seen == [2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("stage", "moved"),
    [
        ("coarse", ["coarse"]),
        ("fine", ["fine"]),
        ("separate", ["coarse", "fine"]),
        ("individual", ["coarse", "saliency", "fine"]),
        ("joint", ["coarse", "saliency", "fine"]),
    ],
)
def test_what_a_stage_does_not_train_stays_as_it_is(stage: str, moved: list[str]) -> None:
    """Whatever decays, and whatever momentum an earlier stage has left."""
    network = Parts()
    parts = network.views["axial"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    before = {name: parts[name].weight.detach().clone() for name in parts}

    def step(engine: Engine, batch: int) -> None:
        optimizer.zero_grad(set_to_none=False)  # as MONAI's trainer does
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        optimizer.step()

    engine = make_engine(step)
    StageSchedule([{"stage": stage, "length": 1}], SimpleNamespace(rounds=1), optimizer, network=network).attach(engine)
    engine.run([0, 1], max_epochs=1)
    assert [name for name in parts if not torch.equal(parts[name].weight, before[name])] == moved


def test_a_shared_encoder_stays_as_it_is_while_fine_networks_learn_alone() -> None:
    network = build_network(LiteUNet, LiteUNet, slab=SlabSpec(1, 1), views=["axial"], shared_encoder=True)
    parts, shared = network.views["axial"], network.views["axial"].shared
    encoder = {id(one) for one in parts.fine.get_submodule(shared).parameters()}
    left = {
        stage: encoder & {id(one) for one in idle_parameters(network, stage)} for stage in ("coarse", "fine", "joint")
    }
    assert left == {"coarse": set(), "fine": encoder, "joint": set()}


def test_the_average_of_the_weights() -> None:
    """It starts at what was loaded, keeps (1 + n) / (10 + n) at first and ``decay`` later, and is what is validated."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    weight, mean = network[0].weight, network[1].running_mean

    def step(engine: Engine, batch: int) -> None:
        weight.data.fill_(10.0)
        mean.fill_(20.0)

    validator, engine, seen = SimpleNamespace(network=network), make_engine(step), []
    average = ExponentialAverage(network, 0.5, validator)
    assert validator.network is average.model and not average.model.training
    engine.add_event_handler(Events.STARTED, lambda: weight.data.fill_(1.0))
    average.attach(engine)
    averaged = average.model[0].weight
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(averaged.item()))
    engine.run([0] * 2, max_epochs=1)
    second = (2 / 11 * 1 + 9 / 11 * 10) * 3 / 12 + 10 * 9 / 12
    assert seen == pytest.approx([2 / 11 * 1 + 9 / 11 * 10, second])
    assert average.model[1].running_mean.item() == pytest.approx(20 * (9 / 11 * 3 / 12 + 9 / 12))
    engine.load_state_dict({"epoch_length": 2, "max_epochs": 5, "iteration": 8})
    engine.run([0] * 2, max_epochs=5)  # (1 + 9) / (10 + 9) is more than a half
    assert seen[2:] == pytest.approx([5 + second / 2, 7.5 + second / 4])
    assert weight.item() == 10.0


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_an_average_that_would_not_move_or_not_average_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"ema must be above 0 and below 1, such as 0.999, got {decay}"):
        ExponentialAverage(nn.Linear(1, 1), decay)


def test_the_average_goes_through_the_stages_with_the_network(tmp_path: Path) -> None:
    """What the network copies and keeps, the average copies and keeps of its own."""
    network = Parts()
    coarse, fine = (network.views["axial"][name].weight for name in ("coarse", "fine"))
    stages = [
        {"stage": "coarse", "length": 1, "copy_to_fine": True, "keep_as": "model_coarse.pt"},
        {"stage": "fine", "length": 1},
    ]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)

    def step(engine: Engine, batch: int) -> None:
        (coarse if engine.state.epoch == 1 else fine).data.fill_(11.0 * engine.state.iteration)

    for parameter in (coarse, fine):
        parameter.data.zero_()
    engine, average = make_engine(step), ExponentialAverage(network, 0.9)
    schedule = StageSchedule(
        stages, SimpleNamespace(stage="", rounds=1), optimizer, network=network, directory=tmp_path, average=average
    )
    schedule.attach(engine)
    engine.run([0], max_epochs=2)
    kept = torch.load(tmp_path / "model_coarse.pt", weights_only=True)
    assert kept["views.axial.coarse.weight"][0].item() == kept["views.axial.fine.weight"][0].item() == pytest.approx(9)
    parts = average.model.views["axial"]
    # In the second iteration a fourth stays of the 9 of the fine network, and of the coarse one, which is at 11.
    assert parts["fine"].weight[0].item() == pytest.approx(9 / 4 + 22 * 3 / 4)
    assert parts["coarse"].weight[0].item() == pytest.approx(9 / 4 + 11 * 3 / 4)


@pytest.mark.parametrize(
    ("loaded", "copied"),
    [((), True), (("fine.weight",), True), (("fine.weight", "fine.bias"), False), (("coarse", "fine"), True)],
)
def test_a_fine_network_that_was_filled_before_training_is_kept(loaded: tuple[str, ...], copied: bool) -> None:
    network = Parts()
    parts = network.views["axial"]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    engine = make_engine(lambda engine, batch: None)
    stages = [{"stage": "coarse", "length": 1, "copy_to_fine": True}]

    def load() -> None:
        for name in loaded:
            # A file of both holds a fine network that is a copy already.
            tensors = [parts.get_parameter(name)] if "." in name else list(parts[name].parameters())
            for tensor in tensors:
                tensor.data.fill_(7.0)

    engine.add_event_handler(Events.STARTED, load)
    StageSchedule(stages, SimpleNamespace(stage="", rounds=1), optimizer, network=network).attach(engine)
    engine.run([0], max_epochs=1)
    assert torch.equal(parts["fine"].weight, parts["coarse"].weight) is copied


def test_a_fine_network_of_another_form_keeps_its_start(caplog: pytest.LogCaptureFixture) -> None:
    network = Parts()
    network.views["axial"]["fine"] = nn.Linear(2, 2)
    before = network.views["axial"]["fine"].weight.clone()
    with caplog.at_level(logging.INFO):
        copy_to_fine(network)
    assert torch.equal(network.views["axial"]["fine"].weight, before)
    assert "axial: the fine network is not a copy of the coarse one" in caplog.text


def test_parameter_groups() -> None:
    network = Parts()
    groups = parameter_groups(network, 0.1, 0.5, {"fine": 10.0}, bias_lr_factor=2.0)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    part = network.views["axial"]
    assert rates[id(part["coarse"].weight)] == pytest.approx((0.1, 0.5))
    assert rates[id(part["fine"].weight)] == pytest.approx((1.0, 0.5))
    assert rates[id(part["fine"].bias)] == pytest.approx((2.0, 0.0))
    assert {group["weight_decay"] for group in parameter_groups(network, 0.1)} == {0.0}  # where none is asked for
    assert len(rates) == len(list(network.parameters()))
    with pytest.raises(ValueError, match="lr_factors knows"):
        parameter_groups(network, 0.1, lr_factors={"final": 2.0})


def test_a_module_of_a_part_has_its_own_learning_rate() -> None:
    """A pretrained encoder moves less than what starts at random."""
    network = CoarseToFineNet(LiteUNet, LiteUNet, SaliencyTransform, views=["axial"])
    groups = parameter_groups(network, 0.1, lr_factors={"encoder": 0.3, "fine": 2.0})
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        factor = (2.0 if ".fine." in name else 1.0) * (0.3 if ".encoder." in name else 1.0)
        assert rates[id(parameter)] == pytest.approx(0.1 * factor), name


def test_prepare_batch_hands_labels_and_draws_to_the_inferer() -> None:
    keys = ("image", "label", "margins", "fallback", "size")
    batch = {key: {"axial": torch.full((2, 4), i)} for i, key in enumerate(keys)}
    inputs, targets, args, kwargs = prepare_slab_batch(batch, "cpu")
    assert inputs["axial"][0, 0] == 0 and targets["axial"][0, 0] == 1 and args == ()
    assert kwargs["targets"] is targets
    assert {key: int(x[0, 0]) for key, x in kwargs["draws"]["axial"].items()} == {
        "size": 4,
        "margins": 2,
        "fallback": 3,
    }


def test_draws_follow_the_iteration_not_the_history() -> None:
    def draw(start: int) -> list[float]:
        values, epochs = [], []
        engine = make_engine(lambda e, _: values.append(torch.rand(1).item()))
        DrawsHandler(SimpleNamespace(set_epoch=epochs.append), seed=3).attach(engine)
        torch.manual_seed(start)
        engine.load_state_dict({"iteration": start, "max_epochs": 3, "epoch_length": 2})
        engine.run([0, 1], max_epochs=3)
        assert epochs == [1, 2, 3][start // 2 :]
        return values

    assert draw(2) == draw(0)[2:]


def test_waiting_time(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ignite.handlers.timing.perf_counter", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    class Loader(list):
        def __iter__(self):
            for i in range(4):
                passes(3.0)
                yield i

    waiting = WaitingTime()
    engine = make_engine(lambda e, _: passes(1.0))
    waiting.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: passes(100.0))  # a validation is no part of it
    with caplog.at_level(logging.INFO):
        engine.run(Loader(range(4)), max_epochs=2)
    assert waiting.share == 0.75
    assert waiting.seconds == 4.0
    assert "epoch 2: 4 iterations of 4.000 s, 75.0 % of it waiting for data" in caplog.text


def test_initial_weights_copy_what_fits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    source, target = Parts(), Parts()
    state = source.state_dict()
    state["views.axial.fine.weight"] = torch.zeros(3, 1)  # another shape
    state["views.coronal.fine.weight"] = torch.zeros(2, 1)  # another view
    save_weights(state, tmp_path / "other.pt")
    start = target.views["axial"]["fine"].weight.clone()
    with caplog.at_level(logging.INFO):
        InitialWeights(target, str(tmp_path / "other.pt"))(make_engine())
    assert torch.equal(target.views["axial"]["coarse"].weight, source.views["axial"]["coarse"].weight)
    assert torch.equal(target.views["axial"]["fine"].weight, start)
    assert "not filled: views.axial.fine.weight; not used: views.axial.fine.weight, views.coronal" in caplog.text
    save_weights({"else": torch.zeros(1)}, tmp_path / "else.pt")
    with pytest.raises(ValueError, match="nothing in .*else.pt fits this network"):
        InitialWeights(target, str(tmp_path / "else.pt"))(make_engine())
    with pytest.raises(FileNotFoundError, match="there are no weights at"):
        InitialWeights(target, str(tmp_path / "none.pt"))


def test_many_tensors_that_do_not_fit_are_told_by_their_modules(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, source = Parts(), Parts().state_dict()
    deep = {f"views.axial.coarse.unet.decoder.blocks.{i}.conv.weight": torch.zeros(1) for i in range(9)}
    save_weights({**source, **deep}, tmp_path / "other.pt")
    with caplog.at_level(logging.WARNING):
        InitialWeights(network, str(tmp_path / "other.pt"))(make_engine())
    assert "not filled: none; not used: views.axial.coarse.unet.decoder (9)" in caplog.text


def test_weights_of_coarse_networks_are_the_start_of_the_fine_ones_too(tmp_path: Path) -> None:
    source, target = Parts(), Parts()
    save_weights({k: v for k, v in source.state_dict().items() if ".coarse." in k}, tmp_path / "coarse.pt")
    saliency = target.views["axial"]["saliency"].weight.clone()
    InitialWeights(target, str(tmp_path / "coarse.pt"))(make_engine())
    for part in ("coarse", "fine"):
        assert torch.equal(target.views["axial"][part].weight, source.views["axial"]["coarse"].weight)
    assert torch.equal(target.views["axial"]["saliency"].weight, saliency)


def validate(engine: Engine, dice: float) -> None:
    engine.state.metrics["dice"] = dice
    engine.run([0])


def test_best_weights_only_improve(tmp_path: Path) -> None:
    network, validator = nn.Linear(1, 1), make_engine()
    path = tmp_path / "runs" / "model.pt"
    validator.add_event_handler(Events.COMPLETED, best_weights(network, path, "dice"))
    kept = []
    for value in (0.5, 0.4, math.nan, 0.6):
        nn.init.constant_(network.weight, value)
        validate(validator, value)
        kept.append(torch.load(path, weights_only=True)["weight"].item())
    assert kept == pytest.approx([0.5, 0.5, 0.5, 0.6])
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["model.pt"]


def test_any_score_is_better_than_none(tmp_path: Path) -> None:
    network, validator = nn.Linear(1, 1), make_engine()
    validator.add_event_handler(Events.COMPLETED, best_weights(network, tmp_path / "model.pt", "dice"))
    for value, weight in ((math.nan, 0.0), (0.1, 1.0), (math.nan, 2.0)):
        nn.init.constant_(network.weight, weight)
        validate(validator, value)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["weight"].item() == 1.0


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save_weights({"a": torch.ones(1)}, path)

    def full(_: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full"):
        save_weights({"a": torch.zeros(1)}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True)["a"].item() == 1.0
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def train(
    folder: Path,
    epochs: int,
    stop_after: int | None = None,
    resume: bool = False,
    ema: float | None = None,
    length: int = 3,
    **options: object,
) -> tuple[nn.Module, list[int]]:
    """A tiny training, whose data are a function of the iteration; ``stop_after`` kills it within an epoch."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    make = options.pop("optimizer", None) or partial(torch.optim.AdamW, lr=0.1)
    optimizer = make(network.parameters())
    done: list[int] = []

    def step(engine: Engine, _: object) -> None:
        done.append(engine.state.iteration)
        if engine.state.iteration == stop_after:
            raise KeyboardInterrupt
        x = torch.tensor([1.0, float(engine.state.iteration)])
        optimizer.zero_grad()
        network(x).pow(2).sum().backward()
        optimizer.step()

    engine, validator = Engine(step), make_engine()
    engine.state.max_epochs, engine.state.epoch_length = epochs, length
    if ema is not None:
        options["average"] = ExponentialAverage(network, ema)
        options["average"].attach(engine)
    TrainingCheckpoint(str(folder), network, optimizer, validator, "dice", resume=resume, **options).attach(engine)
    if not resume:  # a new run finds no weights
        engine.add_event_handler(Events.STARTED, lambda: validate(validator, 0.25))
    engine.add_event_handler(Events.COMPLETED, lambda e: validate(validator, 0.2))
    try:
        engine.run(range(length), max_epochs=epochs)
    except KeyboardInterrupt:
        pass
    return network, done


def test_epochs_of_another_length_are_not_continued(tmp_path: Path) -> None:
    """Such as those of another number of processes, whose data are others."""
    train(tmp_path, 5, stop_after=8)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    with pytest.raises(ValueError, match=r"a run with 3 iterations an epoch, now 2: continue with as many processes"):
        train(tmp_path, 5, resume=True, length=2)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == kept


@pytest.mark.parametrize("removed", [False, True], ids=["in an iteration", "while a checkpoint is replaced"])
def test_killed_run_continues_to_the_same_weights(removed: bool, tmp_path: Path) -> None:
    straight, _ = train(tmp_path / "a", 5)
    train(tmp_path / "b", 5, stop_after=8)  # in the third epoch
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["checkpoint_1.pt", "checkpoint_2.pt", "model.pt"]
    start = torch.load(tmp_path / "b" / "model.pt", weights_only=True)
    if removed:
        (tmp_path / "b" / "checkpoint_1.pt").unlink()
    resumed, done = train(tmp_path / "b", 5, resume=True)
    assert done == list(range(7, 16))
    assert torch.equal(straight.weight, resumed.weight)
    # 0.25, from before the run was killed, is still the best.
    assert torch.equal(torch.load(tmp_path / "b" / "model.pt", weights_only=True)["weight"], start["weight"])
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["checkpoint_4.pt", "checkpoint_5.pt", "model.pt"]


def test_a_killed_run_continues_to_the_same_average_too(tmp_path: Path) -> None:
    straight, _ = train(tmp_path / "a", 5, ema=0.8, selection="last")
    train(tmp_path / "b", 5, stop_after=8, ema=0.8, selection="last")
    train(tmp_path / "b", 5, resume=True, ema=0.8, selection="last")
    found, expected = (torch.load(tmp_path / run / "model.pt", weights_only=True) for run in "ba")
    assert torch.equal(found["weight"], expected["weight"])
    kept = torch.load(tmp_path / "b" / "checkpoint_5.pt", weights_only=True)
    assert torch.equal(kept["average"]["weight"], found["weight"])
    assert torch.equal(kept["network"]["weight"], straight.weight)
    assert not torch.allclose(straight.weight, found["weight"])
    for other, text in ((0.9, "0.9"), (None, "null")):
        with pytest.raises(ValueError, match=f"ema 0.8, now {text}: continue with the same values"):
            train(tmp_path / "b", 6, resume=True, ema=other, selection="last")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("damage", ["bit", "half", "empty"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight, _ = train(tmp_path / "a", 5)
    train(tmp_path / "b", 5, stop_after=12)  # in the fourth epoch
    latest = tmp_path / "b" / "checkpoint_3.pt"
    content = bytearray(latest.read_bytes())
    weight = torch.load(latest, weights_only=True)["network"]["weight"].numpy().tobytes()
    if damage == "bit":
        content[content.index(weight)] ^= 1
    latest.write_bytes(content[: {"bit": None, "half": len(content) // 2, "empty": 0}[damage]])
    with caplog.at_level(logging.WARNING):
        resumed, done = train(tmp_path / "b", 5, resume=True)
    assert "checkpoint_3.pt cannot be read as weights" in caplog.text
    assert "The one before is taken, checkpoint_2.pt" in caplog.text
    assert done == list(range(7, 16))
    assert torch.equal(straight.weight, resumed.weight)
    assert names_in(tmp_path / "b") == ["checkpoint_4.pt", "checkpoint_5.pt", "model.pt"]


def test_without_a_whole_checkpoint_nothing_continues(tmp_path: Path) -> None:
    train(tmp_path, 2)
    for name in ("checkpoint_1.pt", "checkpoint_2.pt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="resume: no checkpoint can be read: .*checkpoint_2.pt .*checkpoint_1.pt"):
        train(tmp_path, 3, resume=True)


def test_a_checkpoint_is_whole_before_an_older_one_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, 2)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train(tmp_path, 3, resume=True)
    assert names_in(tmp_path) == ["checkpoint_1.pt", "checkpoint_2.pt", "model.pt"]


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    train(tmp_path, 3)
    (tmp_path / "checkpoint_1.pt").write_bytes(b"killed before it was removed")
    left = ["tmpab12cd_x", f".{platform.node()}-4194304.checkpoint_4.pt", ".lock"]  # no process has this number
    kept = ["tmp.txt", f".{platform.node()}-{os.getppid()}.checkpoint_4.pt"]
    for name in (*left, *kept):
        (tmp_path / name).write_bytes(b"half")
    train(tmp_path, 4, resume=True)
    assert names_in(tmp_path) == sorted([*kept, "checkpoint_3.pt", "checkpoint_4.pt", "model.pt"])


def test_a_run_continues_with_its_own_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = {"label_value": (1, 2), "seed": 0, "stages": [{"stage": "joint", "length": 1}], "fold": None}
    train(tmp_path, 1, settings=own, changeable={"learning_rate": 0.1})
    for key, value, message in (
        ("label_value", 2, r"label_value \[1, 2\], now 2"),
        ("seed", 1, "seed 0, now 1"),
        ("fold", 3, "fold null, now 3"),
        ("stages", [{"stage": "joint", "length": 2}], r'stages .*"length": 1}\], now .*"length": 2}\]'),
    ):
        with pytest.raises(ValueError, match=f"checkpoint_1.pt is of a run with {message}: continue with the same"):
            train(tmp_path, 2, resume=True, settings={**own, key: value})
    with caplog.at_level(logging.WARNING):
        train(tmp_path, 2, resume=True, settings=own, changeable={"learning_rate": 0.05})
    assert "resume: the run was begun with learning_rate 0.1, now 0.05" in caplog.text


def test_of_what_is_nested_the_log_says_the_entry_that_is_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = {"loss": {"batch": True, "cross_entropy": 2.0}, "augmentations": {"noise": {"std": 0.1}, "zoom": {}}}
    now = {"loss": {"batch": True, "cross_entropy": 1.0}, "augmentations": {"noise": {"std": 0.1, "prob": 0.5}}}
    train(tmp_path, 1, changeable=begun)
    with caplog.at_level(logging.WARNING):
        train(tmp_path, 2, resume=True, changeable=now)
    assert (
        "resume: the run was begun with loss#cross_entropy 2.0, now 1.0; augmentations#noise#prob null, now 0.5; "
        "augmentations#zoom {}, now null"
    ) in caplog.text


def test_a_run_that_is_not_continued_leaves_the_settings_of_the_weights(tmp_path: Path) -> None:
    """Else weights would be evaluated on a target, a grid or views that they were not trained for."""
    train(tmp_path, 1, settings={"label_value": 1}, inference={"label_value": 1})
    with pytest.raises(ValueError, match="label_value 1, now 2"):
        train(tmp_path, 2, resume=True, settings={"label_value": 2}, inference={"label_value": 2})
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8")) == {"label_value": 1}
    train(tmp_path, 2, resume=True, settings={"label_value": 1}, inference={"label_value": 1, "max_rounds": 3})
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8")) == {"label_value": 1, "max_rounds": 3}


@pytest.mark.parametrize(("epochs", "iterations"), [(1, 0), (2, 0), (3, 3)])
def test_a_run_without_epochs_left_says_so(
    epochs: int, iterations: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, 2)
    with caplog.at_level(logging.WARNING):
        _, done = train(tmp_path, epochs, resume=True)
    assert len(done) == iterations
    said = f"resume: nothing is left to train, epochs is {epochs}: a larger number goes on"
    assert (said in caplog.messages) is (iterations == 0)


def test_a_checkpoint_of_an_older_version_continues(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path, 1)
    path = tmp_path / "checkpoint_1.pt"
    old = torch.load(path, weights_only=True)
    del old["settings"]
    torch.save(old, path)
    with caplog.at_level(logging.WARNING):
        train(tmp_path, 2, resume=True, settings={"seed": 0})
    assert "does not tell its run's settings" in caplog.text


def test_what_another_run_left_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    """Both found the folder empty; the other one was first, and has ended."""
    network, validator = nn.Linear(2, 1), make_engine()
    optimizer, engine = torch.optim.SGD(network.parameters(), lr=0.1), make_engine()
    TrainingCheckpoint(str(tmp_path), network, optimizer, validator, "dice").attach(engine)
    train(tmp_path, 1)
    with pytest.raises(FileExistsError, match="holds checkpoints of an earlier run"):
        engine.run([0], max_epochs=1)
    assert names_in(tmp_path) == ["checkpoint_1.pt", "model.pt"]


HOLDS = """
import signal, sys
from c2f_monai.utils import FolderLock
lock = FolderLock(sys.argv[1])
lock.acquire()
print("taken", flush=True)
signal.pause()
"""


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = Command(["-c", HOLDS, str(folder)], ROOT, stdout=tmp_path / "said")
    try:
        first.wait_for_line("taken\n")
        with pytest.raises(BlockingIOError, match=f"another process writes to {folder}: wait until it ends"):
            train(folder, 1)
    finally:
        first.kill()
        first.wait()
    train(folder, 1)
    assert names_in(folder) == ["checkpoint_1.pt", "model.pt"]


SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def test_a_run_does_not_continue_with_another_optimizer(tmp_path: Path) -> None:
    train(tmp_path, 1, optimizer=SGD)
    with pytest.raises(ValueError, match='of a run with optimizer class "SGD", now "AdamW": continue with the same'):
        train(tmp_path, 2, resume=True)
    train(tmp_path, 2, resume=True, optimizer=SGD)
    groups = lambda parameters: SGD([{"params": [one]} for one in parameters])  # noqa: E731
    with pytest.raises(ValueError, match="has 1 groups of parameters for its optimizer, now 2: continue with the same"):
        train(tmp_path, 3, resume=True, optimizer=groups)


def test_a_run_continues_with_the_rates_that_the_log_says(tmp_path: Path) -> None:
    """Those of this run's optimizer, and the momenta that the checkpoint has."""
    made: list[torch.optim.Optimizer] = []

    def make(momentum: float, decay: float) -> Callable:
        return lambda parameters: made.append(SGD(parameters, momentum=momentum, weight_decay=decay)) or made[-1]

    train(tmp_path, 1, optimizer=make(0.9, 0.0))
    before = [made[-1].state[one]["momentum_buffer"].clone() for one in made[-1].param_groups[0]["params"]]
    train(tmp_path, 2, resume=True, optimizer=make(0.1, 0.5), length=3, stop_after=4)
    (group,) = made[-1].param_groups
    assert (group["momentum"], group["weight_decay"], group["lr"]) == (0.1, 0.5, 0.1)
    after = [made[-1].state[one]["momentum_buffer"] for one in group["params"]]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["model.pt", "model.json"])
def test_a_new_run_takes_no_weights_place(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"of somebody")
    with pytest.raises(FileExistsError, match=f"holds {name}, in whose place this run would write its own: move"):
        train(tmp_path, 1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"of somebody"}


def test_a_new_run_that_is_killed_in_its_first_epoch_can_be_begun_again(tmp_path: Path) -> None:
    options: dict = {"inference": {"margin": 3}, "selection": "last"}
    network, validator, engine = nn.Linear(1, 1), make_engine(), make_engine()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        engine = make_engine()
        TrainingCheckpoint(str(tmp_path), network, optimizer, validator, "dice", **options).attach(engine)
        with engine.add_event_handler(Events.ITERATION_COMPLETED, engine.terminate):
            engine.run([0, 1], max_epochs=1)
        assert {".begun", "model.json"} <= set(names_in(tmp_path))
    engine.run([0, 1], max_epochs=1)
    assert names_in(tmp_path) == ["checkpoint_1.pt", "model.json", "model.pt"]


def test_weights_from_before_the_first_checkpoint_are_kept_when_the_run_ends(tmp_path: Path) -> None:
    train(tmp_path, 2, interval=3, stop_after=4)
    train(tmp_path, 2, interval=3)  # was killed with nothing to go on from
    assert names_in(tmp_path) == ["model.pt"]
    with pytest.raises(FileExistsError, match="holds model.pt, in whose place"):
        train(tmp_path, 2, interval=3)


def test_runs_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="resume: no checkpoint in"):
        train(tmp_path, 1, resume=True)
    train(tmp_path, 1)
    with pytest.raises(FileExistsError, match="continue it with --resume, or choose another folder"):
        train(tmp_path, 1)


def events(folder: Path) -> EventAccumulator:
    (file,) = folder.glob("events*")
    return EventAccumulator(str(file)).Reload()


def test_a_run_writes_one_file_of_losses_rates_and_validation(tmp_path: Path) -> None:
    loss = SimpleNamespace(rounds={})
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.5)
    losses = {1: [2.0], 2: [1.0, 3.0]}  # the first epoch unrolls no round

    def step(engine: Engine, x: float) -> None:
        loss.rounds = {"axial": torch.tensor(losses[engine.state.epoch]) + x}

    label = torch.zeros(1, 4, 4, 4)
    label[0, :2] = 1
    masks = [torch.zeros(1, 4, 4, 4).bool(), label > 0]
    inferer = SimpleNamespace(records=[SimpleNamespace(masks=masks)])
    trainer, validator, writer = Engine(step), make_engine(), EventFile(str(tmp_path / "run"))
    for handler in (RoundLosses(loss, optimizer), TensorBoardStatsHandler(writer, iteration_log=False)):
        handler.attach(trainer)
    for handler in (GridDice(inferer), TensorBoardStatsHandler(writer, iteration_log=False)):
        handler.attach(validator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: validator.run([[{"label_grid": label}]]))
    assert not (tmp_path / "run").exists()
    trainer.run([0.0, 1.0], max_epochs=2)
    found = events(tmp_path / "run")
    values = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert values["loss/axial/coarse"] == [(1, 2.5), (2, 1.5)]
    assert values["loss/axial/round 1"] == [(2, 3.5)]
    assert values["learning rate/group 0"] == [(1, 0.5), (2, 0.5)]
    assert [value for _, value in values["grid DSC coarse"]] == [0.0, 0.0]
    assert [value for _, value in values["grid DSC last round"]] == [1.0, 1.0]


def test_the_mean_of_a_round_leaves_out_cases_without_target_in_which_nothing_was_found() -> None:
    none, some = torch.zeros(1, 4, 4, 4).bool(), torch.zeros(1, 4, 4, 4).bool()
    some[0, :2] = True
    # (truth on the working grid, on the image's own, masks of the rounds): the third was lost in the resampling.
    cases = [(some, some, [some, none]), (none, none, [none, some]), (none, some, [none, none])]
    inferer = SimpleNamespace(records=[SimpleNamespace(masks=masks) for *_, masks in cases])
    validator = make_engine()
    GridDice(inferer).attach(validator)
    validator.run([[{"label_grid": grid.float(), "label": label.float()} for grid, label, _ in cases]])
    assert validator.state.metrics["grid DSC coarse"] == 0.5  # 1 and 0
    assert validator.state.metrics["grid DSC last round"] == 0.0  # 0, 0 and 0


def test_the_mean_loss_leaves_out_what_is_no_number() -> None:
    loss = SimpleNamespace(rounds={})

    def step(engine: Engine, x: float) -> None:
        loss.rounds = {"axial": torch.tensor([x])}

    engine = Engine(step)
    RoundLosses(loss, torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.5)).attach(engine)
    engine.run([1.0, math.nan, 3.0, math.inf], max_epochs=1)
    assert engine.state.metrics["loss/axial/coarse"] == 2.0


def test_losses_of_a_later_stage_do_not_stay_in_one_with_fewer_rounds() -> None:
    loss = SimpleNamespace(rounds={})

    def step(engine: Engine, _: int) -> None:
        loss.rounds = {"axial": torch.ones(3 - engine.state.epoch)}

    engine = Engine(step)
    RoundLosses(loss, torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.5)).attach(engine)
    engine.run([0], max_epochs=2)
    assert engine.state.metrics == {"loss/axial/coarse": 1.0, "learning rate/group 0": 0.5}


def test_other_processes_write_no_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: 1)
    writer = EventFile(str(tmp_path / "run"))
    writer.add_scalar("a", 1.0, 1)
    writer.add_image("b", torch.zeros(3, 2, 2), 1)
    writer.flush()
    writer.close()
    assert not (tmp_path / "run").exists()

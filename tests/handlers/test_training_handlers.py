# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers of training: stages, draws, weights, checkpoints, logs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from ignite.engine import Engine, Events

from c2f_monai.handlers import (
    BestWeights,
    DrawsHandler,
    InitialWeights,
    StageSchedule,
    TrainingCheckpoint,
    TrainingLog,
    WaitingTime,
    copy_to_fine,
    learning_rate_factor,
    overlay_image,
    parameter_groups,
    prepare_slab_batch,
    save_weights,
    stage_ends,
)
from c2f_monai.networks import CoarseToFineNet, LiteUNet, SaliencyTransform

STAGES = [
    {"stage": "separate", "length": 1},
    {"stage": "individual", "length": 1, "lr_factor": 0.5},
    {"stage": "joint", "length": 2, "lr_factor": 0.5, "lr_end_factor": 0.1},
]


def make_engine(step: Callable | None = None) -> Engine:
    return Engine(step or (lambda engine, batch: 0.0))


@pytest.mark.parametrize(
    ("lengths", "epochs", "expected"),
    [([2, 6, 8], 16, [2, 8, 16]), ([10000, 30000, 40000], 8, [1, 4, 8]), ([1, 1, 1], 1, [0, 1, 1]), ([5], 3, [3])],
)
def test_lengths_share_out_the_epochs(lengths: list[float], epochs: int, expected: list[int]) -> None:
    assert stage_ends(lengths, epochs) == expected


@pytest.mark.parametrize(
    ("stage", "progress", "epochs", "expected"),
    [
        ({}, 0.7, 4, 1.0),
        ({"lr_factor": 0.2}, 0.7, 4, 0.2),
        ({"lr_factor": 1.0, "lr_end_factor": 0.0}, 0.5, 4, 0.5),
        ({"lr_factor": 1.0, "lr_end_factor": 0.2}, 1.0, 4, 0.2),
        ({"lr_factor": 1.0, "halve_every": 2}, 0.24, 8, 1.0),
        ({"lr_factor": 1.0, "halve_every": 2}, 0.25, 8, 0.5),
        ({"lr_factor": 1.0, "halve_every": 2}, 0.99, 8, 0.125),
    ],
)
def test_learning_rate_within_a_stage(stage: dict, progress: float, epochs: float, expected: float) -> None:
    assert learning_rate_factor(stage, progress, epochs) == pytest.approx(expected)


def test_schedule_follows_the_iteration() -> None:
    network = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": network.weight, "lr": 1.0}, {"params": network.bias, "lr": 2.0}])
    inferer = SimpleNamespace(stage="", rounds=1)
    seen = []
    engine = make_engine(lambda e, _: seen.append((inferer.stage, *(g["lr"] for g in optimizer.param_groups))))
    StageSchedule(STAGES, inferer, optimizer, warmup=2).attach(engine)
    engine.run([0, 1], max_epochs=4)
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


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages is empty"),
        ([{"stage": "joint", "epochs": 3}], "a stage needs 'stage' and knows"),
        ([{"stage": "joint", "length": 0}], "length of stage 'joint' must be positive, got 0"),
        ([{"stage": "joint", "length": 1, "rounds": 0}], "rounds of stage 'joint' must be at least 1, got 0"),
        ([{"stage": "coarse", "length": 1, "copy_to_fine": True}], "copy_to_fine needs the network"),
    ],
)
def test_bad_stages_are_refused(stages: list, message: str) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match=message):
        StageSchedule(stages, SimpleNamespace(stage="", rounds=1), optimizer)


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


def test_waiting_time(caplog: pytest.LogCaptureFixture) -> None:
    def slow() -> list[int]:
        class Loader(list):
            def __iter__(self):
                for i in range(4):
                    time.sleep(0.03)
                    yield i

        return Loader(range(4))

    waiting = WaitingTime()
    engine = make_engine(lambda e, _: time.sleep(0.01))
    waiting.attach(engine)
    with caplog.at_level(logging.INFO):
        engine.run(slow(), max_epochs=2)
    assert 0.55 < waiting.share < 0.9  # 30 of 40 ms
    assert 0.035 < waiting.seconds < 0.08
    assert "4 iterations of 0.0" in caplog.text and "% of it waiting for data" in caplog.text


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


def test_weights_of_coarse_networks_are_the_start_of_the_fine_ones_too(tmp_path: Path) -> None:
    source, target = Parts(), Parts()
    save_weights({k: v for k, v in source.state_dict().items() if ".coarse." in k}, tmp_path / "coarse.pt")
    saliency = target.views["axial"]["saliency"].weight.clone()
    InitialWeights(target, str(tmp_path / "coarse.pt"))(make_engine())
    for part in ("coarse", "fine"):
        assert torch.equal(target.views["axial"][part].weight, source.views["axial"]["coarse"].weight)
    assert torch.equal(target.views["axial"]["saliency"].weight, saliency)


def test_best_weights_only_improve(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    best = BestWeights(network, str(tmp_path / "runs" / "model.pt"), "dice")
    kept = []
    for value in (0.5, 0.4, math.nan, 0.6):
        nn.init.constant_(network.weight, value)
        best(SimpleNamespace(state=SimpleNamespace(metrics={"dice": value})))  # type: ignore[arg-type]
        kept.append(torch.load(best.path, weights_only=True)["weight"].item())
    assert kept == pytest.approx([0.5, 0.5, 0.5, 0.6])
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["model.pt"]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save_weights({"a": torch.ones(1)}, path)

    def full(_: object, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full"):
        save_weights({"a": torch.zeros(1)}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True)["a"].item() == 1.0
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def train(
    folder: Path, epochs: int, stop_after: int | None = None, resume: bool = False
) -> tuple[nn.Module, list[int]]:
    """A tiny training, whose data are a function of the iteration; ``stop_after`` kills it within an epoch."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    done: list[int] = []

    def step(engine: Engine, _: object) -> None:
        done.append(engine.state.iteration)
        if engine.state.iteration == stop_after:
            raise KeyboardInterrupt
        x = torch.tensor([1.0, float(engine.state.iteration)])
        optimizer.zero_grad()
        network(x).pow(2).sum().backward()
        optimizer.step()

    engine = Engine(step)
    engine.state.max_epochs, engine.state.epoch_length = epochs, 3
    checkpoint = TrainingCheckpoint(str(folder), network, optimizer, make_engine(), "dice", resume=resume)
    checkpoint.attach(engine)
    best = checkpoint.best
    if not resume:
        best.best = 0.25
    engine.add_event_handler(Events.COMPLETED, lambda e: setattr(network, "best", best.best))
    try:
        engine.run(range(3), max_epochs=epochs)
    except KeyboardInterrupt:
        pass
    return network, done


def test_killed_run_continues_to_the_same_weights(tmp_path: Path) -> None:
    straight, _ = train(tmp_path / "a", 5)
    train(tmp_path / "b", 5, stop_after=8)  # in the third epoch
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["checkpoint_1.pt", "checkpoint_2.pt"]
    resumed, done = train(tmp_path / "b", 5, resume=True)
    assert done == list(range(7, 16))
    assert torch.equal(straight.weight, resumed.weight)
    assert resumed.best == 0.25
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["checkpoint_4.pt", "checkpoint_5.pt"]


def test_runs_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="resume: no checkpoint in"):
        train(tmp_path, 1, resume=True)
    train(tmp_path, 1)
    with pytest.raises(FileExistsError, match="continue it with --resume true, or choose another --output_dir"):
        train(tmp_path, 1)


def test_log_means_over_the_epoch(tmp_path: Path) -> None:
    loss = SimpleNamespace(rounds={})
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    engine = make_engine(lambda e, x: setattr(loss, "rounds", {"axial": torch.tensor([1.0, x])}))
    log = TrainingLog(str(tmp_path), loss, optimizer)
    log.attach(engine)
    engine.run([0.0, 1.0], max_epochs=2)
    assert log.means() == {"axial": [1.0, 0.5]}
    assert list(tmp_path.glob("events*"))


def test_overlay_marks_truth_and_prediction_on_the_fullest_slice() -> None:
    image = torch.full((1, 6, 8, 4), 70.0)  # middle of the window
    label, pred = torch.zeros(1, 6, 8, 4), torch.zeros(1, 6, 8, 4)
    label[0, 2, 3, 1] = 1
    label[0, 2, 3:5, 2] = 1
    pred[0, 5, 0, 2] = 1
    rgb = overlay_image(image, pred, label)
    assert rgb.shape == (3, 8, 6)  # rows from anterior to posterior, columns from left to right of the RAS axis
    gray = (rgb - 0.5).abs().amax(0) < 1e-3
    marked = [tuple(p) for p in (~gray).nonzero().tolist()]
    assert marked == [(3, 2), (4, 2), (7, 5)]
    assert not torch.allclose(rgb[:, 3, 2], rgb[:, 7, 5])

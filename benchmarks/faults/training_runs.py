# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults while a network is trained: kills, damaged checkpoints, other settings, two processes, a full disk."""

from __future__ import annotations

import json
import math
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from c2f_monai.utils import FolderLock

from .fault import Fault, apart, expect, refused
from .tiny import data_set, in_child, remove, state_of, train

__all__ = ["FAULTS"]

PART = "runs of training"
KILLS = 100
#: Signals of the kills, in turn: two that end a process at once, and Control-C.
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def _trained(data: Path, output: Path, **options: Any) -> str:
    """Train in a child; what it printed, where it failed."""
    log = output.with_suffix(".log")
    _, status = os.waitpid(in_child(partial(train, data, output, **options), log), 0)
    return "" if status == 0 else log.read_text(encoding="utf-8", errors="replace")


def _succeed(data: Path, output: Path, **options: Any) -> None:
    failed = _trained(data, output, **options)
    expect(not failed, f"training failed: {_reasons(failed)}")


def _reasons(log: str) -> str:
    """Lines of tracebacks that say what happened."""
    said = [line.strip() for line in log.splitlines() if re.match(r"\s*(\w+\.)*\w*(Error|Exception|Interrupt)\b", line)]
    return "; ".join(dict.fromkeys(said)) or log[-300:]


def _same(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def _whole_files(output: Path) -> str:
    """The name of a file of the folder that is not whole; empty when all are."""
    for path in (*output.glob("[!.]*.pt"), *output.glob("model.json")):
        try:
            json.loads(path.read_bytes()) if path.suffix == ".json" else torch.load(path, weights_only=True)
        except Exception:
            return path.name
    return ""


def _wait(process: int, seconds: float) -> tuple[bool, int]:
    """Wait for a process, no longer than some seconds: whether it has ended, and its status."""
    end = time.perf_counter() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done or time.perf_counter() >= end:
            return bool(done), status
        time.sleep(0.01)


def _kills(folder: Path) -> str:
    """Kill at random times, go on, and end with the weights of a run that nobody killed."""
    data, draw = data_set(folder), random.Random(0)
    _succeed(data, folder / "first")  # slower than those that follow
    start = time.perf_counter()
    _succeed(data, folder / "straight")
    whole, expected = time.perf_counter() - start, state_of(folder / "straight")
    killed = ended = 0
    while killed < KILLS:
        output = folder / f"run{ended}"
        while True:
            resume = any(output.glob("checkpoint_*.pt"))
            (folder / "log").unlink(missing_ok=True)
            process = in_child(partial(train, data, output, resume=resume), folder / "log")
            done, status = _wait(process, draw.uniform(0, whole) if killed < KILLS else math.inf)
            if done:
                log = (folder / "log").read_text(encoding="utf-8", errors="replace")
                expect(status == 0, f"a run after {killed} kills ended with {status}: {_reasons(log)}")
                break
            os.kill(process, SIGNALS[killed % len(SIGNALS)])
            os.waitpid(process, 0)
            killed += 1
            damaged = _whole_files(output) if output.exists() else ""
            expect(not damaged, f"kill {killed} left {damaged} not whole")
        expect(_same(state_of(output), expected), f"other weights after {killed} kills")
        left = sorted(p.name for p in output.iterdir() if not p.name.startswith("events"))
        expect(left == ["checkpoint_3.pt", "checkpoint_4.pt", "model.json", "model.pt"], f"left behind: {left}")
        remove(output)
        ended += 1
    return f"{killed} kills, no file that is not whole, {ended} runs ended, all with the same weights bit for bit"


def _begun(folder: Path) -> tuple[Path, Path]:
    """A data set and a training of it that ended after three of four epochs."""
    data, output = data_set(folder), folder / "out"
    _succeed(data, output, epochs=3)
    return data, output


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "one bit of the newest checkpoint": _flip,
    "half of the newest checkpoint": _halve,
    "the newest checkpoint empty": _empty,
    "the newest checkpoint all zeros": _zeros,
}


def _damaged(damage: Callable[[Path], None], folder: Path) -> str:
    data, output = _begun(folder)
    _succeed(data, folder / "straight", epochs=3)
    damage(output / "checkpoint_3.pt")
    log = folder / "log"
    _, status = os.waitpid(in_child(partial(train, data, output, epochs=3, resume=True), log), 0)
    text = log.read_text(encoding="utf-8", errors="replace")
    said = [line for line in text.splitlines() if "The one before is taken" in line]
    expect(status == 0 and bool(said), f"status {status}, said {said}: {_reasons(text)}")
    expect(_same(state_of(output), state_of(folder / "straight")), "other weights than without the damage")
    return "warned, went on from the one before, same weights at the end"


def _all_damaged(folder: Path) -> str:
    data, output = _begun(folder)
    for path in output.glob("checkpoint_*.pt"):
        _halve(path)
    return refused(partial(train, data, output, resume=True), "no checkpoint can be read: .*checkpoint_3.*_2", folder)


def _other(options: Mapping[str, Any], folder: Path) -> str:
    data, output = _begun(folder)
    return refused(partial(train, data, output, resume=True, **options), "is of a run with", folder)


def _said(options: Mapping[str, Any], word: str, folder: Path) -> str:
    data, output = _begun(folder)
    log = folder / "log"
    _, status = os.waitpid(in_child(partial(train, data, output, resume=True, **{"epochs": 3, **options}), log), 0)
    said = [line for line in log.read_text(encoding="utf-8").splitlines() if "resume: the run was" in line]
    expect(status == 0 and bool(said) and word in said[0], f"status {status}, said {said}")
    return f"went on, said: {said[0].split('resume: ')[1].replace(f'{folder}/', '')}"


#: What a run may not go on with.
OTHERS: list[dict[str, Any]] = [
    {"label_value": 1},
    {"seed": 1},
    {"batch_size": 1},
    {"items_per_epoch": 8},
    {"stages": [{"stage": "joint", "length": 1}]},
    {"coarse_stage": {"lr_factor": 0.5}},
    {"pixdim": [2.0, 2.0, 2.0]},
    {"window": [-200, 300]},
    {"holdout": 0.4},
    {"weight_decay": 0.5},
]


def _no_number(folder: Path) -> str:
    data = data_set(folder)
    diverging = {"learning_rate": 1e30, "max_grad_norm": None}
    action = partial(train, data, folder / "out", **diverging)
    return refused(action, r"at iteration .* learning rates \S+, on axial slice .* of .*training_", folder)


def _skipped(folder: Path) -> str:
    """Every third iteration without a number: the others train, and are counted."""
    data, log = data_set(folder), folder / "log"
    broken = {"loss": {"_target_": "benchmarks.faults.training_runs.SometimesNaN", "slab": "@slab"}}
    action = partial(train, data, folder / "out", non_finite="skip", **broken)
    _, status = os.waitpid(in_child(action, log), 0)
    left_out = log.read_text(encoding="utf-8").count(": left out, ")  # not the stages that have no epoch
    finite = status == 0 and all(bool(torch.isfinite(x).all()) for x in state_of(folder / "out").values())
    expect(finite and left_out == 2, f"status {status}, {left_out} left out")
    return f"{left_out} of 8 iterations left out, named and counted; finite weights"


def _two_writers(folder: Path) -> str:
    data, output = data_set(folder), folder / "out"

    def hold() -> None:
        lock = FolderLock(output)
        lock.acquire()
        (folder / "held").touch()
        time.sleep(600)

    process = in_child(hold, folder / "log")
    try:
        while not (folder / "held").exists():
            time.sleep(0.05)
        refusal = partial(refused, partial(train, data, output), "another process writes to", folder)
        text, right = apart(refusal)  # not here, where a copy is made that trains
        expect(right, text)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    _succeed(data, output)
    return f"{text}; goes once the first is killed"


def _without_room(folder: Path) -> str:
    """Files may have 20 kB: what a disk that fills up does, without one."""
    data, output, log = data_set(folder), folder / "out", folder / "log"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        train(data, output)

    _, status = os.waitpid(in_child(limited, log), 0)
    last = log.read_text(encoding="utf-8", errors="replace")
    left = sorted(path.name for path in output.iterdir() if not path.name.startswith("events"))
    expect(status != 0 and "File too large" in last and f"{output}/" in last, last.strip().splitlines()[-1])
    # The settings are written when training begins, as what inference must know of the checkpoints; by the mark it may
    # begin again.
    expect(left == [".begun", "model.json"] and not _whole_files(output), f"left behind: {left}")
    return "named the file and why, left none"


def _leftovers(folder: Path) -> str:
    data, output = _begun(folder)
    ended = in_child(lambda: None, folder / "log")
    os.waitpid(ended, 0)
    for name in ("tmpab12cd34"[:11], f".{os.uname().nodename}-{ended}-1.checkpoint_4.pt", ".lock"):
        (output / name).write_bytes(b"half")
    (folder / f".{os.uname().nodename}-{ended}-1.data").mkdir()
    _succeed(data, output, resume=True, epochs=4)
    left = [path.name for path in (*output.iterdir(), *folder.iterdir()) if path.name.startswith((".", "tmp"))]
    expect(not left, f"left behind: {left}")
    return "removed"


class SometimesNaN(torch.nn.Module):
    """The training's loss, NaN at every third call."""

    def __init__(self, **options: Any) -> None:
        from c2f_monai.losses import RoundsLoss

        super().__init__()
        self.loss, self.calls = RoundsLoss(**options), 0

    @property
    def rounds(self) -> dict[str, torch.Tensor]:
        """Of the loss itself."""
        return self.loss.rounds

    def forward(self, pred: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss."""
        self.calls += 1
        return self.loss(pred, target) * (math.nan if self.calls % 3 == 0 else 1.0)


FAULTS = [
    Fault(PART, "kills at random times (SIGKILL, SIGTERM, SIGINT)", "bit for bit the same weights", _kills, KILLS),
    *(Fault(PART, name, "said, goes on from the one before", partial(_damaged, d)) for name, d in DAMAGES.items()),
    Fault(PART, "both checkpoints damaged", "refused, naming both", _all_damaged),
    *(
        Fault(PART, f"resume with {json.dumps(other)}", "refused, with both values", partial(_other, other))
        for other in OTHERS
    ),
    Fault(PART, "resume with another learning rate", "said", partial(_said, {"learning_rate": 0.001}, "learning_rate")),
    Fault(PART, "resume with more epochs", "said", partial(_said, {"epochs": 5}, "3 epochs, now 5")),
    Fault(PART, "learning rate 1e30", "stops with iteration, rates and slices", _no_number),
    Fault(PART, "a loss of NaN every third iteration, non_finite skip", "left out and counted", _skipped),
    Fault(PART, "a second process in the folder", "refused, until the first is killed", _two_writers),
    Fault(PART, "no room for a checkpoint", "names the file, leaves none", _without_room),
    Fault(PART, "what killed runs left", "removed by the next run", _leftovers),
]

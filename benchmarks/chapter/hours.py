# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``hours``: GPU hours and memory to expect of tables, from their networks' FLOPs and a measured throughput.

FLOPs are those of torch's FlopCounterMode, on shapes alone, forward and backward. The throughput is that of a loop over
single slabs padded by 100, which is how the published constants train; the backward pass is taken to be as fast. What
moves the weights in a step is added, reading of data is not: it goes on meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from monai.bundle import ConfigParser
from torch.utils.flop_counter import FlopCounterMode

from c2f_monai.apps.training_config import parse_option, read_training_config
from c2f_monai.handlers import change_stages
from c2f_monai.networks import FCN8s, SaliencyTransform, build_network
from c2f_monai.utils import View

from .parts import ROOT, ExperimentPart

__all__ = [
    "Cost",
    "Sizes",
    "Throughput",
    "add_arguments",
    "iteration_costs",
    "lines_of_hours",
    "part_seconds",
    "read_throughput",
]

#: Measured with ``benchmarks/gpu.py``.
MEASURED = ROOT / "docs" / "results" / "gpu" / "gpu.json"
#: Of the precision that PyTorch trains and tests with where nothing is set: convolutions may round to TF32.
PRECISION = "plain, tf32"
#: Bytes that a step moves for each weight, in float32: the backward pass writes the gradient; weight decay, momentum
#: and the step of SGD read two tensors and write one each.
STEP_BYTES = 4 * (1 + 3 * 3)
#: Bytes of a weight with its gradient and momentum.
WEIGHT_BYTES = 4 * 3
#: Seconds of starting a process and reading its data.
START = 60.0


@dataclass(frozen=True)
class Sizes:
    """What the networks see.

    Attributes:
        volume: voxels along R, A, S.
        box: voxels of the target's box.
        cases: tested cases of a fold.
    """

    volume: tuple[int, int, int]
    box: tuple[int, int, int]
    cases: int

    def slab(self, view: View, margin: int | None = None) -> tuple[int, int]:
        """Height and width of a whole slab, or of a crop with its margin."""
        if margin is None:
            return self._plane(self.volume, view)
        whole, box = self._plane(self.volume, view), self._plane(self.box, view)
        return (min(whole[0], box[0] + 2 * margin), min(whole[1], box[1] + 2 * margin))

    @staticmethod
    def _plane(size: Sequence[int], view: View) -> tuple[int, int]:
        first, second = (n for axis, n in enumerate(size) if axis != view.axis)
        return first, second


@dataclass(frozen=True)
class Throughput:
    """What a card was measured to do.

    Attributes:
        card: its name.
        whole: FLOP a second on whole slabs, one a call, padded by 100.
        crop: the same on crops.
        memory: bytes a second.
    """

    card: str
    whole: float
    crop: float
    memory: float


@dataclass(frozen=True)
class Cost:
    """Of some calls of a network.

    Attributes:
        whole: FLOP on whole slabs.
        crop: FLOP on crops.
        saved: bytes that are kept for the backward pass.
    """

    whole: float = 0.0
    crop: float = 0.0
    saved: int = 0

    def plus(self, other: Cost, times: float = 1) -> Cost:
        """This and several of another one."""
        return Cost(
            self.whole + times * other.whole, self.crop + times * other.crop, self.saved + round(times * other.saved)
        )

    def seconds(self, measured: Throughput) -> float:
        """At a measured throughput."""
        return self.whole / measured.whole + self.crop / measured.crop


def read_throughput(path: Path = MEASURED) -> Throughput:
    """Throughput of the loop of single padded slabs that ``benchmarks/gpu.py`` timed.

    Raises:
        OSError: When there is no such file.
        ValueError: When it does not hold the section.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        full, machine = content["full"], content["machine"]
        seconds, memory, card = full[PRECISION]["seconds"], machine["copy_gbyte_per_second"], machine["card"]["name"]
    except KeyError as error:
        raise ValueError(f"{path} has no {error}: write it with benchmarks/gpu.py --sections full.") from error
    low, high = zip(*full["box"], strict=True)
    sizes = Sizes(tuple(full["size"]), tuple(b - a for a, b in zip(low, high, strict=True)), 1)
    counted = _case_cost(_Counter(_published_network()), sizes, 20, 1)
    return Throughput(card, counted.whole / seconds["coarse"], counted.crop / seconds["round"], memory * 1e9)


def iteration_costs(parser: ConfigParser, sizes: Sizes) -> list[tuple[float, Cost]]:
    """Share of each stage of a training in its iterations, and what an iteration costs there."""
    stages = change_stages(
        parser.get_parsed_content("stages"),
        {kind: parser.get_parsed_content(f"{kind}_stage") for kind in ("coarse", "joint")},
    )
    counter, margin = _counter_of(parser), parser.get_parsed_content("margin")
    most, batch = int(parser.get_parsed_content("rounds")), int(parser.get_parsed_content("batch_size"))
    length = sum(float(stage["length"]) for stage in stages)
    found = []
    for stage in stages:
        coarse = 0 if stage["stage"] == "fine" else 1
        rounds = 0 if stage["stage"] == "coarse" else min(int(stage.get("rounds", most)), most)
        cost = Cost()
        for view in counter.views:
            cost = cost.plus(counter.call("coarse", view, sizes.slab(view), True), coarse)
            cost = cost.plus(counter.round(view, sizes, margin, True), rounds)
        found.append((float(stage["length"]) / length, Cost().plus(cost, batch)))
    return found


def part_seconds(part: ExperimentPart, sizes: Sizes, measured: Throughput) -> float:
    """Seconds of a part on the measured card."""
    if part.kind == "merge":
        return START
    parser = _config_of(part)
    if "patch" in parser:
        return START + _patch_seconds(parser, part.kind, sizes, measured)
    if part.kind == "evaluation":
        rounds = int(parser.get_parsed_content("max_rounds"))
        stages = len(part.needs)  # organ and neoplasm are two
        views = parser["validate#inferer#views"] if "validate" in parser else "@views"
        cost = _case_cost(_counter_of(parser, views), sizes, parser.get_parsed_content("margin"), rounds)
        return START + sizes.cases * stages * cost.seconds(measured)
    epochs, items, batch = (int(parser.get_parsed_content(key)) for key in ("epochs", "items_per_epoch", "batch_size"))
    iterations = epochs * math.ceil(items / batch)
    weights = sum(p.numel() for p in _network_of(parser).parameters() if p.requires_grad)
    step = STEP_BYTES * weights / measured.memory
    return START + iterations * sum(s * (c.seconds(measured) + step) for s, c in iteration_costs(parser, sizes))


def lines_of_hours(
    parts: Sequence[ExperimentPart], runs: int, sizes: Sizes, measured: Throughput, rounds: Sequence[int] = ()
) -> list[str]:
    """Hours of each part of one fold and seed, of all, and memory of a training by its rounds, as lines of text.

    Args:
        parts: of one fold and seed.
        runs: folds times seeds.
        sizes: what the networks see.
        measured: what the card does.
        rounds: T whose memory is told, of the first training that has rounds. Defaults to none.
    """
    lines = [
        f"{measured.card}, one slab a call, TF32: {measured.whole / 1e12:.0f} TFLOP/s on whole slabs, "
        f"{measured.crop / 1e12:.0f} on crops, {measured.memory / 1e9:.0f} GB/s",
        f"volumes of {_product(sizes.volume)} voxels, the target in a box of {_product(sizes.box)}, "
        f"{sizes.cases} tested cases a fold",
    ]
    total = 0.0
    for part in parts:
        seconds = part_seconds(part, sizes, measured)
        total += seconds
        if part.kind != "merge":
            lines.append(f"{seconds / 3600:7.2f} h  {part.name}")
    lines.append(f"{total / 3600:7.2f} h  one fold and seed; {runs} of them: {runs * total / 3600:.0f} GPU hours")
    disk = sum(map(_disk_bytes, parts))
    lines.append(f"{disk / 1e9:.0f} GB of disk for weights and two checkpoints of each training of one fold and seed")
    return lines + _memory_lines(parts, sizes, rounds)


def _disk_bytes(part: ExperimentPart) -> int:
    """Of what a part leaves: weights, those that stages keep, and two checkpoints, which hold SGD's momentum, too."""
    if part.kind != "training":
        return 0
    parser = _config_of(part)
    files = 1 + 2 * 2
    if "patch" not in parser:
        files += sum("keep_as" in stage for stage in parser.get_parsed_content("stages"))
    return 4 * files * sum(parameter.numel() for parameter in _network_of(parser).parameters())


def _memory_lines(parts: Sequence[ExperimentPart], sizes: Sizes, rounds: Sequence[int]) -> list[str]:
    for part in (part for part in parts if part.kind == "training"):
        parser = _config_of(part)
        if not rounds or parser["saliency_def"] is None or "patch" in parser:
            continue
        weights = WEIGHT_BYTES * sum(p.numel() for p in _network_of(parser).parameters())
        told = []
        for number in rounds:
            parser["rounds"] = number
            most = max(cost.saved for _, cost in iteration_costs(parser, sizes))
            told.append(f"T = {number}: {(weights + most) / 2**30:.0f}")
        return [f"GiB of {part.name.split('/')[1]} by --rounds, weights and activations: " + ", ".join(told)]
    return []


@dataclass
class _Counter:
    """Counts a network's calls on shapes alone.

    Args:
        network: on the device "meta".
        views: that are run.
    """

    network: Any
    views: Sequence[View] = tuple(View)
    known: dict[Any, Cost] = field(default_factory=dict)

    def round(self, view: View, sizes: Sizes, margin: int | None, backward: bool) -> Cost:
        """G on the whole slab and f_F on the crop."""
        cost = Cost()
        if self.network.has_saliency:
            found = self.call("saliency", view, sizes.slab(view), backward)
            cost = cost.plus(found)
        shape = sizes.slab(view, margin)
        return cost.plus(self.call("fine", view, shape, backward)) if self.network.has_fine else cost

    def call(self, part: str, view: View, shape: tuple[int, int], backward: bool) -> Cost:
        """One call on one slab, with its backward pass."""
        key = (part, shape, backward)
        if key not in self.known:
            channels = self.network.out_channels * self.network.out_slices if part == "saliency" else None
            x = torch.empty(1, channels or self.network.in_slices, *shape, device="meta", requires_grad=backward)
            own = self.network.views[view.value]
            # Not by the view: it sets a precision, which a device of shapes has not.
            run = own.saliency if part == "saliency" else partial(own, part=part)
            flop, saved = _count(run, x, backward)
            self.known[key] = Cost(0.0, flop, saved) if part == "fine" else Cost(flop, 0.0, saved)
        return self.known[key]


def _count(run: Any, x: torch.Tensor, backward: bool) -> tuple[float, int]:
    """FLOP of a call (torch's FlopCounterMode), and the bytes of the tensors that its backward pass keeps."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with (
        FlopCounterMode(display=False) as counter,
        torch.set_grad_enabled(backward),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        y = run(x)
        if backward:
            y.sum().backward()
    return float(counter.get_total_flops()), sum(storage.nbytes() for storage in kept.values())


def _case_cost(counter: _Counter, sizes: Sizes, margin: int | None, rounds: int) -> Cost:
    """The coarse stage and some rounds of one volume: all slices of each view, then those of the target's box."""
    cost = Cost()
    for view in counter.views:
        cost = cost.plus(counter.call("coarse", view, sizes.slab(view), False), sizes.volume[view.axis])
        cost = cost.plus(counter.round(view, sizes, margin, False), rounds * sizes.box[view.axis])
    return cost


def _patch_seconds(parser: ConfigParser, kind: str, sizes: Sizes, measured: Throughput) -> float:
    """Of a 3D network on patches."""
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    patch = parser.get_parsed_content("patch")
    x = torch.empty(1, 1, *patch, device="meta", requires_grad=True)
    flop = _count(network, x, kind == "training")[0]
    if kind == "evaluation":  # windows that overlap by half
        windows = math.prod(max(1, math.ceil(2 * n / p) - 1) for n, p in zip(sizes.volume, patch, strict=True))
        return sizes.cases * windows * flop / measured.crop
    # Each item gives two patches.
    epochs = int(parser.get_parsed_content("epochs"))
    return epochs * 3 * sizes.cases * 2 * flop / measured.crop  # three folds train


def _config_of(part: ExperimentPart) -> ConfigParser:
    """The configuration of a part's command."""
    words = list(part.command[3:])
    given: Mapping[str, str] = dict(zip(words[::2], words[1::2], strict=True))
    files = [str(ROOT / file) for file in ast.literal_eval(given["--config_file"])]
    parser = read_training_config(files, str(ROOT / "bundle"))
    for name, text in given.items():
        if name not in ("--config_file", "--bundle_root"):
            key, value = parse_option(f"{name.removeprefix('--')}={text}")
            parser[key] = None if value == "$None" else value
    return parser


_NETWORK_IDS = ("network_def", "fcn_def", "backbone_def", "coarse_def", "fine_def", "saliency_def", "classes", "views")
_NETWORKS: dict[str, Any] = {}
_COUNTERS: dict[tuple[str, str], _Counter] = {}


def _key_of(parser: ConfigParser) -> str:
    ids = (*_NETWORK_IDS, "in_slices", "out_slices", "coarse_downsample", "crop_multiple")
    return json.dumps({key: parser.get(key) for key in ids}, default=str)


def _network_of(parser: ConfigParser) -> Any:
    """The network of a configuration on the device "meta", once for all configurations that have the same."""
    key = _key_of(parser)
    if key not in _NETWORKS:
        with torch.device("meta"):
            made = parser.get_parsed_content("network_def")
            _NETWORKS[key] = made() if isinstance(made, partial) else made  # where a run has several of one kind
    return _NETWORKS[key]


def _counter_of(parser: ConfigParser, views: Any = "@views") -> _Counter:
    names = parser.get_parsed_content("views") if isinstance(views, str) else views
    key = (_key_of(parser), str(names))
    return _COUNTERS.setdefault(key, _Counter(_network_of(parser), [View(name) for name in names]))


def _published_network() -> Any:
    """RSTN of full size, padded by 100, as ``benchmarks/gpu.py`` times it."""
    fcn = partial(FCN8s, padding=100)
    with torch.device("meta"):
        return build_network(fcn, fcn, partial(SaliencyTransform, kernel_sizes=[3, 3])).eval()


def _product(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and the measurement."""
    parser.add_argument("--measured", type=Path, default=MEASURED, help="JSON of benchmarks/gpu.py (default: an H100)")
    size, box = "voxels of a volume along R, A, S", "voxels of the box around the target"
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 240], help=f"{size} (default: 512 512 240)")
    parser.add_argument("--box", type=int, nargs=3, default=[136, 136, 80], help=f"{box} (default: 136 136 80)")
    parser.add_argument("--cases", type=int, help="tested cases of a fold (default: those of the data set, or 21)")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything that is worth knowing about a CUDA GPU, in one run of minutes: answers, speed, memory.

It needs torch and MONAI with what these need, no data set and no network. Sections, the first matter most: the peaks of
the machine; masks against those of the CPU; the chapter's FCN-8s of full size on 512x512x300 against a plain loop (one
slab a call, padded by 100, float32; timed on a sample of slabs and scaled to all); the default model; CUDA graphs and
``torch.compile``; iterations of training; batches that are halved when memory is short. FCN-8s has random weights, and
boxes of the rounds are those of a given ellipsoid. JSON is written after every figure; a section that fails says why,
one that comes too late says "not run":

    python benchmarks/gpu.py --output gpu.json --seconds 110
    python benchmarks/gpu.py --output gpu.json --device cpu --small
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import logging
import signal
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser

from benchmarks.inference import Meter, Metered, Plain, ellipsoid, flops_of, synchronize
from benchmarks.slabs import slabs_of
from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.utils import (
    DEFAULT_WINDOW,
    SlabSpec,
    TrainingStage,
    atomic_write,
    dice_coefficient,
    read_state_dict,
    scale_to_unit,
)
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

ROOT = Path(__file__).resolve().parents[1]
#: Name: autocast dtype, and whether products of float32 may be rounded to TF32.
PRECISIONS: dict[str, tuple[str | None, bool]] = {
    "float32": (None, False),
    "tf32": (None, True),
    "bfloat16": ("bfloat16", True),
}
CHAPTER = {"card": "Titan X Pascal", "case_seconds": 78.0, "round_seconds": 12.0}
#: A section's share of all seconds; together more than 1, as most take less.
SHARES = {"machine": 0.1, "masks": 0.2, "full": 0.4, "default": 0.2, "graphs": 0.3, "training": 0.3, "memory": 0.2}
LAYOUTS: dict[str, Any] = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class OutOfTime(BaseException):
    """A section's time is up; no Exception, so that nothing on the way takes it for its own."""


@dataclass(frozen=True)
class Setting:
    """Where and how large.

    Attributes:
        device: the GPU, or the CPU to try the script.
        small: sizes that a processor runs in seconds.
        weights: file of the default model's weights; random ones where it is not there.
    """

    device: torch.device
    small: bool
    weights: Path

    def size(self, large: list[int], small: list[int]) -> list[int]:
        """One of two sizes."""
        return small if self.small else large


@dataclass
class Report:
    """The JSON file, written anew after every figure.

    Args:
        path: of the file.
        seconds: for all sections together.
    """

    path: Path
    seconds: float
    content: dict[str, Any] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def write(self) -> None:
        """The file as it stands."""
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")

    def section(self, name: str, run: Callable[[Setting, Section], None], setting: Setting) -> None:
        """Run a section in its time; what it found until it failed or its time was up is kept."""
        left = self.seconds - (time.perf_counter() - self.start)
        if left < 1:
            self.content[name] = {"state": "not run", "error": f"the {self.seconds:.0f} seconds are over"}
            self.write()
            return
        found = Section(self, self.content.setdefault(name, {"state": "running"}))
        limit, start = min(left, SHARES[name] * self.seconds), time.perf_counter()
        try:
            with time_limit(limit):
                run(setting, found)
            found.rows["state"] = "done"
        except OutOfTime:
            found.rows.update(state="stopped", error=f"stopped after {limit:.0f} seconds")
        except Exception as error:
            found.rows.update(state="failed", error=reason(error))
        found.note("section_seconds", time.perf_counter() - start)
        print(f"{name}: {found.rows['state']}, {found.rows['section_seconds']} s", file=sys.stderr, flush=True)
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass
class Section:
    """Figures of a section, by name."""

    report: Report
    rows: dict[str, Any]

    def note(self, name: str, value: Any) -> None:
        """Add a figure."""
        self.rows[name] = rounded(value)
        self.report.write()

    def attempt(self, name: str, run: Callable[[], Any]) -> None:
        """Add what a function gives, or its error: the figures after it are measured all the same."""
        try:
            self.note(name, run())
        except Exception as error:
            self.note(name, {"error": reason(error)})


def reason(error: Exception) -> str:
    """Kind, first line and place of an error."""
    lines = str(error).splitlines() or [""]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {lines[0][:300]} ({Path(place.filename).name}:{place.lineno})"


def rounded(value: Any) -> Any:
    """Numbers of four digits that count, in lists and dictionaries as well."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :py:class:`OutOfTime` in the block when its time is up."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether the GPU may round products of float32 to TF32."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, flag in zip(backends, before, strict=True):
            backend.allow_tf32 = flag


def seconds_of(run: Callable[[], Any], device: torch.device, repeats: int = 5, warm: int = 2) -> float:
    """Median seconds of a function, after some calls that are not counted."""
    taken = []
    for _ in range(warm + repeats):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[warm:])


def peak_gib(device: torch.device) -> float | None:
    """GiB that tensors have taken on the GPU at most since the last reset; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def reset_peak(device: torch.device) -> None:
    """Forget the most that tensors have taken."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


# What is measured: networks, volumes, inferers.


def read_config(names: list[str], **changes: Any) -> ConfigParser:
    """A configuration of the bundle with overlays and changed ids."""
    config = ConfigParser()
    config.read_config([str(ROOT / name) for name in names])
    config["bundle_root"] = str(ROOT / "bundle")
    config["package"] = None  # readers and engines, which are not needed here, may be absent
    for key, value in changes.items():
        config[key] = value
    return config


def train_config(setting: Setting, **changes: Any) -> ConfigParser:
    """The bundle's training; small: with smaller crops."""
    return read_config(["bundle/configs/train.json"], **({"min_size": 64} if setting.small else {}), **changes)


def full_network(setting: Setting, padding: str | int = "same", views: list[str] | None = None) -> CoarseToFineNet:
    """FCN-8s of the published size (small: of 4 channels) for both parts of each view, on the device."""
    names = ["bundle/configs/inference.json", "bundle/configs/three_views.json", "configs/network/fcn8s_full.json"]
    config = read_config(names, **({} if views is None else {"views": views}))
    config["backbone_def"].update(padding=padding, score_init="xavier")  # score layers of zeros answer 0.5 everywhere
    if setting.small:
        config["backbone_def"].update(width=4, fc_channels=8)
    torch.manual_seed(0)
    with setting.device:
        network = config.get_parsed_content("network_def")
    layout = torch.channels_last if padding == "same" else torch.contiguous_format
    return network.eval().to(setting.device, memory_format=layout)


def default_network(setting: Setting, layout: Any = torch.channels_last) -> CoarseToFineNet:
    """The bundle's network, with its weights where they are there."""
    torch.manual_seed(0)
    network = train_config(setting).get_parsed_content("network_def")
    if setting.weights.exists():
        network.load_state_dict(read_state_dict(setting.weights))
    return network.eval().to(setting.device, memory_format=layout)


def default_inferer(setting: Setting, **changes: Any) -> CoarseToFineInferer:
    """The bundle's inferer with changed attributes; the mask of every round is not kept."""
    inferer = train_config(setting).get_parsed_content("validate#inferer")
    for name, value in {"keep_rounds": False, **changes}.items():
        setattr(inferer, name, value)
    return inferer


def synthetic_ct(size: list[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 1, H, W, D) int16 HU, air, a noisy body and a brighter blob in it, and the blob's mask."""
    with device:
        truth = ellipsoid(size)
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
        body = (axes[0] / 0.9) ** 2 + (axes[1] / 0.7) ** 2 <= 1
        noise = torch.randn(size, generator=torch.Generator(device).manual_seed(0))
    noise = 60 * F.avg_pool3d(noise[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    tissue = 40 + 70 * truth[0, 0] + noise
    return torch.where(body, tissue, -1000.0).to(torch.int16)[None, None], truth


# Sections.


def machine(setting: Setting, found: Section) -> None:
    """What it is and what it can do at most."""
    device = setting.device
    found.note("cpu", describe_machine())
    found.note("versions", describe_versions())
    found.note("source", describe_source(ROOT))
    allowed_at_start = {"cudnn": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32}
    found.note("torch_allows_tf32", allowed_at_start)
    if device.type == "cuda":
        found.attempt("card", lambda: describe_card(device))
    n = 256 if setting.small else 8192
    for name, (amp, allowed) in PRECISIONS.items():
        a, b = torch.randn(2, n, n, device=device, dtype=torch.bfloat16 if amp else torch.float32)
        with tf32(allowed):
            found.note(f"tflops_{name}", 2 * n**3 / seconds_of(lambda a=a, b=b: a @ b, device) / 1e12)
    source = torch.randn(2**20 if setting.small else 2**28, device=device)
    target = torch.empty_like(source)
    taken = seconds_of(lambda: target.copy_(source), device)
    found.note("copy_gbyte_per_second", 2 * source.numel() * 4 / taken / 1e9)


def describe_card(device: torch.device) -> dict[str, Any]:
    """Name, driver and libraries of a GPU."""
    properties = torch.cuda.get_device_properties(device)
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        answer = reason(error)
    return {
        "name": properties.name,
        "capability": list(torch.cuda.get_device_capability(device)),
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": properties.total_memory / 2**30,
        "driver_clock_power": answer,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def taught(setting: Setting, volume: torch.Tensor, truth: torch.Tensor) -> CoarseToFineNet:
    """The default model after some steps on axial slices of a volume: it finds the blob, unsure of its border."""
    network = default_network(setting).train()
    image = scale_to_unit(volume[0, 0], DEFAULT_WINDOW).movedim(-1, 0)[:, None].to(setting.device)
    target = truth[0, 0].float().movedim(-1, 0)[:, None].to(setting.device)
    batch, (height, width) = setting.size([8], [4])[0], image.shape[2:]
    draws = slabs_of(batch, (height, width), SlabSpec.of(network), 1, setting.device)[2]
    trainer = Training(
        setting, network, "joint", 1, "tf32", ({}, {}, draws), learning_rate=4e-3 if setting.small else 1e-3
    )
    generator = torch.Generator().manual_seed(0)
    inside = target.flatten(1).any(dim=1).nonzero()[:, 0].cpu()
    # From random weights it takes longer.
    for _ in range(40 if setting.weights.exists() else 200):
        chosen = torch.randint(len(image), (batch,), generator=generator)
        chosen[: batch // 2] = inside[chosen[: batch // 2] % len(inside)]  # half of them show the blob
        chosen = chosen.to(setting.device)
        trainer.data = ({"axial": image[chosen]}, {"axial": target[chosen]}, draws)
        trainer.step()
    return network.eval()


def masks(setting: Setting, found: Section) -> None:
    """Masks of a network of the default form on the CPU in float32 and on the device in each precision."""
    size = setting.size([256, 256, 48], [64, 64, 12])
    volume, truth = synthetic_ct(size, torch.device("cpu"))
    network = taught(setting, volume, truth)
    found.note("size", size)
    expected = default_inferer(setting)(volume, copy.deepcopy(network).cpu())
    wanted = expected >= 0.5
    found.note("voxels", int(wanted.sum()))
    found.note("dsc_with_the_blob", dice_coefficient(wanted, truth))
    for name, (amp, allowed) in PRECISIONS.items():
        inferer = default_inferer(setting, amp_dtype=amp and torch.bfloat16)
        with tf32(allowed):
            answer = inferer(volume.to(setting.device), network).cpu()
        found.note(
            name,
            {
                "voxels_that_differ": int(((answer >= 0.5) != wanted).sum()),
                "dsc": dice_coefficient(answer >= 0.5, wanted),
                "largest_difference_of_probability": float((answer - expected).abs().max()),
            },
        )


def stage_flops(network: CoarseToFineNet, meter: Meter, rounds: int) -> dict[str, float]:
    """FLOP of the coarse stage and of one round."""
    coarse, fine = Meter(), Meter()
    for (part, shape), count in meter.calls.items():
        (coarse if part == "coarse" else fine).calls[part, shape] = count
    return {"coarse": flops_of(network, coarse), "round": flops_of(network, fine) / rounds}


@dataclass(frozen=True)
class Measured:
    """A network on a volume, whose rounds are those of a given mask's boxes."""

    network: CoarseToFineNet
    inferer: CoarseToFineInferer
    volume: torch.Tensor
    truth: torch.Tensor
    peaks: dict[str, Any]

    @property
    def rounds(self) -> int:
        return self.inferer.stopping.max_rounds

    def run(self, network: Any, precision: str, pixels: int) -> dict[str, float]:
        """Seconds of the case, of its coarse stage and of a round."""
        amp, allowed = PRECISIONS[precision]
        inferer = copy.copy(self.inferer)
        inferer.pixels_per_batch, inferer.amp_dtype = pixels, amp and torch.bfloat16  # type: ignore[assignment]
        reset_peak(self.volume.device)
        with tf32(allowed):
            start = time.perf_counter()
            inferer(self.volume, network, label=self.truth)
            synchronize(self.volume.device)
            wall = time.perf_counter() - start
        coarse, *rounds = [entry.seconds for entry in inferer.records[0].rounds]
        return {"case": wall, "coarse": coarse, "round": statistics.median(rounds)}

    def flops(self, pixels: int) -> dict[str, float]:
        """FLOP of the stages; the calls are counted in bfloat16, which also warms the device up."""
        metered = Metered(self.network, Meter()).eval()
        self.run(metered, "bfloat16", pixels)
        return stage_flops(self.network, metered.meter, self.rounds)

    def figures(self, precision: str, pixels: int, flops: dict[str, float], warm: bool = True) -> dict[str, Any]:
        """Seconds, rates, share of the peak of a large product, and memory, after a run that does not count."""
        if warm:
            self.run(self.network, precision, pixels)
        seconds = self.run(self.network, precision, pixels)
        rates = {stage: flops[stage] / seconds[stage] / 1e12 for stage in flops}
        peak = self.peaks.get(f"tflops_{precision}")
        return {
            "seconds": seconds,
            "tflops": rates,
            "share_of_peak": None if peak is None else {stage: rate / peak for stage, rate in rates.items()},
            "peak_gib": peak_gib(self.volume.device),
        }


def full(setting: Setting, found: Section) -> None:
    """The chapter's network and size against the plain loop on the same card."""
    size = setting.size([512, 512, 300], [32, 32, 16])
    found.note("size", size)
    found.note("chapter", CHAPTER)
    volume, truth = synthetic_ct(size, setting.device)
    found.note("box", [[int(i.min()), int(i.max()) + 1] for i in torch.where(truth[0, 0].cpu())])
    network = full_network(setting)
    inferer = CoarseToFineInferer(margin=20, window=DEFAULT_WINDOW, stopping=StopRule(None, 2))
    measured = Measured(network, inferer, volume, truth, found.report.content["machine"])
    flops = measured.flops(2**20)
    found.note("tflop", {stage: flop / 1e12 for stage, flop in flops.items()})

    def measure(precision: str, pixels: int, warm: bool) -> None:
        name = f"{precision}, {pixels // 2**18} slabs of 512x512"
        found.attempt(name, lambda: measured.figures(precision, pixels, flops, warm))

    measure("bfloat16", 2**20, False)  # warm from counting
    measure("tf32", 2**20, True)
    measure("float32", 2**20, False)  # seconds, beside which a first call is nothing
    plain(setting, found, volume, truth)
    measure("bfloat16", 2**23, True)
    measure("tf32", 2**23, True)
    compare(found)


def plain(setting: Setting, found: Section, volume: torch.Tensor, truth: torch.Tensor) -> None:
    """The loop of the published packages, with TF32 and without."""
    network = full_network(setting, padding=100)
    slabs = 2 if setting.small else 8
    image = scale_to_unit(volume, DEFAULT_WINDOW)
    found.note("plain_slabs_timed", f"{slabs} of each view and stage, scaled to all")
    with torch.no_grad():
        for name in ("float32", "tf32"):
            with tf32(PRECISIONS[name][1]):
                Plain(network, image, truth, 1).run(1)
                coarse, fine = Plain(network, image, truth, slabs).run(1)
            seconds = {"case": coarse + 2 * fine, "coarse": coarse, "round": fine}
            found.note(f"plain, {name}", {"seconds": seconds})


def compare(found: Section) -> None:
    """Ratios of the plain loop's seconds to ours."""
    seconds = found.rows["plain, float32"]["seconds"]
    ratios = {
        name: {stage: seconds[stage] / row["seconds"][stage] for stage in seconds}
        for name, row in found.rows.items()
        if isinstance(row, dict) and "tflops" in row
    }
    found.note("times_faster_than_plain_float32", ratios)


def default(setting: Setting, found: Section) -> None:
    """The model that users run, on a CT of clinical size on its own grid."""
    size = setting.size([512, 512, 300], [64, 64, 8])
    volume, truth = synthetic_ct(size, setting.device)
    network, inferer = default_network(setting), default_inferer(setting)
    found.note("size", size)
    found.note("weights", setting.weights.name if setting.weights.exists() else "random")
    found.note("seconds_to_fold_norms", seconds_of(network.for_inference, setting.device, 3, 1))  # once for a case
    measured = Measured(network, inferer, volume, truth, found.report.content["machine"])
    flops = measured.flops(2**20)
    found.note("tflop", {stage: flop / 1e12 for stage, flop in flops.items()})
    for precision in ("float32", "tf32", "bfloat16"):
        for pixels in (2**20, 2**23):
            name = f"{precision}, {pixels // 2**18} slabs of 512x512"
            found.attempt(name, lambda p=precision, n=pixels: measured.figures(p, n, flops))


def calls(setting: Setting) -> dict[str, tuple[CoarseToFineNet, str, torch.Tensor]]:
    """Network, part and input of typical calls of inference."""
    lite, fcn = default_network(setting), full_network(setting, views=["axial"])
    shapes = {
        "default, coarse": (lite, "coarse", setting.size([4, 1, 512, 512], [1, 1, 64, 64])),
        "default, fine": (lite, "fine", setting.size([16, 1, 192, 192], [1, 1, 64, 64])),
        "FCN-8s, coarse": (fcn, "coarse", setting.size([4, 3, 512, 512], [1, 3, 32, 32])),
    }
    return {
        name: (net, part, torch.rand(shape, device=setting.device).to(memory_format=torch.channels_last))
        for name, (net, part, shape) in shapes.items()
    }


def graphs(setting: Setting, found: Section) -> None:
    """One call, as it is, as a CUDA graph and compiled, in milliseconds."""
    device, cases = setting.device, calls(setting)
    eager: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for name, (network, part, x) in cases.items():
            for precision in ("tf32", "bfloat16"):
                amp, allowed = PRECISIONS[precision]
                prepared = network.for_inference(amp and torch.bfloat16)

                def call(
                    x: torch.Tensor = x, prepared: Any = prepared, part: str = part, amp: Any = amp
                ) -> torch.Tensor:
                    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=amp is not None):
                        return prepared(x, part, "axial")

                # The outer autocast keeps 16-bit weights, as in the inferer, also for the graph's replays.
                with tf32(allowed), torch.autocast(device.type, enabled=False):
                    taken = seconds_of(call, device, 10) * 1000
                    eager[name] = call().float()
                    found.note(f"{name}, {precision}", {"eager_ms": taken})
                    if device.type == "cuda":
                        found.attempt(f"{name}, {precision}, CUDA graph", lambda c=call: as_graph(c, device))
        found.attempt("fc6", lambda: fc6_ms(setting))
        # The last first: it compiles in a fraction of the others' time.
        for name, (network, part, x) in list(cases.items())[::-1][: 1 if setting.small else None]:
            found.attempt(
                f"{name}, bfloat16, compiled", lambda n=network, p=part, x=x, e=eager[name]: compiled(n, p, x, e)
            )


def fc6_ms(setting: Setting) -> dict[str, float]:
    """The largest layer of FCN-8s on four whole slices, as the package runs it and as a convolution."""
    layer: Any = full_network(setting, views=["axial"]).views["axial"].coarse.fc.fc6  # type: ignore[union-attr]
    x = torch.rand(4, layer.in_channels, 16, 16, device=setting.device).to(memory_format=torch.channels_last)
    taken = {}
    for name, (amp, allowed) in PRECISIONS.items():
        y = x.to(torch.bfloat16 if amp else torch.float32)
        kind = copy.deepcopy(layer).to(y.dtype)
        with tf32(allowed):
            taken[f"{name}, matrix_ms"] = seconds_of(partial(kind, y), setting.device) * 1000
            convolve = partial(kind._conv_forward, y, kind.weight, kind.bias)
            taken[f"{name}, convolution_ms"] = seconds_of(convolve, setting.device) * 1000
    return taken


def as_graph(call: Callable[[], torch.Tensor], device: torch.device) -> dict[str, Any]:
    """A call recorded once and replayed."""
    expected = call()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = call()
    taken = seconds_of(graph.replay, device, 10) * 1000
    return {"graph_ms": taken, "largest_difference": float((answer.float() - expected.float()).abs().max())}


def compiled(network: CoarseToFineNet, part: str, x: torch.Tensor, expected: torch.Tensor) -> dict[str, Any]:
    """A call of a compiled network; on the CPU only traced, which needs no compiler."""
    torch.compiler.reset()
    prepared = network.for_inference(torch.bfloat16)
    run = torch.compile(prepared, dynamic=False, backend="inductor" if x.device.type == "cuda" else "aot_eager")

    def call() -> torch.Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return run(x, part, "axial")

    # LiteUNet's blocks of MONAI break the graph, and each of them is compiled by itself.
    with torch.autocast(x.device.type, enabled=False), torch._dynamo.config.patch(recompile_limit=64):
        start = time.perf_counter()
        answer = call()
        synchronize(x.device)
        first = time.perf_counter() - start
        taken = seconds_of(call, x.device, 10) * 1000
    difference = float((answer.float() - expected).abs().max())
    return {"compiled_ms": taken, "compile_seconds": first, "largest_difference": difference}


def training(setting: Setting, found: Section) -> None:
    """Iterations a second of the default recipe's network, forward, backward and step, and of FCN-8s of full size."""
    height, width = setting.size([480, 480], [64, 64])
    stages = {"coarse": ("coarse", 1), "joint, T = 1": ("joint", 1), "joint, T = 2": ("joint", 2)}
    found.note("slab", [height, width])
    for batch, layout, precision in itertools.product(
        setting.size([4, 16], [2]), list(LAYOUTS)[: 1 if setting.small else 2], ("tf32", "bfloat16")
    ):
        network = default_network(setting, LAYOUTS[layout]).train()
        for stage, (mode, rounds) in stages.items():
            data = slabs_of(batch, (height, width), SlabSpec.of(network), rounds, setting.device)
            run = Training(setting, network, mode, rounds, precision, data)
            found.attempt(f"default, {stage}, batch {batch}, {layout}, {precision}", run.figures)
    network = full_network(setting, views=["axial"]).train()
    height, width = setting.size([512, 512], [32, 32])
    for precision in ("tf32", "bfloat16"):
        data = slabs_of(1, (height, width), SlabSpec.of(network), 1, setting.device)
        run = Training(setting, network, "joint", 1, precision, data)
        found.attempt(f"FCN-8s, joint, T = 1, batch 1, {precision}", run.figures)


class Training:
    """Steps of a network on slabs, by the inferer and the loss of the bundle.

    Args:
        setting: where.
        network: it is changed.
        stage: of the inferer.
        rounds: T.
        precision: a key of ``PRECISIONS``.
        data: images, targets and draws by view; may be assigned between steps.
        learning_rate: of AdamW. Defaults to one that changes next to nothing.
    """

    def __init__(
        self,
        setting: Setting,
        network: CoarseToFineNet,
        stage: str,
        rounds: int,
        precision: str,
        data: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
        learning_rate: float = 1e-6,
    ) -> None:
        self.setting, self.network, self.precision, self.data = setting, network, precision, data
        amp, slab = PRECISIONS[precision][0], SlabSpec.of(network)
        ids = {"rounds": rounds, "train_amp_dtype": amp, "in_slices": slab.in_slices, "out_slices": slab.out_slices}
        config = train_config(setting, **ids)
        self.inferer, self.loss = (config.get_parsed_content(key) for key in ("train#inferer", "loss"))
        self.inferer.stage = TrainingStage(stage)
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, fused=True)

    def step(self) -> None:
        """One iteration."""
        images, targets, draws = self.data
        self.optimizer.zero_grad()
        self.loss(self.inferer(images, self.network, targets, draws), targets).backward()
        self.optimizer.step()

    def figures(self) -> dict[str, Any]:
        """Iterations and slabs a second, and memory."""
        device, (repeats, warm) = self.setting.device, self.setting.size([4, 2], [1, 0])
        reset_peak(device)
        with tf32(PRECISIONS[self.precision][1]):
            taken = seconds_of(self.step, device, repeats, warm)
        count = len(self.data[0]["axial"])
        return {"iterations_per_second": 1 / taken, "slabs_per_second": count / taken, "peak_gib": peak_gib(device)}


class Tight(torch.nn.Module):
    """A network on a device whose memory is short: it refuses batches of more than two slabs."""

    def __init__(self, network: CoarseToFineNet) -> None:
        super().__init__()
        self.network = network
        for name in ("view_names", "out_channels", "slab", "has_coarse", "has_fine", "has_saliency", "saliency_reach"):
            setattr(self, name, getattr(network, name))

    def forward(self, x: torch.Tensor, part: str, view: str) -> torch.Tensor:
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("a batch of more than two slabs, refused to try the way out")
        return self.network(x, part, view)


class Warnings(logging.Handler):
    """Messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def memory(setting: Setting, found: Section) -> None:
    """A batch that does not fit: half of it, and so on, with the answer of small batches."""
    size, device = setting.size([512, 512, 64], [32, 32, 8]), setting.device
    volume, _ = synthetic_ct(size, device)
    network = full_network(setting, views=["axial"])
    pixels = size[0] * size[1]
    inferer = CoarseToFineInferer(window=DEFAULT_WINDOW, stopping=StopRule(None, 0), pixels_per_batch=2 * pixels)
    with tf32(False):
        expected = inferer(volume, network)
    inferer.pixels_per_batch = size[2] * pixels
    log, logger = Warnings(), logging.getLogger("c2f_monai.inferers.network_caller")
    logger.addHandler(log)
    try:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(device).total_memory
            allowed = torch.cuda.memory_reserved(device) + 3 * 2**30
            torch.cuda.set_per_process_memory_fraction(min(allowed / total, 1.0), device)
            found.note("gib_allowed", allowed / 2**30)
            with tf32(False):
                answer = inferer(volume, network)
        else:
            found.note("simulated", True)
            answer = inferer(volume, Tight(network).eval())
    finally:
        logger.removeHandler(log)
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, device)
    found.note("slabs_asked_for", size[2])
    found.note("messages", log.messages)
    found.note("largest_difference_of_probability", float((answer - expected).abs().max()))


SECTIONS: dict[str, Callable[[Setting, Section], None]] = {
    "machine": machine,
    "masks": masks,
    "full": full,
    "default": default,
    "graphs": graphs,
    "training": training,
    "memory": memory,
}


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="file to write (default: gpu.json)")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--small", action="store_true", help="sizes to try the script with, not to quote")
    parser.add_argument("--seconds", type=float, default=480.0, help="for all sections (default: 480)")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="default: all")
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "bundle" / "models" / "model.pt", help="default: bundle's"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: torch sees no CUDA GPU; --device cpu --small tries the script.")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    report = Report(args.output, args.seconds)
    report.content["command"] = " ".join(["benchmarks/gpu.py", *(sys.argv[1:] if arguments is None else arguments)])
    setting = Setting(device, args.small, args.weights)
    for name in dict.fromkeys(["machine", *args.sections]):
        report.section(name, SECTIONS[name], setting)
    report.content["seconds"] = rounded(time.perf_counter() - report.start)
    report.write()


if __name__ == "__main__":
    main()

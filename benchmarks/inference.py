# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Speed of inference: coarse stage and fine rounds on a synthetic volume, beside a plain loop over single slices.

The networks have random weights, so the boxes of the fine rounds are those of a given ellipsoid, as large as a pancreas
is. The plain loop is what the published packages do: one slab at a time, conv1_1 padded by 100, float32. It is timed on
slabs spread evenly over each view and stage, in turns with the variants, and scaled to all of them. Prints the
environment and the figures as JSON:

    python benchmarks/inference.py --network full --size 192 192 96
    python benchmarks/inference.py --network compact --size 256 256 128 --plain_slabs 0
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from monai.bundle import ConfigParser
from torch.utils.flop_counter import FlopCounterMode

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.inferers.patches import Patch, whole_bounds
from c2f_monai.inferers.views import slab_boxes
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import DEFAULT_SLAB, View, add_margins, default_slice_axes, extract_slabs, to_slices
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

VARIANTS = {
    "pad 100, float32": (100, None),
    "pad 100, bfloat16": (100, "bfloat16"),
    "pad same, float32": ("same", None),
    "pad same, bfloat16": ("same", "bfloat16"),
}
SHARE = 0.01  # of the volume: the ellipsoid that the boxes are taken around
MARGIN = 20


class Meter:
    """Time and shapes of the calls of a network's parts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: Counter[tuple[str, tuple[int, ...]]] = Counter()


class Metered(torch.nn.Module):
    """A coarse-to-fine network whose calls are timed."""

    def __init__(self, network: Any, meter: Meter) -> None:
        super().__init__()
        self.network, self.meter = network, meter
        for name in ("view_names", "out_channels", "slab", "has_coarse", "has_fine", "has_saliency", "saliency_reach"):
            setattr(self, name, getattr(network, name))

    def for_inference(self, amp_dtype: torch.dtype | None = None) -> Metered:
        """The inner network as it is run, timed by the same meter."""
        return Metered(self.network.for_inference(amp_dtype), self.meter).eval()

    def forward(self, x: torch.Tensor, part: str, view: str) -> torch.Tensor:
        synchronize(x.device)
        start = time.perf_counter()
        y = self.network(x, part, view)
        synchronize(x.device)
        self.meter.seconds += time.perf_counter() - start
        self.meter.calls[part, tuple(x.shape)] += 1
        return y


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_network(kind: str, padding: str | int, device: torch.device) -> CoarseToFineNet:
    """The compact network of the bundle, or FCN-8s of full size with one set of weights for all views and parts."""
    torch.manual_seed(0)
    if kind == "compact":
        config = ConfigParser()
        config.read_config([f"bundle/configs/{name}.json" for name in ("inference", "three_views")])
        network = config.get_parsed_content("network_def")
    else:
        part = FCN8s(padding=padding, score_init="xavier")
        network = CoarseToFineNet(lambda: part, lambda: part, partial(SaliencyTransform, kernel_sizes=(3, 3)))
    return network.eval().to(device, memory_format=torch.channels_last)


def ellipsoid(size: list[int]) -> torch.Tensor:
    """(1, 1, H, W, D) mask of ``SHARE`` of the volume at its center."""
    radius = (SHARE * 6 / 3.14159) ** (1 / 3)
    axes = [torch.linspace(-1, 1, n) / radius for n in size]
    return (sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij")) <= 1)[None, None]


def flops_of(network: CoarseToFineNet, meter: Meter) -> float:
    """FLOPs of the calls a meter has seen (torch's FlopCounterMode, on shapes alone)."""
    shapes = copy.deepcopy(network).to("meta")
    total = 0.0
    for (part, shape), count in meter.calls.items():
        view: Any = shapes.views[network.view_names[0]]
        # Not the coarse network itself: the view may shrink what it sees.
        run = view.saliency if part == "saliency" else partial(view, part=part)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run(torch.empty(shape, device="meta"))
        total += counter.get_total_flops() * count
    return total


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of a 3x3 convolution of 256 channels in channels_last: what the machine can do with this dtype."""
    x = torch.rand(8, 256, 64, 64, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    conv = torch.nn.Conv2d(256, 256, 3, padding=1, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    flops, best = 2 * 9 * 256 * 256 * 8 * 64 * 64, float("inf")
    with torch.no_grad():
        for _ in range(8):
            start = time.perf_counter()
            conv(x)
            synchronize(device)
            best = min(best, time.perf_counter() - start)
    return flops / best / 1e9


class Plain:
    """One slab at a time, padded by 100, float32: timed on some slabs of each view and stage, scaled to all."""

    def __init__(self, network: CoarseToFineNet, volume: torch.Tensor, truth: torch.Tensor, slabs: int) -> None:
        self.network, self.volume, self.slabs = network, volume[0, 0], slabs
        self.mask = Patch.trimmed(truth[0], whole_bounds(truth.shape[2:]))

    def stage(self, view: View, fine: bool) -> float:
        """Seconds of all slabs of one view's stage."""
        axes = default_slice_axes(view)
        slices = to_slices(self.volume, axes)
        size = (slices.shape[1], slices.shape[2])
        centers, boxes = torch.arange(len(slices)), torch.tensor([[0, 0, *size]]).expand(len(slices), -1)
        if fine:
            centers, boxes = slab_boxes(self.mask, axes, tuple(self.volume.shape), self.network.in_slices)
            boxes = add_margins(boxes, MARGIN, size)
        chosen = torch.linspace(0, len(centers) - 1, min(self.slabs, len(centers))).round().long()
        start = time.perf_counter()
        for i in chosen.tolist():
            slab = extract_slabs(slices, centers[i : i + 1], self.network.in_slices).contiguous()
            if fine:
                slab = slab * self.network(slab, "saliency", view.value)
            top, left, bottom, right = boxes[i].tolist()
            torch.sigmoid(self.network(slab[:, :, top:bottom, left:right], "fine" if fine else "coarse", view.value))
            synchronize(slab.device)
        return (time.perf_counter() - start) / len(chosen) * len(centers)

    def run(self, rounds: int) -> tuple[float, float]:
        """Seconds of the coarse stage and of all fine rounds."""
        coarse = sum(self.stage(view, False) for view in View)
        return coarse, rounds * sum(self.stage(view, True) for view in View) if rounds else 0.0


def timed(inferer: CoarseToFineInferer, volume: torch.Tensor, network: Metered, truth: torch.Tensor) -> dict[str, Any]:
    """One inference: seconds of the stages and of the network's calls."""
    network.meter.seconds, network.meter.calls = 0.0, Counter()
    start = time.perf_counter()
    inferer(volume, network, label=truth)
    wall = time.perf_counter() - start
    rounds = [entry.seconds for entry in inferer.records[0].rounds]
    return {"wall": wall, "coarse": rounds[0], "rounds": rounds[1:], "network": network.meter.seconds}


def summary(values: list[float]) -> dict[str, float]:
    """Median and spread of some repetitions."""
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def report(runs: list[dict[str, Any]], network: Metered, best: float, plain: list[float]) -> dict[str, Any]:
    """Figures of one variant."""
    flops = flops_of(network.network, network.meter)
    rates = [flops / run["network"] / 1e9 for run in runs]
    found = {
        "seconds": summary([run["wall"] for run in runs]),
        "coarse_seconds": summary([run["coarse"] for run in runs]),
        "round_seconds": summary([seconds for run in runs for seconds in run["rounds"]]) if runs[0]["rounds"] else None,
        "network_share": summary([run["network"] / run["wall"] for run in runs]),
        "tflop": round(flops / 1e12, 3),
        "gflop_per_second": summary(rates),
        "peak_gflop_per_second": round(best, 1),
        "share_of_peak": summary([rate / best for rate in rates]),
    }
    if plain:
        found["times_faster_than_plain"] = round(statistics.median(plain) / found["seconds"]["median"], 2)
    return found


def ladder(size: list[int], repeats: int, device: torch.device) -> dict[str, float]:
    """Milliseconds for a whole axial slab of FCN-8s of full size, one change after the other."""
    same, padded = (FCN8s(padding=padding, score_init="xavier").eval().to(device) for padding in ("same", 100))
    steps: list[tuple[str, Callable[[torch.Tensor], torch.Tensor], int, bool, bool]] = [
        ("plain: pad 100, one slab, float32", padded, 1, False, False),
        ("pad same", same, 1, False, False),
        ("and 8 slabs at once", same, 8, False, False),
        ("and channels_last", same, 8, True, False),
        ("and bfloat16", same, 8, True, True),
    ]
    found = {}
    for name, network, batch, last, half in steps:
        layout = torch.channels_last if last else torch.contiguous_format
        network.to(memory_format=layout)  # type: ignore[attr-defined]
        x = torch.rand(batch, DEFAULT_SLAB.in_slices, *size[:2], device=device).to(memory_format=layout)
        seconds = []
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for _ in range(repeats + 1):  # the first is not counted
                start = time.perf_counter()
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                    network(x)
                synchronize(device)
                seconds.append(time.perf_counter() - start)
        found[name] = round(statistics.median(seconds[1:]) / batch * 1000, 2)
    return found


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("compact", "full"), default="compact", help="default: compact")
    parser.add_argument("--size", type=int, nargs=3, default=[192, 192, 96], help="voxels (default: 192 192 96)")
    parser.add_argument("--rounds", type=int, default=3, help="fine rounds (default: 3)")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="default: all that the network has")
    parser.add_argument("--plain_slabs", type=int, default=3, help="of the plain loop for each view and stage; 0: none")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, in turns (default: 3)")
    parser.add_argument("--pixels_per_batch", type=int, default=1 << 20, help="default: 1048576")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--ladder", action="store_true", help="also time one slab, one change after the other")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    load, device = os.getloadavg()[0], torch.device(args.device)
    kinds = [name for name in VARIANTS if args.network == "full" or "same" in name]
    names = args.variants or kinds
    if unknown := [name for name in names if name not in kinds]:
        raise SystemExit(f"error: the {args.network} network has no variants {unknown}.")
    volume, truth = torch.rand(1, 1, *args.size), ellipsoid(args.size)
    networks = {p: make_network(args.network, p, device) for p in {VARIANTS[name][0] for name in names}}
    plain_network = make_network("full", 100, device) if args.plain_slabs and args.network == "full" else None
    if plain_network is not None:
        plain_network.to(memory_format=torch.contiguous_format)
    metered = {name: Metered(networks[VARIANTS[name][0]], Meter()).eval() for name in names}
    inferers = {
        name: CoarseToFineInferer(
            margin=MARGIN,
            crop_multiple=32 if args.network == "compact" else 16,
            stopping=StopRule(dice=None, max_rounds=args.rounds),
            pixels_per_batch=args.pixels_per_batch,
            amp_dtype=VARIANTS[name][1],
            device=device,
        )
        for name in names
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    plain: list[tuple[float, float]] = []
    peaks: dict[str, float] = dict.fromkeys(names, 0.0)
    with torch.no_grad():
        for _ in range(args.repeats):
            if plain_network is not None:
                plain.append(Plain(plain_network, volume.to(device), truth, args.plain_slabs).run(args.rounds))
            for name in names:
                peaks[name] = max(peaks[name], peak(torch.bfloat16 if VARIANTS[name][1] else torch.float32, device))
                runs[name].append(timed(inferers[name], volume, metered[name], truth))
    both = [sum(one) for one in plain]
    environment = {"threads": torch.get_num_threads(), "load_before": round(load, 2)}
    print(
        json.dumps(
            {
                "command": " ".join(sys.argv),
                "environment": {**describe_machine(), **environment, **describe_versions(), **describe_source()},
                "plain_seconds": {
                    "all": summary(both),
                    "coarse": summary([one[0] for one in plain]),
                    "rounds": summary([one[1] for one in plain]),
                }
                if plain
                else None,
                "variants": {name: report(runs[name], metered[name], peaks[name], both) for name in names},
                "ladder_ms_per_slab": ladder(args.size, args.repeats, device) if args.ladder else None,
                "peak_rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
                "peak_cuda_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()

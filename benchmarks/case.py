# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where each second of one case goes, from the file to the mask, and what another network's forward passes cost.

Writes a CT (default 512x512x300 of 0.75x0.75x1 mm: eight copies of a case of the phantom and noise, in air) as
int16 ``.nii.gz`` and segments it with each model, step by step: reading, checks, resampling, networks, what rounds do
beside them, the inverse of the resampling, writing. With ``--other`` a network of the shape of TotalSegmentator's model
of 3 mm (nnU-Net's plain 3D U-Net: 32 to 320 features, patches of 112x112x128, half overlapping, 118 outputs,
no mirroring), random weights, runs on the same volume at 3 mm in the same process: the passes of its windows alone.

Seconds of the processor (all threads) beside those of the clock, which other work on the machine stretches; medians:

    python benchmarks/case.py --repeats 3 --other --output docs/results/speed/case_512x512x300.json

``--ct FILE`` takes another CT in the place of the phantoms, resampled to so many voxels, such as one with an organ that
the model finds. ``--option ID=VALUE`` runs each model once more with this id, and compares the masks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch
from monai.inferers.utils import dense_patch_slices
from monai.networks.nets import DynUNet
from monai.transforms import Orientation
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inference import Meter, Metered, flops_of
from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.segmenter import Segmenter
from c2f_monai.apps.training_config import parse_option
from c2f_monai.data.phantom import generate_case
from c2f_monai.data.prefetch import collate_volumes
from c2f_monai.data.writers import write_nifti
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.utils import dice_coefficient
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

SPACING = (0.75, 0.75, 1.0)  # mm
STEPS = {"LoadVolumed": "reading", "SmoothForSpacingd": "resampling", "ResampleToSpacingd": "resampling"}
PATCH, FEATURES, OUTPUTS = (112, 112, 128), (32, 64, 128, 256, 320, 320), 118
STRIDES = ((1, 1, 1), *((2, 2, 2),) * 4, (1, 1, 2))


class Clock:
    """Seconds of the processor and of the clock by step."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu[name] += time.process_time() - cpu
        self.wall[name] += time.perf_counter() - wall


class CpuMetered(Metered):
    """A coarse-to-fine network whose calls go into a clock, too."""

    clock = Clock()

    def for_inference(self, amp_dtype: torch.dtype | None = None) -> Metered:
        prepare = getattr(self.network, "for_inference", None)  # graphs are prepared
        return CpuMetered(self.network if prepare is None else prepare(amp_dtype), self.meter).eval()

    def forward(self, x: torch.Tensor, part: str, view: str) -> torch.Tensor:
        with CpuMetered.clock.step("networks"):
            return super().forward(x, part, view)


def write_ct(path: Path, size: list[int]) -> None:
    """Eight copies of a case with noise, in the middle of air."""
    case = generate_case(0)
    read: Any = Orientation("RAS", labels=None)(MetaTensor(case.image[None], affine=torch.from_numpy(case.affine)))
    zoom = [own / new for own, new in zip(read.pixdim.tolist(), SPACING, strict=True)]
    copy = ndimage.zoom(np.asarray(read)[0].astype(np.float32), zoom, order=1)
    tiled = np.tile(copy, (2, 2, 2))
    tiled += np.random.default_rng(0).normal(0, 10, tiled.shape).astype(np.float32)
    volume = np.full(size, -1000, np.int16)
    inside = [min(n, m) for n, m in zip(size, tiled.shape, strict=True)]
    into = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(size, inside, strict=True))
    start = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(tiled.shape, inside, strict=True))
    volume[into] = np.rint(tiled[start]).astype(np.int16)
    nib.save(nib.Nifti1Image(volume, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])), path)


def resample_ct(given: Path, path: Path, size: list[int]) -> None:
    """A CT of a file on a grid of so many voxels with the same field of view."""
    image: Any = nib.load(given)
    values = np.asarray(image.dataobj, dtype=np.float32)
    zoom = [new / own for new, own in zip(size, values.shape, strict=True)]
    affine = image.affine @ np.diag([*(1 / factor for factor in zoom), 1.0])
    voxels = np.rint(ndimage.zoom(values, zoom, order=1, grid_mode=True, mode="nearest")).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def run_case(segmenter: Segmenter, path: Path, output: Path) -> tuple[Clock, Meter, Any]:
    """One case, each step timed; what ``segment`` does, without the reading that runs beside other cases."""
    clock, meter = Clock(), Meter()
    CpuMetered.clock = clock
    data: dict[str, Any] = {"image": str(path)}
    for transform in segmenter.preprocessing.transforms:
        with clock.step(STEPS.get(type(transform).__name__, "checks and orientation")):
            data = transform(data)
    data = collate_volumes([data])  # as the loader does, which the inverse goes by
    with clock.step("rounds beside the networks"):
        data["pred"] = segmenter.inferer(data["image"], CpuMetered(segmenter.network, meter).eval())
    for seconds in (clock.cpu, clock.wall):
        seconds["rounds beside the networks"] -= seconds["networks"]
    with clock.step("inverse of the resampling"):
        (case,) = decollate_batch(data)
        found = segmenter.invert(segmenter.near_mask(case))["pred"]
    with clock.step("writing the mask"):
        mask = segmenter.label_map({"pred": found})["pred"][0]
        write_nifti(output, mask.numpy(), np.asarray(mask.affine))
    return clock, meter, mask


def network_of(model: str, loaded: Iterable[Segmenter]) -> CoarseToFineNet:
    """The network whose FLOPs are counted: graphs do not tell theirs, so it is loaded where no engine runs it."""
    own = (each.network for each in loaded if each.name == model and each.engine == "torch")
    network = next(own, None) or Segmenter(model, device="cpu").network
    assert isinstance(network, CoarseToFineNet)
    return network


class Other:
    """The other network on the windows of the volume at 3 mm."""

    def __init__(self, size: list[int]) -> None:
        torch.manual_seed(0)
        kernels = [(3, 3, 3)] * len(FEATURES)
        self.network = DynUNet(
            3, 1, OUTPUTS, kernels, STRIDES, STRIDES[1:], filters=FEATURES, norm_name=("instance", {"affine": True})
        ).eval()
        grid = [round(n * step / 3) for n, step in zip(size, SPACING, strict=True)][::-1]  # slices first
        grid = [max(n, p) for n, p in zip(grid, PATCH, strict=True)]
        self.windows = len(dense_patch_slices(grid, PATCH, [p // 2 for p in PATCH]))
        with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
            self.network.to("meta")(torch.empty(1, 1, *PATCH))
        self.tflop = self.windows * counter.get_total_flops() / 1e12
        self.network.to_empty(device="cpu")
        for parameter in self.network.parameters():
            torch.nn.init.normal_(parameter, std=0.02)

    @torch.no_grad()
    def run(self) -> Clock:
        clock = Clock()
        x = torch.randn(1, 1, *PATCH)
        with clock.step("networks"):
            for _ in range(self.windows):
                self.network(x)
        return clock


def medians(clocks: list[Clock], kind: str) -> dict[str, float]:
    """Median seconds of each step, and of all together."""
    rows = [getattr(clock, kind) for clock in clocks]
    steps = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    return {**steps, "all": round(statistics.median(sum(row.values()) for row in rows), 2)}


def table(figures: dict[str, Any]) -> str:
    """Markdown: a row for each step, CPU and wall seconds of each model."""
    models = list(figures)
    rows = [f"| CPU s (wall s) | {' | '.join(models)} |", "|---" * (len(models) + 1) + "|"]
    for step in next(iter(figures.values()))["cpu_seconds"]:
        cells = [
            f"{figures[m]['cpu_seconds'].get(step, 0):.2f} ({figures[m]['seconds'].get(step, 0):.2f})" for m in models
        ]
        rows.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(rows)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    path = folder / "ct.nii.gz"
    if args.ct is None:
        write_ct(path, args.size)
    else:
        resample_ct(args.ct, path, args.size)
    variants = {"": {}} | {f", {text}": dict([parse_option(text)]) for text in args.option}
    segmenters = {
        (f"{model}, {engine}{suffix}", model): Segmenter(
            model, device="cpu", fast=args.fast, engine=engine, options=options
        )
        for model in args.models
        for engine in args.engines
        for suffix, options in variants.items()
    }
    networks = {model: network_of(model, segmenters.values()) for model in args.models}
    other = Other(args.size) if args.other else None
    clocks: dict[str, list[Clock]] = defaultdict(list)
    figures: dict[str, Any] = {}
    masks: dict[str, Any] = {}  # of each model's first engine
    for _ in range(args.repeats):
        for (name, model), segmenter in segmenters.items():
            clock, meter, mask = run_case(segmenter, path, folder / "mask.nii.gz")
            clocks[name].append(clock)
            rounds = segmenter.inferer.records[0].fine_rounds
            tflop = round(flops_of(networks[model], meter) / 1e12, 3)
            figures[name] = {"rounds": rounds, "voxels": int((mask > 0).sum()), "tflop": tflop}
            first = masks.setdefault(model, mask)
            figures[name]["voxels_that_differ"] = int((mask != first).sum())
            figures[name]["dsc"] = round(dice_coefficient(mask > 0, first > 0), 4)
        if other is not None:
            clocks["other"].append(other.run())
    for name, figure in figures.items():
        figure |= {"cpu_seconds": medians(clocks[name], "cpu"), "seconds": medians(clocks[name], "wall")}
        cpu = figure["cpu_seconds"]
        apart = cpu["reading"] + cpu["resampling"] + cpu["inverse of the resampling"]
        figure["share_of_reading_and_resampling"] = round(apart / cpu["all"], 3)
    result: dict[str, Any] = {"file_mb": round(path.stat().st_size / 1e6, 1), "models": figures}
    if other is not None:
        cpu = medians(clocks["other"], "cpu")["networks"]
        result["other"] = {
            "windows": other.windows,
            "parameters": sum(parameter.numel() for parameter in other.network.parameters()),
            "tflop": round(other.tflop, 3),
            "cpu_seconds": cpu,
            "seconds": medians(clocks["other"], "wall")["networks"],
            "whole_case_over_it": {n: round(f["cpu_seconds"]["all"] / cpu, 3) for n, f in figures.items()},
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 300], help="voxels (default: 512 512 300)")
    parser.add_argument("--ct", type=Path, help="a CT that is resampled to this size (default: the phantoms in air)")
    parser.add_argument("--models", nargs="+", default=["pancreas", "phantom-rstn"], help="default: both of the bundle")
    parser.add_argument("--engines", nargs="+", default=["torch"], help="torch, onnx (default: torch)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="in turns (default: 3)")
    parser.add_argument("--fast", action="store_true", help="bfloat16 where the processor has it")
    add_option(parser, "beside each, the same with this")
    parser.add_argument("--other", action="store_true", help="run the network of the other tool's shape beside them")
    parser.add_argument("--output", type=Path, help="JSON file (default: print it)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    environment: dict[str, Any] = {"threads": args.threads, "load_before": round(os.getloadavg()[0], 2)}
    environment |= {"cpu_capability": torch.backends.cpu.get_cpu_capability()}
    environment |= {**describe_machine(), **describe_versions(), **describe_source()}
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, Path(folder))
    text = json.dumps({"command": " ".join(sys.argv), "environment": environment, **figures}, indent=1)
    if args.output is None:
        print(text)
    else:
        args.output.write_text(text + "\n", encoding="utf-8")
    print(table(figures["models"]))


if __name__ == "__main__":
    main()

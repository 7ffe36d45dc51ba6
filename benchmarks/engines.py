# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The networks of the bundle's models by torch (channels_last, and not), ONNX Runtime and, where installed, OpenVINO.

Each call is timed in turns, in seconds of the processor, and the least of five counts: with one thread, the default,
neither waiting threads nor what else the machine does is in it. Prints milliseconds a slab, how many times faster than
torch in channels_last, and the largest difference of a logit:

    python benchmarks/engines.py --output docs/results/speed/engines.json

A processor with AVX-512 as one without it, which shows in "convolution_gflop_per_second" and "cpu_capability":

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python benchmarks/engines.py
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from monai.utils import optional_import

from c2f_monai.apps.segmenter import Segmenter
from c2f_monai.networks import OnnxNetwork
from c2f_monai.networks.onnx_export import export_onnx
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

openvino, has_openvino = optional_import("openvino")
#: Slabs as the models' cases have them: whole slices and crops.
CALLS = {
    "pancreas": [("coarse", (4, 1, 512, 512)), ("fine", (4, 1, 192, 192))],
    "phantom-rstn": [("coarse", (8, 3, 192, 192)), ("fine", (16, 3, 64, 96))],
}
VIEW = "axial"

Call = Callable[[], torch.Tensor]


def best(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of the processor."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def convolution_rate(dtype: torch.dtype, repeats: int) -> float:
    """GFLOP/s of a 3x3 convolution of 128 channels."""
    x = torch.rand(1, 128, 96, 96).to(dtype=dtype, memory_format=torch.channels_last)
    weight = torch.rand(128, 128, 3, 3).to(dtype=dtype, memory_format=torch.channels_last)
    seconds = best(lambda: torch.nn.functional.conv2d(x, weight, padding=1), repeats + 1)
    return round(2 * 128 * 128 * 9 * 96 * 96 / seconds / 1e9, 1)


def by_openvino(graph: Path, x: torch.Tensor, threads: int) -> Call:
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(graph), "CPU", options).create_infer_request()
    return lambda: torch.from_numpy(request.infer({0: x.numpy()})[0].copy())


def engines_of(network: Any, folder: Path, part: str, x: torch.Tensor, threads: int, compiled: bool) -> dict[str, Call]:
    """What each engine does with one batch."""
    last = network.for_inference()
    first = copy.deepcopy(last).to(memory_format=torch.contiguous_format)
    graphs, x_last = OnnxNetwork(folder), x.contiguous(memory_format=torch.channels_last)
    found = {
        "torch": lambda: last(x_last, part, VIEW),
        "torch, contiguous": lambda: first(x, part, VIEW),
        "onnx": lambda: graphs(x, part, VIEW),
    }
    if compiled:
        # Layers of one class are compiled for each of their shapes; beyond the default of eight they run uncompiled.
        torch._dynamo.reset()
        torch._dynamo.config.recompile_limit = 100
        view = torch.compile(last.views[VIEW], dynamic=False)
        found["torch.compile"] = lambda: view(x_last, part)
    if has_openvino:
        found["openvino"] = by_openvino(folder / f"{VIEW}_{part}.onnx", x, threads)
    return found


@torch.no_grad()
def compare(model: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of a model: one for each engine and part."""
    network: Any = Segmenter(model, device="cpu").network
    rows = []
    with tempfile.TemporaryDirectory() as name:
        export_onnx(network, Path(name))
        for part, shape in CALLS[model]:
            x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
            calls = engines_of(network, Path(name), part, x, args.threads, args.compile)
            first: dict[str, float] = {}
            answers: dict[str, torch.Tensor] = {}
            for engine, call in calls.items():
                begun = time.perf_counter()
                answers[engine] = call()
                first[engine] = time.perf_counter() - begun
            seconds = dict.fromkeys(calls, float("inf"))
            for _ in range(args.repeats):
                for engine, call in calls.items():
                    seconds[engine] = min(seconds[engine], best(call, 1))
            for engine in calls:
                rows.append(
                    {
                        "model": model,
                        "part": part,
                        "shape": shape,
                        "engine": engine,
                        "ms_a_slab": round(seconds[engine] / shape[0] * 1e3, 2),
                        "times_faster": round(seconds["torch"] / seconds[engine], 2),
                        "difference": float(f"{float((answers[engine] - answers['torch']).abs().max()):.1e}"),
                        "first_call_seconds": round(first[engine], 2),
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CALLS), default=list(CALLS), help="default: both")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--output", type=Path, help="JSON file (default: print it)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {"command": " ".join(sys.argv), "threads": args.threads}
    result |= {"cpu_capability": torch.backends.cpu.get_cpu_capability()}
    result |= {**describe_machine(), **describe_versions(), **describe_source()}
    with torch.no_grad():
        result["convolution_gflop_per_second"] = {
            str(dtype).removeprefix("torch."): convolution_rate(dtype, args.repeats)
            for dtype in (torch.float32, torch.bfloat16)
        }
    result["rows"] = [row for model in args.models for row in compare(model, args)]
    text = json.dumps(result, indent=1)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")
    for row in result["rows"]:
        print("{model}, {part}, {engine}: {ms_a_slab} ms, {times_faster} times".format(**row))
    print(result["convolution_gflop_per_second"] if args.output is not None else text)


if __name__ == "__main__":
    main()

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the faults, prints a line for each and writes the table."""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.utils import atomic_write
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from . import configurations, folder_runs, inputs, training_data, training_runs, weight_files
from .fault import Fault, Seen, apart
from .tiny import phantom
from .tiny_inference import weights

__all__ = ["FAULTS", "build_parser", "main", "run_faults", "table_lines"]

ROOT = Path(__file__).resolve().parents[2]
TABLE = "docs/results/faults.md"
#: All faults, in the order of the table. A module of faults is one more line here.
FAULTS: list[Fault] = [
    *configurations.FAULTS,
    *inputs.FAULTS,
    *folder_runs.FAULTS,
    *training_data.FAULTS,
    *training_runs.FAULTS,
    *weight_files.FAULTS,
]

_TEMPORARY = re.compile(rf"{re.escape(tempfile.gettempdir())}/faults-\w+")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description="What is done with faults.")
    parts = sorted({fault.part for fault in FAULTS})
    parser.add_argument("--part", nargs="+", choices=parts, default=parts, help="sections of the table (default: all)")
    parser.add_argument("--match", default="", help="faults whose name holds this text (default: all)")
    parser.add_argument("--output", type=Path, help=f"the table (default: {TABLE}, where all are run)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the faults; 1 when one gave what it should not."""
    torch.set_num_threads(1)
    args = build_parser().parse_args(argv)
    chosen = [fault for fault in FAULTS if fault.part in args.part and args.match in fault.name]
    phantom()  # once, for all of the copies of this process
    weights()
    if any(fault in inputs.FAULTS for fault in chosen):
        inputs.night()
    seen = run_faults(chosen)
    wrong = [one for one in seen if not one.right]
    print(f"{sum(one.fault.count for one in seen)} faults in {len(seen)} rows, {len(wrong)} not as expected")
    output = args.output or (ROOT / TABLE if len(chosen) == len(FAULTS) else None)
    if output is not None:
        with atomic_write(output) as part:
            part.write_text("\n".join(table_lines(seen)) + "\n", encoding="utf-8")
        print(f"written: {output}")
    return 1 if wrong else 0


def run_faults(faults: Iterable[Fault]) -> list[Seen]:
    """Run faults, each in an empty folder and a process of its own, and print a line for each."""
    seen = []
    for fault in faults:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            text, right = apart(partial(fault.run, Path(folder).resolve()))
        seen.append(Seen(fault, text, right, time.perf_counter() - start))
        mark, seconds = "ok   " if right else "WRONG", seen[-1].seconds
        print(f"{mark} {fault.part}: {fault.name}: {text} ({seconds:.1f} s)", flush=True)
    return seen


def table_lines(seen: Sequence[Seen]) -> list[str]:
    """The table in Markdown, by part."""
    wrong = sum(not one.right for one in seen)
    machine, source = describe_machine(), describe_source(ROOT)
    versions = ", ".join(f"{name} {version}" for name, version in describe_versions().items())
    lines = [
        "# Faults",
        "",
        "What the product answers when something is wrong. `make faults` runs them all and writes this table.",
        "",
        f"{sum(one.fault.count for one in seen)} faults in {len(seen)} rows, {wrong} not as expected, "
        f"{sum(one.seconds for one in seen) / 60:.0f} minutes. Commit {str(source.get('commit', 'unknown'))[:8]}, "
        f"{machine['cpu']}, {versions}.",
    ]
    for part in dict.fromkeys(one.fault.part for one in seen):
        rows = [
            [_cell(one.fault.name), str(one.fault.count), _cell(one.fault.expected), _mark(one)]
            for one in seen
            if one.fault.part == part
        ]
        header = ("fault", "number", "expected", "seen")
        lines += ["", f"## {part[0].upper()}{part[1:]}", "", *markdown_table(header, rows)]
    return lines


def _mark(one: Seen) -> str:
    return _cell(one.text) if one.right else f"**not as expected**: {_cell(one.text)}"


def _cell(text: str) -> str:
    text = _TEMPORARY.sub("FOLDER", text)  # names of a run, by which tables would differ
    return text.replace("|", "\\|").replace("<", "&lt;")

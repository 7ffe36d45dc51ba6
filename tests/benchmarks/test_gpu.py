# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The script for a CUDA GPU, tried on the CPU."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import SECTIONS, SHARES, Report, Section, Setting, main, rounded, tf32

ROOT = Path(__file__).resolve().parents[2]


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    main(["--device", "cpu", "--small", "--output", str(path)])
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_section_is_done_and_its_numbers_are_finite(content: dict[str, Any]) -> None:
    assert list(SECTIONS) == list(SHARES)
    assert {name: content[name]["state"] for name in SECTIONS} == dict.fromkeys(SECTIONS, "done")
    assert '"error"' not in json.dumps(content)
    found = list(numbers(content))
    assert len(found) > 150
    assert all(math.isfinite(number) for number in found)


def test_the_masks_compared_are_of_something(content: dict[str, Any]) -> None:
    assert content["masks"]["voxels"] > 100
    assert content["masks"]["float32"]["voxels_that_differ"] == 0  # the CPU with itself
    assert content["masks"]["bfloat16"]["dsc"] > 0.8


def test_the_full_size_is_compared_with_the_plain_loop(content: dict[str, Any]) -> None:
    ratios = content["full"]["times_faster_than_plain_float32"]
    ours = content["full"]["float32, 4 slabs of 512x512"]["seconds"]["coarse"]
    theirs = content["full"]["plain, float32"]["seconds"]["coarse"]
    assert ratios["float32, 4 slabs of 512x512"]["coarse"] == pytest.approx(theirs / ours, rel=0.01)
    assert set(ratios) >= {"bfloat16, 32 slabs of 512x512", "tf32, 4 slabs of 512x512"}


def test_short_memory_halves_batches_and_keeps_the_answer(content: dict[str, Any]) -> None:
    assert len(content["memory"]["messages"]) == 2  # 8, 4, and 2 that fit
    assert content["memory"]["largest_difference_of_probability"] < 1e-6


def run_section(tmp_path: Path, run, seconds: float = 50.0) -> dict[str, Any]:
    report = Report(tmp_path / "gpu.json", seconds)
    report.section("machine", run, Setting(torch.device("cpu"), True, tmp_path))
    return json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["machine"]


def test_a_section_that_fails_keeps_its_figures_and_says_why(tmp_path: Path) -> None:
    def run(_: Setting, found: Section) -> None:
        found.note("first", 1.23456)
        found.attempt("second", lambda: 1 / 0)
        found.note("third", 3)
        raise RuntimeError("no such kernel\nmore")

    rows = run_section(tmp_path, run)
    assert (rows["first"], rows["third"], rows["state"]) == (1.235, 3, "failed")
    assert rows["second"]["error"].startswith("ZeroDivisionError: division by zero (test_gpu.py:")
    assert rows["error"].startswith("RuntimeError: no such kernel (test_gpu.py:")


def test_a_section_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    def run(_: Setting, found: Section) -> None:
        found.note("first", 1)
        found.attempt("second", lambda: time.sleep(60))

    rows = run_section(tmp_path, run, seconds=1.5)  # a tenth of it for the section
    assert (rows["first"], rows["state"]) == (1, "stopped")
    assert "second" not in rows


def test_what_comes_too_late_is_not_run(tmp_path: Path) -> None:
    assert run_section(tmp_path, lambda *_: None, seconds=0.5)["state"] == "not run"


def test_tf32_is_as_before_afterwards() -> None:
    before = torch.backends.cudnn.allow_tf32
    with tf32(not before):
        assert torch.backends.cudnn.allow_tf32 is not before
    assert torch.backends.cudnn.allow_tf32 is before


def test_numbers_have_four_digits() -> None:
    assert rounded({"a": [1.23456, 7], 2: (123456.0,), "b": "x"}) == {"a": [1.235, 7], "2": [123500.0], "b": "x"}


def test_it_needs_no_reader_of_images_and_no_engine() -> None:
    """A machine with a GPU may have torch and MONAI alone."""
    blocked = ("ignite", "itk", "matplotlib", "nibabel", "pydicom", "tensorboard")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import benchmarks.gpu as gpu; "
    code += "import torch; s = gpu.Setting(torch.device('cpu'), True, gpu.ROOT / 'none'); gpu.default_inferer(s); "
    code += "gpu.Training(s, gpu.full_network(s, views=['axial']), 'joint', 1, 'tf32', ({}, {}, {}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""GPU hours to expect: counted on shapes, divided by what a card was measured to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from benchmarks.chapter.command import main
from benchmarks.chapter.hours import START, Cost, Sizes, Throughput, _count, part_seconds, read_throughput
from benchmarks.chapter.parts import ROOT, ExperimentSettings, parts_of
from benchmarks.chapter.published import as_published
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from c2f_monai.utils import View

SIZES = Sizes((100, 80, 60), (30, 20, 10), 5)
CARD = Throughput("a card", 1e12, 1e11, 1e30)
SMALL = {"fcn_def#width": 2, "fcn_def#fc_channels": 4, "init_weights": "start.pt"}


def test_a_slab_lies_across_its_view_and_a_crop_in_the_image() -> None:
    assert [SIZES.slab(view) for view in View] == [(80, 60), (100, 60), (100, 80)]
    assert [SIZES.slab(view, 20) for view in View] == [(60, 50), (70, 50), (70, 60)]
    assert SIZES.slab(View.AXIAL, 40) == (100, 80)  # 30 + 80, cut at the border


def test_calls_are_counted_by_hand() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False, device="meta")
    x = torch.empty(1, 1, 8, 8, device="meta", requires_grad=True)
    forward = 2 * 9 * 2 * 64
    assert _count(conv, x, False) == (forward, 0)
    # Backward: the gradients of image and weights cost as much as the forward pass each; the image is kept.
    assert _count(conv, x, True) == (3 * forward, 4 * 64)
    cost = Cost(2e12, 3e11, 7).plus(Cost(1e12, 0.0, 1), 2)
    assert (cost.seconds(CARD), cost.saved) == (4.0 + 3.0, 9)


def test_the_throughput_is_counted_flops_by_measured_seconds(tmp_path: Path) -> None:
    found = read_throughput()
    # 512 slices of 512 x 300 in two views and 300 of 512 x 512, padded, in 5.983 s: between TF32's peak of 399 TFLOP/s
    # and a tenth of it. Crops, a call each, are slower.
    assert 40e12 < found.whole < 399e12 and found.crop < found.whole and found.memory == 2961e9
    content = json.loads((ROOT / "docs" / "results" / "gpu" / "gpu.json").read_text(encoding="utf-8"))
    content["full"]["plain, tf32"]["seconds"]["coarse"] *= 2
    (tmp_path / "slow.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_throughput(tmp_path / "slow.json").whole == pytest.approx(found.whole / 2)
    del content["full"]["plain, tf32"]
    (tmp_path / "none.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="none.json has no 'plain, tf32': write it with benchmarks/gpu.py"):
        read_throughput(tmp_path / "none.json")


def test_hours_follow_iterations_cases_and_rounds(tmp_path: Path) -> None:
    def seconds(name: str, sizes: Sizes = SIZES, **options: object) -> float:
        settings = ExperimentSettings(tmp_path, tmp_path / "out", published=True, options=SMALL | options)
        tables = as_published(build_tables(DEFAULT_ORGANS))
        parts = {part.name: part for part in parts_of([tables["methods"]], settings)}
        return part_seconds(parts[f"{name}/seed0"], sizes, CARD) - START

    whole = seconds("training/rstn")
    assert seconds("training/rstn", epochs=60) == pytest.approx(whole / 2)
    assert seconds("training/rstn", batch_size=2) == pytest.approx(whole)  # half as many of twice the slabs
    # The rounds come on top of the coarse network, all alike.
    two, three = (seconds("training/rstn", rounds=t) for t in (2, 3))
    assert three - two == pytest.approx(two - whole) and two > whole
    # Apart, each part costs what it costs in the one training, up to saliency and margins.
    coarse, fine = (seconds(f"training/stepwise_{part}") for part in ("coarse", "fine"))
    assert coarse / 80 < whole / 120 and fine > 0
    tested = seconds("evaluation/rstn_rounds")
    assert seconds("evaluation/rstn_rounds", Sizes(SIZES.volume, SIZES.box, 10)) == pytest.approx(2 * tested)
    assert seconds("training/unet3d") > 0


def test_the_command_prints_hours_and_memory_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["hours", "rounds", "--folds", "4", "--published", "--output", str(tmp_path), "--size", "64", "64", "32"]
    small = [word for key, value in SMALL.items() if key != "init_weights" for word in ("--option", f"{key}={value}")]
    assert main([*words, "--box", "16", "16", "8", *small]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NVIDIA H100 80GB HBM3, one slab a call, TF32:")
    assert lines[1] == "volumes of 64 x 64 x 32 voxels, the target in a box of 16 x 16 x 8, 21 tested cases a fold"
    hours = [float(line.split()[0]) for line in lines[2:-3]]
    total = re.fullmatch(r" *([\d.]+) h  one fold and seed; 4 of them: (\d+) GPU hours", lines[-3])
    assert total is not None and float(total[1]) == pytest.approx(sum(hours), abs=0.05)
    assert lines[-2] == "0 GB of disk for weights and two checkpoints of each training of one fold and seed"
    assert re.fullmatch(r"GiB of rstn by --rounds, .*: T = 1: \d+, .* T = 5: \d+", lines[-1])
    assert not list(tmp_path.iterdir())


def test_a_run_of_several_organs_takes_each_organ_s_time(tmp_path: Path) -> None:
    table = build_tables({"gallbladder": (5,), "pancreas": (1, 2)})["organs"]
    settings = ExperimentSettings(ROOT, tmp_path, cases=5, options={k: v for k, v in SMALL.items() if "fcn" in k})
    parts = {part.name: part for part in parts_of([table], settings)}
    one, both = (
        part_seconds(parts[f"evaluation/rstn_{name}/seed0"], SIZES, CARD) - START for name in ("rounds", "organs_alone")
    )
    assert both == pytest.approx(2 * one)

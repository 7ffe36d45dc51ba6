# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The recipes' commands for NIH Pancreas-CT run as they stand there, from a small download to the scores."""

from __future__ import annotations

import ast
import csv
import re
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from benchmarks.chapter.command import main as chapter
from c2f_monai.apps.cli import main as c2f
from c2f_monai.handlers import save_weights
from c2f_monai.networks import FCN8s
from c2f_monai.networks.weights import import_vgg16
from tests.bundle.overlays import ROOT
from tests.data.nih_download import write_case

#: One of each fold, and one more of the first.
NUMBERS = (1, 2, 21, 41, 62)
#: Two channels for 64 and 4096, slices with any target, and iterations by the handful.
SMALL: dict[str, Any] = {
    "fcn_def#width": 2,
    "fcn_def#fc_channels": 4,
    "min_pixels": 1,
    "items_per_epoch": 1,
    "epochs": 3,
    "max_rounds": 1,
}
IN_INFERENCE = ("fcn_def#width", "fcn_def#fc_channels", "max_rounds")


def commands() -> list[list[str]]:
    """Words of each command of the section, of the first fold, in order."""
    section = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("### NIH\n")[1].split("### MSD\n")[0]
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", section, re.DOTALL)).replace("\\\n", " ").splitlines()
    found = []
    for line in (line.strip().replace("$fold", "0") for line in lines):
        if line.startswith("python -m "):
            values = ("coarse", "fine") if "$part" in line else ("",)
            found += [shlex.split(line.replace("$part", value), comments=True)[2:] for value in values]
    return found


def value_of(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def run_bundle(words: list[str]) -> None:
    """``python -m monai.bundle run`` with a network that a processor trains in a second."""
    options = {key.removeprefix("--"): value_of(text) for key, text in zip(words[::2], words[1::2], strict=True)}
    infer = options["config_file"][0].endswith("inference.json")
    small = {key: value for key, value in SMALL.items() if not infer or key in IN_INFERENCE}
    small |= {"progress": False} if infer else {}
    kind = "infer" if infer else "train"
    flow = ConfigWorkflow(workflow_type=kind, meta_file=None, logging_file=False, **options | small)
    flow.initialize()
    flow.run()
    flow.finalize()


def small_start(path: Path) -> None:
    """VGG-16 of two channels in the place of the imported one."""
    state = torch.load(path, weights_only=True)
    assert state["views.axial.coarse.block5.conv5_3.weight"].shape == (512, 512, 3, 3)
    source = {
        f"features.{place}.{kind}": torch.randn(shape)
        for place, width, into in LAYERS
        for kind, shape in (("weight", (width // 32, 3 if into == 3 else into // 32, 3, 3)), ("bias", (width // 32,)))
    }
    views = ["sagittal", "coronal", "axial"]
    save_weights(import_vgg16(source, views, partial(FCN8s, width=2, fc_channels=4)), path)


#: Place, channels and channels of the input of VGG-16's convolutions.
LAYERS = [(0, 64, 3), (2, 64, 64), (5, 128, 64), (7, 128, 128), (10, 256, 128), (12, 256, 256), (14, 256, 256)]
LAYERS += [(17, 512, 256), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)]


def test_the_section_runs_from_the_download_to_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "bundle" / "configs", tmp_path / "bundle" / "configs")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for number in NUMBERS:
        write_case(tmp_path / "Pancreas-CT", number)
    torch.manual_seed(0)
    features = {f"features.{place}.weight": torch.randn(out, into, 3, 3) for place, out, into in LAYERS}
    torch.save(features | {f"features.{place}.bias": torch.zeros(out) for place, out, _ in LAYERS}, "vgg16.pth")
    given = [word for key, value in SMALL.items() for word in ("--option", f"{key}={value}")]
    done = []
    for module, command, *words in commands():
        done.append(f"{module} {command}")
        if module == "monai.bundle":
            run_bundle(words)
        elif module == "benchmarks.chapter":
            # Its parts are processes of their own: here they are planned, not run.
            assert chapter(["hours" if command == "hours" else "list", *words, *given]) == 0
        else:
            more = {"check": ["--measure", "0.2", *given], "score": ["--partial"]}.get(command, [])
            assert c2f([command, *words, *more]) == 0, capsys.readouterr().err
        if command == "import-weights":
            small_start(tmp_path / "start.pt")
    assert done == [
        "c2f_monai prepare",
        "c2f_monai import-weights",
        "c2f_monai check",
        "benchmarks.chapter hours",
        "benchmarks.chapter run",
        *["monai.bundle run"] * 4,
        "c2f_monai merge",
        "monai.bundle run",
        "c2f_monai score",
        "c2f_monai score",
    ]
    for method in ("rstn", "stepwise"):
        assert sorted(path.name for path in (tmp_path / "masks" / method / "fold0").glob("*.nii.gz")) == [
            f"pancreas_{number:04d}_seg.nii.gz" for number in (1, 2)
        ]
        rows = list(csv.DictReader((tmp_path / f"{method}.csv").open(encoding="utf-8")))
        assert [row["case"] for row in rows] == ["pancreas_0001", "pancreas_0002"]
    printed = capsys.readouterr().out
    assert "5 cases written" in printed and "training/stepwise_fine/fold3_seed0" in printed
    assert re.search(r"4 of them: \d+ GPU hours", printed)

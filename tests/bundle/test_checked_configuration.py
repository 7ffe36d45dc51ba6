# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``monai.bundle run`` looks at its configuration before anything else, and says what is wrong in one line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch

from c2f_monai.config import ConfigError
from c2f_monai.utils import root_cause
from tests.processes import run_python


def start(bundle_root: Path, files: list[str], folder: Path, **options: Any) -> None:
    """``monai.bundle run`` in this process, with nothing to run but the check."""
    configs = [str(bundle_root / "configs" / f"{name}.json") for name in files]
    options = {"output_dir": str(folder / "out"), **options}
    monai.bundle.run(config_file=configs, bundle_root=str(bundle_root), logging_file=False, **options)


@pytest.mark.parametrize(
    ("files", "options", "expected"),
    [
        (["inference"], {"ckpt": "mine.pt"}, "ckpt is no id .* ckpt_path"),
        (["inference", "three_views"], {"inputs": "x"}, "inputs is no id .* input"),
        (["inference"], {"epochs": 3}, "epochs has no effect"),
        (["train"], {"learning_rat": 0.1}, "learning_rate"),
        (["train"], {"train#trainer#max_epoch": 5}, "max_epochs"),
        (["train", "evaluate"], {"margn": 5, "views": "axial"}, "margin.*views must be a list"),
        (["train", "evaluate"], {"ckpt_path": "no.pt"}, "no weights at no.pt"),
        (["inference"], {"ckpt_path": 3.5}, "ckpt_path must be a path, got 3.5"),
        (["train"], {"init_weights": "no.pt"}, "no weights at no.pt"),
        (["train"], {"output_dir": __file__}, "output_dir .* is a file"),
        (["inference"], {"batch_size": None}, "batch_size has no effect"),
        (["train"], {"batch_size": None}, "batch_size must be a whole number"),
    ],
)
def test_mistakes_are_refused_before_anything_is_read(
    files: list[str], options: dict[str, Any], expected: str, bundle_root: Path, tmp_path: Path
) -> None:
    """The data that is named is not there: it has not been looked for."""
    with pytest.raises(RuntimeError) as raised:
        start(bundle_root, files, tmp_path, **{"dataset_dir": str(tmp_path / "nowhere"), **options})
    cause = root_cause(raised.value)
    assert isinstance(cause, ConfigError) and re.search(expected, str(cause)), str(cause)
    assert list(tmp_path.iterdir()) == []


def test_what_is_typed_is_what_is_run(bundle_root: Path, tmp_path: Path) -> None:
    """A None, which MONAI leaves out, and the words true and false, which it leaves texts."""
    seen: set[Any] = set()
    show = "$@seen.update([('pixdim', @pixdim), ('margin', @margin), ('overlays', @overlays), ('debug', @debug)])"
    typed = {"pixdim": None, "margin": None, "overlays": "false", "debug": "true"}
    start(bundle_root, ["inference"], tmp_path, run_id="show", show=show, seen=seen, **typed)
    assert seen == {("pixdim", None), ("margin", None), ("overlays", False), ("debug", True)}


@pytest.mark.parametrize(("debug", "lines"), [("false", 1), ("true", 20)])
def test_a_refused_file_of_weights_is_one_line_in_the_projects_words(
    debug: str, lines: int, project_root: Path, bundle_root: Path, tmp_path: Path
) -> None:
    """As torch says it, several lines that end in the advice to run the code in the file."""
    weights = tmp_path / "model.pt"
    torch.save({"model": torch.nn.Linear(1, 1)}, weights)
    command = ["-W", "ignore", "-m", "monai.bundle", "run", "--logging_file", "False"]
    command += ["--config_file", str(bundle_root / "configs" / "inference.json"), "--bundle_root", str(bundle_root)]
    command += ["--ckpt_path", str(weights), "--input", "nowhere", "--debug", debug]
    done = run_python(command, tmp_path, os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "cannot be read as weights" in line]
    assert told and "weights_only=False" not in told[-1]
    assert ("Traceback" in done.stderr) == (debug == "true") and len(done.stderr.splitlines()) >= lines
    if debug == "false":
        assert done.stderr.splitlines()[-1].startswith(f"error: {weights} cannot be read as weights")

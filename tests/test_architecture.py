# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What importing the package does; which room imports which is checked by ``make lint``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTHING_HEAVY = "import sys, c2f_monai; assert c2f_monai.__version__; assert not {'torch', 'monai'} & set(sys.modules)"
EVERY_MODULE = """
import importlib, os, pkgutil, sys
import torch, monai.bundle
def state():
    torch_state = torch.get_rng_state().tolist(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    return torch_state, sys.excepthook, list(sys.argv), list(sys.path)
before = state()
import c2f_monai
names = [info.name for info in pkgutil.walk_packages(c2f_monai.__path__, "c2f_monai.")]
assert len(names) > 50, names
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert before == state()
"""


def test_what_needs_no_package_runs_without_any(project_root: Path, tmp_path: Path) -> None:
    """As the CI runs it on the oldest and the newest Python."""
    command = [sys.executable, "-S", str(project_root / ".ci" / "without_torch.py")]  # -S: no installed packages
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "commands print their help" in done.stdout, done.stderr


@pytest.mark.parametrize("code", [NOTHING_HEAVY, EVERY_MODULE], ids=["the package", "every module"])
def test_importing_does_no_work(code: str, project_root: Path, tmp_path: Path) -> None:
    """Nothing is printed, written or set, and the package alone is read in a moment."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(project_root)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []

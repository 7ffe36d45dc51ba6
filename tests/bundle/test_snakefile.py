# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The example of an archive that Snakemake shares out; it skips where Snakemake is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.metrics.tables import read_cases
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_nifti

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
# As c2f, but the worker of the second share is killed the first time.
C2F = """#!/usr/bin/env bash
if [[ "$*" == *"--shard 2/2"* && ! -e lost ]]; then touch lost; kill -KILL $$; fi
exec {python} -m c2f_monai "$@"
"""


def test_the_cases_of_a_lost_worker_are_done_by_a_rerun(project_root: Path, tiny_weights: Path, tmp_path: Path) -> None:
    own = str(Path(sys.executable).parent)
    snakemake = shutil.which("snakemake", path=own) or shutil.which("snakemake") or pytest.skip("needs Snakemake")
    (tmp_path / "archive").mkdir()
    for number in range(4):
        write_nifti(tmp_path / "archive" / f"{number}.nii.gz", make_volume(seed=number), AFFINE)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY), encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "c2f").write_text(C2F.format(python=sys.executable), encoding="utf-8")
    (tmp_path / "bin" / "c2f").chmod(0o755)
    options = f"--model {tiny_weights} --config three_views.json --config tiny.json --device cpu"
    command = [snakemake, "--snakefile", str(project_root / "docs" / "examples" / "Snakefile"), "--cores", "1"]
    command += ["--config", "archive=archive", "masks=masks", "shares=2", f"options={options}"]
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    for status, done in ((1, set()), (0, {"0", "1", "2", "3"})):
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False)
        assert ended.returncode == status, ended.stderr[-2000:].decode()
        table = tmp_path / "masks" / "cases.csv"
        assert (set(read_cases(table)) if table.exists() else set()) == done

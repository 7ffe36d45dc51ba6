# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The scripts for Slurm: what they start, by programs in its place that print their arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PRINTS = '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n'
NODES = "#!/bin/sh\nprintf 'node7\\nnode8\\n'\n"
TRAIN = ["data", "runs/1", "--epochs", "3"]


def started(script: Path, words: list[str], tmp_path: Path, **variables: str) -> list[str]:
    """Words of what the script starts."""
    for name, text in (("c2f", PRINTS), ("srun", PRINTS), ("scontrol", NODES)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]), **variables}
    bash = shutil.which("bash") or pytest.skip("needs bash")
    command = [bash, str(script), *words]
    return subprocess.check_output(command, env=environment, cwd=tmp_path, encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, []),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "100"}, ["--shard", "7/100"]),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "1", "SHARES": "100"}, ["--shard", "7/100"]),
    ],
)
def test_a_task_of_the_array_is_a_share_and_the_job_after_it_all(
    variables: dict[str, str], share: list[str], project_root: Path, tmp_path: Path
) -> None:
    script = project_root / "docs" / "examples" / "shares.sh"
    words = started(script, ["my archive", "masks", "--fast"], tmp_path, SLURM_CPUS_PER_TASK="4", **variables)
    assert words == ["segment", "my archive", "masks", "--quiet", *share, "--fast"]


@pytest.mark.parametrize(
    ("variables", "processes", "overlays"),
    [({"SLURM_GPUS_ON_NODE": "4"}, 4, []), ({"PROCESSES": "2", "OVERLAYS": "a.json b.json"}, 2, ["a.json", "b.json"])],
)
def test_torchrun_starts_on_each_node_and_goes_on_where_there_is_a_checkpoint(
    variables: dict[str, str], processes: int, overlays: list[str], project_root: Path, tmp_path: Path
) -> None:
    script = project_root / "docs" / "examples" / "train.sh"
    slurm = {"SLURM_JOB_ID": "30012", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[7-8]"}
    slurm["SLURM_CPUS_PER_TASK"] = "16"
    new = started(script, TRAIN, tmp_path, **slurm, **variables)
    assert new[:4] == ["--cpus-per-task=16", "torchrun", "--nnodes=2", f"--nproc_per_node={processes}"]
    assert "--rdzv_endpoint=node7:20012" in new and new[-2:] == ["--epochs", "3"]
    files = ["bundle/configs/train.json", *overlays, "bundle/configs/multi_gpu_train.json"]
    assert new[new.index("--config_file") + 1] == "[" + ",".join(f"'{file}'" for file in files) + "]"
    assert "--resume" not in new
    (tmp_path / "runs" / "1").mkdir(parents=True)
    (tmp_path / "runs" / "1" / "checkpoint_3.pt").touch()
    again = started(script, TRAIN, tmp_path, **slurm, **variables)
    assert [word for word in again if word not in new] == ["--resume", "True"]

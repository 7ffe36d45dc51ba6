# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Running a part: in a process of its own, with a result that says how. Snakemake decides which runs when."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .part import ROOT, ExperimentPart

__all__ = ["estimates", "is_done", "run_part"]

# What the folder was made for, and the time of each run that led to its product: a training may go on several times.
_ARGUMENTS, _SECONDS = "arguments.json", "seconds.txt"
# A file that needs the standard library alone: its package would bring torch, seconds for each part.
_ENVIRONMENT = ROOT / "c2f_monai" / "utils" / "environment.py"


def is_done(part: ExperimentPart) -> bool:
    """Whether a part's result is there.

    Raises:
        ValueError: When the folder is that of another command.
    """
    known = part.folder / _ARGUMENTS
    if known.is_file() and json.loads(known.read_text(encoding="utf-8")) != list(part.command):
        raise ValueError(
            f"{part.folder} was made with other settings: choose another --output, or remove the folder "
            "and those of the parts that read it."
        )
    return part.result.is_file()


def estimates(parts: Sequence[ExperimentPart]) -> dict[str, float]:
    """Seconds of each part by name: measured where it is done, else scaled by what parts of its kind took."""
    taken = {
        part.name: json.loads(part.result.read_text(encoding="utf-8"))["seconds"] for part in parts if is_done(part)
    }
    ratios: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        if part.name in taken:
            ratios[part.kind].append(taken[part.name] / part.seconds)
    scale = {kind: sum(found) / len(found) for kind, found in ratios.items()}
    return {part.name: taken.get(part.name, part.seconds * scale.get(part.kind, 1.0)) for part in parts}


def run_part(part: ExperimentPart) -> None:
    """Run a part until it is complete; one that is done is left as it is.

    A training that its time limit ended goes on in the next process from its last epoch, as does one that was killed.

    Raises:
        ValueError: When the folder is that of another command, the command fails or leaves no product, or a training
            came to the end of no epoch.
    """
    if is_done(part):
        return
    part.folder.mkdir(parents=True, exist_ok=True)
    _write(part.folder / _ARGUMENTS, part.command)
    complete = part.resumes and part.product.is_file()  # killed after its last epoch
    while not complete:
        before = _checkpoints(part)
        _run_once(part, ["--resume", "True"] if part.resumes and before else [])
        complete = part.product.is_file()
        if not complete and (not part.resumes or _checkpoints(part) == before):
            what = "ended no epoch within its time: lower items_per_epoch"
            what = what if part.resumes else f"left no {part.product}"
            raise ValueError(f"{part.name} {what} (see {_log(part)}).")
    _write_result(part)


def _run_once(part: ExperimentPart, more: Sequence[str]) -> None:
    log = _log(part)
    began = time.monotonic()
    try:
        code = _execute([sys.executable, *part.command, *more], log)
    finally:  # also of a run that a signal ends: the next one goes on from its epochs
        with (part.folder / _SECONDS).open("a" if part.resumes else "w", encoding="utf-8") as file:
            file.write(f"{time.monotonic() - began:.3f}\n")
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ValueError(f"{part.name} failed (exit code {code}): {lines[-1]} (all of it: {log})")


def _execute(command: Sequence[str], log: Path) -> int:
    """Exit code of a command that runs in the project's folder and writes to the end of a log."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False
        ).returncode


def _log(part: ExperimentPart) -> Path:
    return part.folder / "log.txt"


def _checkpoints(part: ExperimentPart) -> list[str]:
    return sorted(path.name for path in part.folder.glob("checkpoint_*.pt"))


def _write_result(part: ExperimentPart) -> None:
    runs = part.folder / _SECONDS
    seconds = sum(map(float, runs.read_text(encoding="utf-8").split())) if runs.is_file() else 0.0
    described = runpy.run_path(str(_ENVIRONMENT))
    result = {
        "part": part.name,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "command": shlex.join(["python", *part.command]),
        "source": described["describe_source"](ROOT),
        "versions": described["describe_versions"](),
        "machine": described["describe_machine"](),
    }
    _write(part.result, result)


def _write(path: Path, content: Any) -> None:
    """Write JSON; the file appears whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    unfinished.replace(path)

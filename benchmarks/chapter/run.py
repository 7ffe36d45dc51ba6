# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Running parts: each once, in a process of its own, so that a killed experiment goes on where it was."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai.utils import optional_import
from tqdm.auto import tqdm

from c2f_monai.utils import atomic_write
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from .parts import ROOT, ExperimentPart

__all__ = ["estimates", "is_done", "run_part", "run_parts"]

fcntl, HAS_FCNTL = optional_import("fcntl")  # not on Windows

# What the folder was made for, and the time of each run that came to its end: a part may go on several times.
_ARGUMENTS, _SECONDS = "arguments.json", "seconds.txt"


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


def run_parts(parts: Sequence[ExperimentPart], minutes: float | None = None, jobs: int = 1) -> bool:
    """Run the parts that have no result, with a progress bar.

    Args:
        parts: in an order in which they can run.
        minutes: no part is started after so long; None for no limit. Defaults to None.
        jobs: parts that run at once; with several, each gets its share of the cores (unless OMP_NUM_THREADS is set),
            which small networks use better than many threads for one. Defaults to 1.

    Returns:
        Whether all are done.

    Raises:
        ValueError: For less than one job, or when a part fails; those that run beside it end first.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    began = time.monotonic()
    threads = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
    left = {part.name: part for part in parts if not is_done(part)}
    running: dict[Future[None], str] = {}
    with (
        tqdm(total=len(parts), initial=len(parts) - len(left), desc="parts", unit="part") as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        while left:
            if minutes is None or time.monotonic() - began <= 60 * minutes:
                for part in _ready(left, running.values())[: jobs - len(running)]:
                    running[pool.submit(run_part, part, threads)] = part.name
            if not running:
                return False
            bar.set_postfix_str(", ".join(running.values()))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                future.result()
                if is_done(left[name]):
                    del left[name]
                    bar.update()
    return True


def _ready(left: Mapping[str, ExperimentPart], running: Iterable[str]) -> list[ExperimentPart]:
    """Parts that do not run and wait for no other."""
    busy = set(running)
    return [part for name, part in left.items() if name not in busy and left.keys().isdisjoint(part.needs)]


def run_part(part: ExperimentPart, threads: int | None = None) -> None:
    """Run a part once; a training that the time limit ended before its last epoch is not done afterwards.

    Args:
        part: what is run.
        threads: of the part's process, where OMP_NUM_THREADS is not set; None leaves it to torch. Defaults to None.

    Raises:
        ValueError: When the command fails, leaves no product, or a training came to the end of no epoch, or when
            another process runs it.
    """
    part.folder.mkdir(parents=True, exist_ok=True)
    with _locked(part.folder) as locks:
        _run_locked(part, threads, locks)


@contextmanager
def _locked(folder: Path) -> Iterator[tuple[int, ...]]:
    """Descriptors of a lock that is free again when every process that holds them has ended, however it ended."""
    if not HAS_FCNTL:
        yield ()
        return
    with (folder / "lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process runs the part in {folder}: wait until it has ended.") from error
        yield (file.fileno(),)


def _run_locked(part: ExperimentPart, threads: int | None, locks: tuple[int, ...]) -> None:
    _write(part.folder / _ARGUMENTS, part.command)
    if part.resumes and part.product.is_file():  # killed after its last epoch
        return _write_result(part)
    before = _checkpoints(part)
    command = [sys.executable, *part.command, *(["--resume", "True"] if part.resumes and before else [])]
    log = part.folder / "log.txt"
    began = time.monotonic()
    code = _execute(command, log, threads, locks)
    seconds = time.monotonic() - began
    with (part.folder / _SECONDS).open("a", encoding="utf-8") as file:
        file.write(f"{seconds:.3f}\n")
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ValueError(f"{part.name} failed (exit code {code}): {lines[-1]} (all of it: {log})")
    if part.product.is_file():
        _write_result(part)
    elif not part.resumes or _checkpoints(part) == before:
        what = "ended no epoch within its time: lower items_per_epoch" if part.resumes else f"left no {part.product}"
        raise ValueError(f"{part.name} {what} (see {log}).")


def _execute(command: Sequence[str], log: Path, threads: int | None, locks: tuple[int, ...]) -> int:
    """Exit code of a command that runs in the project's folder and writes to the end of a log."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False, pass_fds=locks
        ).returncode


def _checkpoints(part: ExperimentPart) -> list[str]:
    return sorted(path.name for path in part.folder.glob("checkpoint_*.pt"))


def _write_result(part: ExperimentPart) -> None:
    runs = part.folder / _SECONDS
    seconds = sum(map(float, runs.read_text(encoding="utf-8").split())) if runs.is_file() else 0.0
    result = {
        "part": part.name,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "command": shlex.join(["python", *part.command]),
        "source": describe_source(ROOT),
        "versions": describe_versions(),
        "machine": describe_machine(),
    }
    _write(part.result, result)


def _write(path: Path, content: Any) -> None:
    with atomic_write(path) as file:
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")

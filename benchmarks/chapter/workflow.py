# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts as a plan that Snakemake carries out, with the rules of the Snakefile beside this module."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from c2f_monai.utils import atomic_write

from .part import ExperimentPart
from .run import is_done

__all__ = ["run_workflow", "snakemake_command", "write_plan"]

SNAKEFILE = Path(__file__).with_name("Snakefile")


def write_plan(
    parts: Sequence[ExperimentPart],
    output: Path,
    tables: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str = "",
    threads: int = 1,
) -> Path:
    """Write the configuration of the Snakefile: ``<output>/plans/<hash>.json``, the same file for the same plan.

    Args:
        parts: in an order in which they can run.
        output: folder of the experiment.
        tables: by name, the parts whose results a table is made of. Defaults to none: the parts are the goal.
        settings: of the command line, which tables are written with.
        command: that the tables say.
        threads: of a training or an evaluation. Defaults to 1.

    Raises:
        ValueError: When the folder of a part is that of another command.
    """
    for part in parts:
        is_done(part)
    read = {name for part in parts for name in part.needs}
    last = [f"{part.name}/result.json" for part in parts if part.name not in read]
    content: dict[str, Any] = {
        "targets": [f"tables/{name}/table.md" for name in tables] if tables else last,
        "tables": {name: list(names) for name, names in (tables or {}).items()},
        "settings": settings or {},
        "command": command,
        "threads": threads,
        "parts": {part.name: part.as_json() for part in parts},
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    path = output / "plans" / f"{digest[:12]}.json"
    with atomic_write(path) as file:
        file.write_text(json.dumps({"plan": str(path), **content}, indent=1), encoding="utf-8")
    return path


def snakemake_command(plan: Path, cores: int, further: Sequence[str] = ()) -> list[str]:
    """The command that carries out a plan.

    Args:
        plan: file of :func:`write_plan`.
        cores: that are used at once on this machine; jobs at once where an executor or a profile is given.
        further: arguments of Snakemake after these. Defaults to none.
    """
    elsewhere = any(word.split("=")[0] in ("--executor", "-e", "--profile") for word in further)
    files = ["--snakefile", str(SNAKEFILE), "--directory", str(plan.parents[1]), "--configfile", str(plan)]
    # Parts are made where their results are missing, never because a file is newer; tables always, as the same file
    # holds other folds and seeds.
    when = ["--rerun-triggers", "mtime", "--rerun-incomplete", "--forcerun", "tabulate"]
    # Not last, as it would take the files that are asked for by further words for things to be quiet about.
    quiet = ["--quiet", "host", "reason"]
    at_once = ["--jobs" if elsewhere else "--cores", str(cores)]
    return [sys.executable, "-m", "snakemake", *files, *when, *quiet, *at_once, *further]


def run_workflow(plan: Path, cores: int = 1, minutes: float | None = None, further: Sequence[str] = ()) -> bool:
    """Carry out a plan.

    Args:
        plan: file of :func:`write_plan`.
        cores: see :func:`snakemake_command`. Defaults to 1.
        minutes: no part is started after so long; None for no limit. Defaults to None.
        further: arguments of Snakemake. Defaults to none.

    Returns:
        Whether it came to its end, and not to that of its time.

    Raises:
        KeyboardInterrupt: When it is stopped by SIGINT or SIGTERM; its parts are stopped before.
        ValueError: Without Snakemake, or when a part fails.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise ValueError("experiments are run by Snakemake: pip install 'c2f-monai[experiments]' (Python >= 3.11).")
    command, in_time = snakemake_command(plan, cores, further), True
    with _interrupted_by(signal.SIGTERM), _start(command) as process:
        try:
            process.wait(None if minutes is None else 60 * minutes)
        except subprocess.TimeoutExpired:
            in_time = False
            process.terminate()  # after what runs now
            process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise
    if process.returncode != 0 and in_time:
        raise ValueError(
            f"Snakemake ended with exit code {process.returncode}, see above; a part writes to log.txt in its folder."
        )
    return process.returncode == 0


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process in a session of its own: Snakemake and all parts are stopped together, and by nothing else."""
    # A shell lets programs in the background ignore SIGINT, and what they start would, too.
    with _interrupted_by(signal.SIGINT):
        return subprocess.Popen(command, start_new_session=True)


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """A signal is answered by KeyboardInterrupt."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)

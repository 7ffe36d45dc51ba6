# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a number was measured with: machine, versions, state of the source."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine", "describe_source", "describe_versions"]

PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "pytorch-ignite")


def describe_machine() -> dict[str, str | int]:
    """Processor model, usable cores and architecture of this machine."""
    return {"cpu": _cpu_model(), "cores": _usable_cores(), "architecture": platform.machine()}


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def describe_source(folder: str | Path = ".") -> dict[str, str | bool]:
    """Git commit of a folder and whether files differ from it; empty outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "modified": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: str | Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    # A container or a task set may be allowed fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

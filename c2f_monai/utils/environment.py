# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The machine: what a number was measured with, and how the process takes memory from the system."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine", "describe_source", "describe_versions", "keep_freed_memory", "package_version"]

# Numbers of mallopt's parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
#: Variables that limit what instructions libraries of tensors use.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "pytorch-ignite")


def describe_machine() -> dict[str, str | int]:
    """Processor model, usable cores and architecture of this machine, and variables that limit its instructions.

    Examples:
        >>> monkeypatch = getfixture("monkeypatch")
        >>> monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        >>> describe_machine()["ONEDNN_MAX_CPU_ISA"]
        'AVX2'
    """
    limits = {name: os.environ[name] for name in LIMITS if name in os.environ}
    return {"cpu": _cpu_model(), "cores": _usable_cores(), "architecture": platform.machine(), **limits}


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def package_version() -> str:
    """Version of this package; by its module's name, as an import would go the wrong way."""
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def describe_source(folder: str | Path = ".") -> dict[str, str | bool]:
    """Git commit of a folder and whether files differ from it; empty outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "modified": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: str | Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    # A container or a task set may be allowed fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory(threshold: int = 2**30, pad: int = 2**26) -> bool:
    """Let glibc keep freed tensors for the next ones instead of handing their pages back to the system.

    A training step on the CPU frees and takes tensors of many megabytes hundreds of times; by default each of them is
    mapped, cleared page by page by the kernel, and unmapped again. The price is that the process keeps its peak. It is
    the option ``keep_freed_memory`` of the training's configuration; the environment variables
    ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_TOP_PAD_`` do the same from a process's start.

    Args:
        threshold: bytes of a block from which it is mapped on its own, and of free memory that is kept.
        pad: bytes that are taken beyond what is asked for.

    Returns:
        whether the C library took the settings; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, threshold), (M_TRIM_THRESHOLD, threshold), (M_TOP_PAD, pad))
    taken = [mallopt(key, value) for key, value in settings]  # each of them, also after one that was refused
    return taken == [1] * len(settings)

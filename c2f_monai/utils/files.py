# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write", "sha256_of"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Path beside ``path`` to write to, renamed into place at the end; after an error the old file is as it was.

    The suffix stays, since writers choose format and compression by it. The folder is made. What a process that was
    killed while it wrote the same file left beside it is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process's number is its own on one machine only: machines may share the folder.
    machine = f".{platform.node()}-"
    part = target.with_name(f"{machine}{os.getpid()}.{target.name}")
    for left in target.parent.glob(f"{glob.escape(machine)}*.{glob.escape(target.name)}"):
        number = left.name[len(machine) : -len(target.name) - 1]
        if number.isdigit() and not _is_running(int(number)):
            left.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; yes where the system does not tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

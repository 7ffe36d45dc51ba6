# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["written_whole"]


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Path beside ``path`` to write to, renamed into place at the end; after an error the old file is as it was.

    The suffix stays, since writers choose format and compression by it. The folder is made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process's number is its own on one machine only: machines may share the folder.
    part = target.with_name(f".{platform.node()}-{os.getpid()}.{target.name}")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)

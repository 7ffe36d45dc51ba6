# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders that are filled aside, and come to their place whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..utils import part_beside

__all__ = ["move_files", "staged"]


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Hidden folder to fill before :func:`move_files` takes what is in it; after an error nothing of it is left.

    It lies in the folder where there is one, since that may be a disk of its own, else beside it.

    Args:
        folder: where the files are to go, resolved: ``.`` has no name.
    """
    part = part_beside(folder / folder.name if folder.is_dir() else folder)
    part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def move_files(source: Path, folder: Path, outdated: Iterable[Path] = (), last: str = "") -> None:
    """Move the files of one folder into another, which may hold an earlier set of them.

    Args:
        source: with the new files.
        folder: where they go; made where there is none.
        outdated: files of the earlier set, which go where no new one takes their place.
        last: name of the file that says what the others are: until all is done it is the earlier one.
    """
    if not folder.exists():
        os.replace(source, folder)
        return
    names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    others = [name for name in names if name != Path(last)]
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, folder / name)
    for path in outdated:
        if path.relative_to(folder) not in names:
            path.unlink(missing_ok=True)
    if len(names) > len(others):
        os.replace(source / last, folder / last)

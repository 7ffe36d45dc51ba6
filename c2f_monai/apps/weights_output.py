# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a command may write weights of views, with settings beside them or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..utils import read_state_dict, settings_file, view_of

__all__ = ["check_output"]


def check_output(output: Path, given: Sequence[Path], purpose: str) -> None:
    """Refuse a place that is taken by something else than weights of views, or beside settings of others.

    Args:
        output: the file to write.
        given: files that are read.
        purpose: what they are read for, such as "merge".

    Raises:
        ValueError: naming the place, and what to give in its stead.
    """
    settings = settings_file(output)
    if output.resolve() in [path.resolve() for path in given]:
        raise ValueError(f"{output} is one of the files to {purpose}, which stay as they are: give another --output.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder: give a file as --output, such as {output / 'model.pt'}.")
    if output.suffix == ".json":
        raise ValueError(f"weights are a .pt file, with their settings as .json beside them, got --output {output}.")
    if settings.exists() and not output.exists():
        raise ValueError(f"{settings} is about other weights than {output}, which is new: move it, or rename --output.")
    if output.exists() and not _has_views(output):
        raise ValueError(f"{output} exists and holds no weights of views, which alone are replaced: rename --output.")


def _has_views(path: Path) -> bool:
    try:
        return all(view_of(key) is not None for key in read_state_dict(path))
    except ValueError:
        return False

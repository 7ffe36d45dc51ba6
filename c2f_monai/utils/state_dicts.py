# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights: read without running code from them, and compared name by name and shape by shape."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import torch

__all__ = ["check_weights_file", "describe_mismatch", "read_weights_file"]


def check_weights_file(path: str | os.PathLike[str]) -> None:
    """Ask for a file of weights before any long work starts.

    Raises:
        FileNotFoundError: When there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no weights at {path}: check the path, or train a model first.")


def read_weights_file(path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu") -> Any:
    """Content of a file that ``torch.save`` wrote, in the zip format or that of PyTorch before 1.6.

    Only tensors and plain containers are read (``weights_only``). Tensors of the zip format stay on disk until they are
    used.

    Args:
        path: the file.
        map_location: device the tensors are read to.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it holds anything else.
    """
    check_weights_file(path)
    try:
        return torch.load(os.fspath(path), map_location, weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(f"{path} cannot be read as weights: {(str(error).splitlines() or ['?'])[0]}") from error


def describe_mismatch(
    expected: Mapping[str, torch.Size | tuple[int, ...]], found: Mapping[str, torch.Tensor], limit: int = 3
) -> str:
    """What differs between a network's tensors and a file's, empty when all names and shapes agree.

    Args:
        expected: shapes by name.
        found: tensors by name.
        limit: names to list of each kind.

    Returns:
        such as "2 missing (a, b), 1 unexpected (c), 1 of another shape (d: 3x9, not 3x2)".
    """
    shapes = [
        f"{key}: {_by(found[key].shape)}, not {_by(shape)}"
        for key, shape in expected.items()
        if key in found and tuple(found[key].shape) != tuple(shape)
    ]
    kinds = (
        ("missing", sorted(expected.keys() - found.keys())),
        ("unexpected", sorted(found.keys() - expected.keys())),
        ("of another shape", shapes),
    )
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:limit])}{', ...' if len(names) > limit else ''})"
        for kind, names in kinds
        if names
    )


def _by(shape: Iterable[int]) -> str:
    return "x".join(str(length) for length in shape) or "scalar"

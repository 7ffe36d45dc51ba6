# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights: read without running code from them, and compared name by name and shape by shape."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from .files import atomic_write, some_names

__all__ = ["check_weights_file", "describe_mismatch", "read_state_dict", "read_weights_file", "write_weights_file"]


def check_weights_file(path: str | os.PathLike[str]) -> None:
    """Ask for a file of weights before any long work starts.

    Raises:
        FileNotFoundError: When there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no weights at {path}: check the path, or train a model first.")


def read_weights_file(
    path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu", in_memory: bool = False
) -> Any:
    """Content of a file that ``torch.save`` wrote, in the zip format or that of PyTorch before 1.6.

    Only tensors and plain containers are read (``weights_only``), after the zip format's checksums (CRC-32) were
    compared, which PyTorch writes but does not read: a file with one wrong bit loads as other weights. Files of the old
    format have none. Tensors of the zip format stay on disk until they are used.

    Args:
        path: the file.
        map_location: device the tensors are read to.
        in_memory: read all tensors at once, not as they are used: of a file that may be replaced or removed meanwhile.
            Defaults to False.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is damaged, or holds anything else.
    """
    check_weights_file(path)
    _check_sums(path)
    try:
        mmap = not in_memory and zipfile.is_zipfile(path)
        with warnings.catch_warnings():  # about the pickle's version, of files that are refused anyway
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(os.fspath(path), map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds for files that are not its own
        # Not "from error": torch's own text is of no use, or tells to load the file without weights_only.
        raise ValueError(f"{path} cannot be read as weights: {_reason(error)}") from None


def write_weights_file(content: Any, path: str | os.PathLike[str]) -> None:
    """``torch.save`` whole or not at all, see :func:`atomic_write`; the same content gives the same bytes.

    Raises:
        OSError: where writing fails, such as on a full disk.
    """
    with atomic_write(path) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch closes its archive after a failed write, and tells of that
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_state_dict(
    path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu"
) -> Mapping[str, torch.Tensor]:
    """The flat state_dict in a file, see :func:`read_weights_file`.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is damaged, holds anything else than tensors by name, or values that are NaN or infinite.
    """
    state: Mapping[str, torch.Tensor] = read_weights_file(path, map_location)
    is_flat = isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not (is_flat and state):
        raise ValueError(f"{path} is not a flat state_dict of tensors: a checkpoint of training holds more than that.")
    if broken := [str(key) for key, value in state.items() if not torch.isfinite(value).all()]:
        raise ValueError(
            f"{path} holds values that are NaN or infinite in {some_names(broken)}: its training has failed, "
            "take weights from before."
        )
    return state


def _check_sums(path: str | os.PathLike[str]) -> None:
    """Compare the checksums of a zip file; another file has none."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        reason = f"the checksum of {damaged} is wrong" if damaged is not None else ""
    except Exception as error:  # of many kinds, where the archive's own tables are damaged
        reason = str(error) or type(error).__name__
    if reason:
        raise ValueError(f"{path} cannot be read as weights: it is damaged, {reason}: copy or download it again.")


def _reason(error: Exception) -> str:
    """One line; not torch's advice to load the file without ``weights_only``, which runs the code in it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not isinstance(error, pickle.UnpicklingError):
        detail = lines[0].split(". ")[0] if lines else type(error).__name__
        return f"it is not a whole file of torch.save ({detail}): copy or download it again."
    detail = next((line for line in lines if "unsupported" in line.lower()), "").split(". ")[0].rstrip(".")
    return (
        "it was not written by torch.save, or holds more than tensors in plain containers, such as a whole model "
        f"instead of its state_dict(), which is not loaded because it could run code ({detail})."
    )


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

    Examples:
        >>> describe_mismatch({"a": (3, 2), "b": (1,)}, {"a": torch.zeros(3, 9), "c": torch.zeros(1)})
        '1 missing (b), 1 unexpected (c), 1 of another shape (a: 3x9, not 3x2)'
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

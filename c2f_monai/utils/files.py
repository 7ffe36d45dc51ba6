# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files: the names of cases, files that appear whole or not at all, and files of weights.

Weights are read without running code from them, and compared name by name and shape by shape.
"""

from __future__ import annotations

import glob
import hashlib
import os
import pickle
import platform
import shutil
import threading
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import torch

__all__ = [
    "IMAGE_SUFFIXES",
    "append_bytes",
    "atomic_write",
    "case_name",
    "check_weights_file",
    "describe_mismatch",
    "flush_to_disk",
    "name_of_case",
    "part_beside",
    "read_state_dict",
    "read_weights_file",
    "remove_leftovers",
    "sha256_of",
    "some_names",
    "write_weights_file",
]

#: Suffixes of image files; what :data:`c2f_monai.data.READERS` learns to read is added.
IMAGE_SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"]


def case_name(path: str | PurePath) -> str:
    """Name of a case: its file without the suffix of an image, or its folder.

    Args:
        path: image file or DICOM folder. Dots that do not begin a known suffix belong to the name.

    Examples:
        >>> case_name("imagesTs/patient.01.nii.gz"), case_name("scans/series.v2")
        ('patient.01', 'series.v2')
    """
    name = PurePath(path).name
    for suffix in sorted((*IMAGE_SUFFIXES, ".dcm"), key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def name_of_case(meta: Mapping[str, Any]) -> str:
    """Name of the case that an image's metadata belong to: the one it was listed by, else that of its file, or "".

    Examples:
        >>> name_of_case({"filename_or_obj": "in/a/ct.nii"})
        'ct'
        >>> name_of_case({"filename_or_obj": "in/a/ct.nii", "case": "a/ct"})
        'a/ct'
    """
    return str(meta.get("case") or case_name(str(meta.get("filename_or_obj") or "")))


def some_names(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list in one line, and how many follow.

    Examples:
        >>> some_names(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Path beside ``path`` to write to, renamed into place at the end; after an error the old file is as it was.

    The suffix stays, since writers choose format and compression by it. The folder is made. The content is on the disk
    before the name is: also a machine that loses its power leaves the old file or the new one.

    Raises:
        OSError: where writing fails, such as on a full disk: naming ``path``, which the system's error does not.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "new" / "table.csv") as part:
        ...         length = part.write_text("case,dsc")
        ...     [file.name for file in (Path(folder) / "new").iterdir()]
        ['table.csv']
    """
    target = Path(path)
    part = part_beside(target)
    try:
        yield part
        flush_to_disk(part)
        os.replace(part, target)
        flush_to_disk(target.parent)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(target)) from None  # a full disk does not say where
    finally:
        part.unlink(missing_ok=True)


def append_bytes(path: str | os.PathLike[str], data: bytes, flush: bool = False) -> None:
    """Add to the end of a file, which is made where there is none, all or nothing.

    Args:
        path: of the file.
        data: to add.
        flush: return when it is on the disk. Defaults to False.

    Raises:
        OSError: naming ``path``; a full disk takes a part, which is cut off again.
    """
    with Path(path).open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = 0
            while written < len(data):  # a full disk takes a part without an error, and refuses the rest
                written += file.write(data[written:])
        except OSError as error:
            os.truncate(path, before)
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        if flush:
            os.fsync(file.fileno())


def part_beside(path: str | os.PathLike[str]) -> Path:
    """Hidden path beside a file or folder, to be written and renamed into its place; the folder around is made.

    What a process that was killed while it wrote the same left there is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    # The process's number is its own on one machine only: machines may share the folder.
    return target.with_name(f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.{target.name}")


def remove_leftovers(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove what processes of this machine left in a folder when they were killed, see :func:`part_beside`.

    Args:
        folder: where; one that does not exist holds nothing.
        name: of the file or folder that was being written. Defaults to None: of any.
    """
    machine = f".{platform.node()}-"
    for left in Path(folder).glob(f"{glob.escape(machine)}*"):
        numbers, _, target = left.name[len(machine) :].partition(".")
        number = numbers.split("-")[0]
        if name not in (None, target) or not number.isdigit() or _is_running(int(number)):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def flush_to_disk(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the names in a folder, are on the disk (``fsync``); a link is not followed."""
    place = Path(path)
    if place.is_symlink() or (place.is_dir() and os.name != "posix"):
        return
    handle = os.open(place, os.O_RDONLY if place.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError:
        if not place.is_dir():  # some file systems know it of files alone
            raise
    finally:
        os.close(handle)


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

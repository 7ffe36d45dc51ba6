# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files: the names of cases, and files that appear whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

__all__ = [
    "IMAGE_SUFFIXES",
    "append_bytes",
    "atomic_write",
    "case_name",
    "check_no_file",
    "files_below",
    "flush_to_disk",
    "link_or_copy",
    "name_of_case",
    "part_beside",
    "remove_leftovers",
    "sha256_of",
    "some_names",
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
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(f"{target} is a folder: give the name of a file to write.")
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


def link_or_copy(file: Path, link: Path) -> Path:
    """A symbolic link to a file, in place of an older one; a copy where the system allows no links, as Windows may."""
    with atomic_write(link) as part:
        try:
            part.symlink_to(file)
        except (OSError, NotImplementedError):
            shutil.copyfile(file, part)
    return link


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

    Raises:
        NotADirectoryError: see :func:`check_no_file`.
    """
    target = Path(path)
    check_no_file(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    # The process's number is its own on one machine only: machines may share the folder.
    return target.with_name(f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.{target.name}")


def files_below(folder: str | os.PathLike[str]) -> list[Path]:
    """Files of a folder and its folders, ascending; links to folders are followed where they lead out of it, once each.

    ``Path.rglob`` does not follow them, and a case whose folder is a link would be missing without a word.
    """
    found: list[Path] = []
    top = Path(folder).resolve()
    seen = {top}

    def is_new(place: Path) -> bool:
        target = place.resolve()
        if target in seen or (place.is_symlink() and (target.is_relative_to(top) or top.is_relative_to(target))):
            return False
        seen.add(target)
        return True

    for root, folders, files in os.walk(folder, followlinks=True):
        found += [Path(root, name) for name in files]
        folders[:] = [name for name in sorted(folders) if is_new(Path(root, name))]
    return sorted(found)


def check_no_file(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be made: it, or one around it, is a file or a link to nothing.

    Raises:
        NotADirectoryError: naming the file.
    """
    place = Path(folder).absolute()
    first = next((path for path in (place, *place.parents) if os.path.lexists(path)), place)
    if os.path.lexists(first) and not first.is_dir():
        what = "a file" if first.exists() else "a link to nothing"
        raise NotADirectoryError(f"{first} is {what} and no folder: choose another place to write to.")


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
        if name not in (None, target) or not number.isdecimal() or _is_running(int(number)):
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

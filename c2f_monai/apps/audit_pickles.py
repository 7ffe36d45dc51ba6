# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``audit`` knows of pickles, which run code when they are loaded: who loads them, and arrays that hold them."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from numpy.lib import format as npy

__all__ = ["UNPICKLERS", "array_problem", "is_unpickling"]

#: Classes that load pickles, some of them in older versions or by their arguments only.
UNPICKLERS = (
    *(f"monai.data.dataset.{name}" for name in ("PersistentDataset", "CacheNTransDataset", "LMDBDataset")),
    *("monai.data.dataset.GDSDataset", "monai.data.image_reader.NumpyReader", "torch.utils.data.datapipes"),
)
#: Arguments by which a class loads pickles, with the value by which it does not.
_SAFE = {"allow_pickle": False, "weights_only": True, "pickle_module": "pickle"}
#: NumPy's own limit, beyond which it asks for trust.
_LONGEST_HEADER = 10_000


def is_unpickling(argument: str, value: Any) -> bool:
    """Whether an argument of a component lets it load pickles; a reference may lead to such a value.

    Examples:
        >>> is_unpickling("allow_pickle", True), is_unpickling("allow_pickle", False), is_unpickling("keys", True)
        (True, False, False)
    """
    return argument in _SAFE and value != _SAFE[argument]


def array_problem(path: Path) -> str:
    """Why a file ``.npy`` or ``.npz`` is a program, by its headers; empty where it holds numbers only."""
    try:
        with path.open("rb") as file:
            return "holds pickled objects" if any(_hold_objects(file)) else ""
    except Exception as error:  # what NumPy takes for no array it loads as a pickle
        return f"cannot be read as arrays: {' '.join(str(error).split())}"


def _hold_objects(file: BinaryIO) -> Iterator[bool]:
    """For each array; NumPy, too, looks at how a file begins and not at its name."""
    start = file.read(len(npy.MAGIC_PREFIX))
    file.seek(0)
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield _holds_objects(file)
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as part:
                if part.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                    continue  # NumPy gives its bytes
            with archive.open(member) as part:
                yield _holds_objects(part)


def _holds_objects(file: Any) -> bool:
    major, _ = npy.read_magic(file)
    size = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header of {size} bytes is too long.")
    header = ast.literal_eval(file.read(size).decode("latin-1" if major < 3 else "utf-8"))
    return bool(npy.descr_to_dtype(header["descr"]).hasobject)

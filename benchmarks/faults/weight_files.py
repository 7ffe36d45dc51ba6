# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults in files of weights: each is refused with its name, or its tensors are the same."""

from __future__ import annotations

import math
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from c2f_monai.utils import bundle_root, read_state_dict, write_weights_file

from .fault import Fault, UnexpectedError, expect, refused

__all__ = ["FAULTS"]

PART = "files of weights"
FLIPS = 200
MODEL = "model.pt"


def _shipped() -> Path:
    return bundle_root() / "models" / MODEL


def _same(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def _refused_or_same(path: Path, expected: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file is refused; another answer than the expected tensors is wrong."""
    try:
        found = read_state_dict(path)
    except ValueError as error:
        expect(str(path) in str(error) and "\n" not in str(error), str(error))
        return True
    if not _same(found, expected):
        raise UnexpectedError("read as other weights")
    return False


def _flips(folder: Path) -> str:
    """Random bits of the shipped weights, one at a time."""
    path, draw = folder / MODEL, random.Random(0)
    shutil.copy(_shipped(), path)
    expected = {key: value.clone() for key, value in read_state_dict(path).items()}
    found = 0
    for _ in range(FLIPS):
        place, bit = draw.randrange(path.stat().st_size), 1 << draw.randrange(8)
        _toggle(path, place, bit)
        found += _refused_or_same(path, expected)
        _toggle(path, place, bit)
    return f"{found} refused, {FLIPS - found} in bytes that nothing reads, none read as other weights"


def _toggle(path: Path, place: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ bits]))


def _every_bit(folder: Path) -> str:
    path, expected = folder / MODEL, {"weight": torch.arange(6.0), "count": torch.tensor(3)}
    write_weights_file(expected, path)
    content = path.read_bytes()
    found = 0
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found += _refused_or_same(path, expected)
    return f"{found} of {8 * len(content)} bits refused, the others change nothing"


def _changed(change: Callable[[Path], None], pattern: str, folder: Path) -> str:
    path = folder / MODEL
    shutil.copy(_shipped(), path)
    change(path)
    return refused(partial(read_state_dict, path), pattern, folder)


def _cut(share: float) -> Callable[[Path], None]:
    return lambda path: _keep(path, int(share * path.stat().st_size))


def _keep(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def _block_of_zeros(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4096))


def _with_value(value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        state = {key: tensor.clone() for key, tensor in read_state_dict(path).items()}
        name = next(key for key, tensor in state.items() if tensor.is_floating_point())
        state[name].flatten()[0] = value
        write_weights_file(state, path)

    return change


def _checkpoint(path: Path) -> None:
    write_weights_file({"network": dict(read_state_dict(path)), "trainer": {"epoch": 3}}, path)


def _text(path: Path) -> None:
    path.write_text("<!DOCTYPE html> not found", encoding="utf-8")


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


class _Code:
    def __reduce__(self) -> tuple:
        return print, ("code of a file of weights has run",)


def _code(path: Path) -> None:
    torch.save({"weight": _Code()}, path)


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Code()))


CHANGES: list[tuple[str, Callable[[Path], None], str]] = [
    *((f"the first {share:.1%} of the file", _cut(share), "cannot be read as weights") for share in (0.5, 0.99, 0.001)),
    ("an empty file", _cut(0), "cannot be read as weights"),
    ("4096 bytes are zeros", _block_of_zeros, "cannot be read as weights: it is damaged, the checksum"),
    ("one weight is NaN", _with_value(math.nan), "NaN or infinite in views"),
    ("one weight is infinite", _with_value(math.inf), "NaN or infinite in views"),
    ("a checkpoint of training", _checkpoint, "is not a flat state_dict"),
    ("a web page", _text, "cannot be read as weights"),
    ("another zip file", _archive, "cannot be read as weights"),
    ("a file that would run code", _code, "not loaded because it could run code"),
    ("a pickle that would run code", _pickled, "not loaded because it could run code"),
]

FAULTS = [
    Fault(PART, "one wrong bit of the shipped model.pt", "refused, or the same tensors", _flips, FLIPS),
    Fault(PART, "each single bit of a small file", "refused, or the same tensors", _every_bit),
    *(Fault(PART, name, "refused, naming the file", partial(_changed, c, pattern)) for name, c, pattern in CHANGES),
]

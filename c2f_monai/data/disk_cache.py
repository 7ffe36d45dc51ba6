# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training volumes on disk, laid out for the slabs of each view.

Each case has, for each view, one file of int16 HU (n, h, w) and one of uint8 labels (n, K, h, w), slices first, so that
a slab of three slices is one stretch of each file. From a single copy an axial slab touches the whole file, from cubes
those of a whole layer: on 512x512x240 (``benchmarks/slab_reading.py``, page cache) 53 and 130 axial slabs a second of
the image alone, here 570 with the label. Files that are not in the page cache come 2 to 4 times faster by plain reads
than by a memory map, which fetches them page by page. The price is space: 9 bytes for each voxel instead of 3.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from ..utils import View, atomic_write, case_name

__all__ = ["DiskCache", "DiskVolume", "cache_name", "count_target", "describe_transform"]

_VERSION = 2
_DEPTH = 12


def count_target(label: torch.Tensor, view: View) -> np.ndarray:
    """Target pixels of any class in each slice of a view, (n,) int64.

    Args:
        label: (K, H, W, D) in {0, 1}.
        view: along which to count.
    """
    return label.amax(0).movedim(view.axis, 0).flatten(1).sum(1).numpy()


@dataclass(frozen=True)
class DiskVolume:
    """One case on the working grid, in files that are opened for each read: processes share it, nothing stays open.

    Attributes:
        name: the image's path, for messages.
        folder: of the case in the cache.
        shape: (H, W, D), RAS.
        classes: K.
        targets: for each view the target pixels of its slices.
    """

    name: str
    folder: Path
    shape: tuple[int, ...]
    classes: int
    targets: Mapping[str, Sequence[int]]

    def counts(self, view: View) -> np.ndarray:
        """Target pixels in each slice of a view, (n,)."""
        return np.asarray(self.targets[view.value], dtype=np.int64)

    def slices(self, view: View, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices ``start`` to ``stop`` of a view: (n, h, w) int16 HU and (K, n, h, w) uint8 label."""
        plane = tuple(np.delete(self.shape, view.axis))
        image = self._read("image", view, np.dtype(np.int16), start, (stop - start, *plane))
        label = self._read("label", view, np.dtype(np.uint8), start, (stop - start, self.classes, *plane))
        return torch.from_numpy(image), torch.from_numpy(label).movedim(1, 0)

    def _read(self, kind: str, view: View, dtype: np.dtype, start: int, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / _file(kind, view)
        size = int(np.prod(shape[1:], dtype=np.int64))
        values = np.fromfile(path, dtype, shape[0] * size, offset=start * size * dtype.itemsize)
        if len(values) != shape[0] * size:
            raise ValueError(f"{path} is shorter than its case: remove {self.folder}, it is made again.")
        return values.reshape(shape)


class DiskCache:
    """Cases that were preprocessed once, by the files they come from and the preprocessing.

    A file of the cache is whole whenever it exists, so that processes and runs share the folder. A case is made again
    when its files (path, size, time of change) or a parameter of the transform or MONAI's version differ; what is
    no longer used stays until the folder is removed.

    Args:
        folder: of the cache; made when absent.
        transform: deterministic preprocessing, not yet used (MONAI's ``Spacing`` keeps values of the last volume). A
            plain function is known by its name only.
        views: views that are read. Others can be added later.
    """

    def __init__(self, folder: str | os.PathLike[str], transform: Any, views: Sequence[View] = tuple(View)) -> None:
        self.folder = Path(folder).absolute()
        self.views = tuple(views)
        self._transform = json.dumps(describe_transform(transform), sort_keys=True)

    def get(self, case: Mapping[str, Any]) -> DiskVolume | None:
        """The case, if it is here for all views."""
        folder = self._place(case)
        try:
            found = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        volume = DiskVolume(
            str(case["image"]), folder, tuple(found["shape"]), int(found["classes"]), found["target_pixels"]
        )
        voxels = int(np.prod(volume.shape, dtype=np.int64))
        for view in self.views:
            for kind, size in (("image", 2 * voxels), ("label", volume.classes * voxels)):
                path = folder / _file(kind, view)
                if not path.is_file() or path.stat().st_size != size:
                    return None
        return volume

    def put(self, case: Mapping[str, Any], image: torch.Tensor, label: torch.Tensor, more: int = 0) -> DiskVolume:
        """Write a case.

        Args:
            case: with the paths of "image" and "label".
            image: (H, W, D) int16.
            label: (K, H, W, D) uint8.
            more: further cases of this size that there must be room for.

        Raises:
            OSError: when the disk has no room, with what is needed and what is free.
        """
        name, folder = str(case["image"]), self._place(case)
        shape = tuple(image.shape)
        need = len(self.views) * (2 * image.numel() + label.numel())
        folder.mkdir(parents=True, exist_ok=True)
        with self._room(name, need, more):
            for view in self.views:
                self._write(folder / _file("image", view), image.movedim(view.axis, 0))
                self._write(folder / _file("label", view), label.movedim(view.axis + 1, 0))
            targets = {view.value: count_target(label, view).tolist() for view in View}
            found = {"image": name, "shape": shape, "classes": len(label), "target_pixels": targets}
            with atomic_write(folder / "case.json") as part:  # last: it says that the case is whole
                part.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return DiskVolume(name, folder, shape, len(label), targets)

    @contextmanager
    def _room(self, name: str, need: int, more: int) -> Iterator[None]:
        """Refuse to begin what does not fit, and say the same when the disk fills up meanwhile."""

        def full() -> OSError:
            free = shutil.disk_usage(self.folder).free
            return OSError(
                f"cache_dir {self.folder} has no room: {name} needs {need / 1e9:.3g} GB"
                + (f", with the {more} cases after it about {need * (1 + more) / 1e9:.3g} GB" if more else "")
                + f", {free / 1e9:.3g} GB are free. Choose another cache_dir, a coarser pixdim or fewer views; cases "
                "that it holds are kept."
            )

        if shutil.disk_usage(self.folder).free < need * (1 + more):
            raise full()
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise full() from error

    @staticmethod
    def _write(path: Path, slices: torch.Tensor) -> None:
        # Not a memory map: a full disk would end the process with a signal instead of an error.
        with atomic_write(path) as part, part.open("wb") as file:
            for each in slices:
                file.write(np.ascontiguousarray(each.numpy()).data)

    def _place(self, case: Mapping[str, Any]) -> Path:
        return self.folder / cache_name(case, _VERSION, self._transform)


def describe_transform(transform: Any, depth: int = _DEPTH) -> Any:
    """What a transform does, as JSON: classes and parameters, the same in every process.

    Args:
        transform: a transform, or anything that is a parameter of one.
        depth: levels to go down.

    Raises:
        ValueError: when there are more levels.
    """
    if depth < 0:
        raise ValueError(f"a transform with parameters more than {_DEPTH} levels deep cannot be told from others.")
    if transform is None or isinstance(transform, bool | int | float | str):
        return str(transform) if isinstance(transform, enum.Enum) else transform
    if isinstance(transform, np.ndarray | torch.Tensor | np.generic):
        return [str(transform.dtype), transform.tolist()]
    if isinstance(transform, Mapping):
        return {str(key): describe_transform(value, depth - 1) for key, value in transform.items()}
    if isinstance(transform, list | tuple | set | frozenset):
        listed = [describe_transform(item, depth - 1) for item in transform]
        return sorted(listed, key=str) if isinstance(transform, set | frozenset) else listed
    if callable(transform) and hasattr(transform, "__qualname__"):  # functions and classes
        return f"{transform.__module__}.{transform.__qualname__}"
    name = f"{type(transform).__module__}.{type(transform).__qualname__}"
    if isinstance(transform, np.random.RandomState | np.dtype | torch.dtype | torch.device | enum.Enum):
        return name if isinstance(transform, np.random.RandomState) else str(transform)
    return [name, describe_transform(getattr(transform, "__dict__", {}), depth - 1)]


def cache_name(case: Mapping[str, Any], version: int, transform: str) -> str:
    """Name of what a cache keeps of a case: another one for other files, another transform or another MONAI.

    Args:
        case: with the paths of "image" and "label".
        version: of the form in which it is kept.
        transform: its description as text, see :func:`describe_transform`.
    """
    files = (_identity(case[key]) for key in ("image", "label"))
    digest = hashlib.sha256(json.dumps([version, monai.__version__, transform, *files]).encode()).hexdigest()[:16]
    return f"{case_name(str(case['image']))}-{digest}"


def _identity(path: str | os.PathLike[str]) -> list[Any]:
    """Path, size and time of change (ns) of a file, or of the files of a folder, by which a cache tells them apart."""
    place = Path(path).absolute()
    files = sorted(entry for entry in place.iterdir() if entry.is_file()) if place.is_dir() else [place]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _file(kind: str, view: View) -> str:
    return f"{kind}_{view.value}.raw"

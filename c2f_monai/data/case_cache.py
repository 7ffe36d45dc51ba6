# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Validation cases that are preprocessed once, and read from the disk at every later start."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import reset_ops_id

from ..utils import read_weights_file, write_weights_file
from .disk_cache import cache_name, describe_transform

__all__ = ["CachedCases"]

_VERSION = 3


class CachedCases(CacheDataset):
    """MONAI's ``CacheDataset``, whose cases may lie on the disk, too, as they are after a deterministic transform.

    A case is made again when its files (path, size, time of change), what the data set says of it, a parameter of the
    transform or MONAI's version differ. Metadata stays as far as it is text, numbers and tensors, and the operations
    that ``Invertd`` undoes.

    Args:
        data: dictionaries with the paths of "image" and "label".
        transform: deterministic, not yet used; volumes become MetaTensors.
        cache_dir: folder of the files, shared with :class:`DiskCache`. Defaults to None: every start reads the data
            set's own files.
        cache_rate: share of the cases that stays in memory. Defaults to 1.
        num_workers: threads that read. Defaults to 2.
        progress: show a bar. Defaults to True.

    Examples:
        >>> import nibabel
        >>> from c2f_monai.data import labeled_preprocessing
        >>> root = getfixture("tmp_path")
        >>> values = np.random.default_rng(0).integers(0, 2, (8, 8, 4))
        >>> for name in ("image", "label"):
        ...     nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)), root / f"{name}.nii.gz")
        >>> cases = [{name: str(root / f"{name}.nii.gz") for name in ("image", "label")}]
        >>> first = CachedCases(cases, labeled_preprocessing(1), root / "cache", progress=False)
        >>> second = CachedCases(cases, labeled_preprocessing(1), root / "cache", progress=False)
        >>> bool((first[0]["image"] == second[0]["image"]).all()), len(list((root / "cache").rglob("*.pt")))
        (True, 1)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any],
        cache_dir: str | os.PathLike[str] | None = None,
        cache_rate: float = 1.0,
        num_workers: int = 2,
        progress: bool = True,
    ) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir).absolute()
        self._described = json.dumps(describe_transform(transform), sort_keys=True)
        super().__init__(data, transform, cache_rate=cache_rate, num_workers=num_workers, progress=progress)

    def _load_cache_item(self, idx: int) -> Any:
        if self.cache_dir is None:
            return super()._load_cache_item(idx)
        file = self._file(self.data[idx])
        try:
            return _restored(read_weights_file(file))
        except (FileNotFoundError, ValueError):  # not there, or damaged: made again
            case = super()._load_cache_item(idx)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_weights_file(_stored(case), file)
        return case

    def _transform(self, index: int) -> Any:
        position = index % len(self)  # of what does not stay in memory
        return super()._transform(index) if position < self.cache_num else self._load_cache_item(position)

    def _file(self, case: Mapping[str, Any]) -> Path:
        assert self.cache_dir is not None
        # Such as its group, or that it is a stack of single slices.
        said = {key: value for key, value in case.items() if key not in ("image", "label")}
        described = self._described + json.dumps(said, sort_keys=True, default=str)
        return self.cache_dir / "cases" / f"{cache_name(case, _VERSION, described)}.pt"


def _stored(case: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors and plain containers alone, so that reading runs no code of the file."""
    return {key: _of_volume(value) if isinstance(value, MetaTensor) else _plain(value) for key, value in case.items()}


def _of_volume(volume: MetaTensor) -> dict[str, Any]:
    values = volume.as_tensor()
    compact = values.to(torch.uint8)
    small = torch.equal(compact.to(values.dtype), values)  # masks
    return {
        "values": (compact if small else values).contiguous(),
        "dtype": str(values.dtype).removeprefix("torch."),
        "affine": volume.affine.clone(),
        "meta": _plain({key: value for key, value in volume.meta.items() if key != "affine"}),
        "operations": _plain(volume.applied_operations),
    }


def _restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    case = {key: _volume_of(value) for key, value in stored.items()}
    reset_ops_id(case)  # the transforms of another process
    return case


def _volume_of(value: Any) -> Any:
    """A stored volume with its transforms; anything else as it is."""
    if not (isinstance(value, dict) and "operations" in value):
        return value
    values = value["values"].to(getattr(torch, value["dtype"]))
    return MetaTensor(values, affine=value["affine"], meta=value["meta"], applied_operations=value["operations"])


def _plain(value: Any) -> Any:
    """As ``torch.load`` reads it without running code; arrays become tensors, and what is of another kind its text."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.ndarray | np.generic):
        return torch.as_tensor(value) if value.dtype.kind in "biuf" else value.tolist()
    if isinstance(value, torch.Tensor):
        return torch.as_tensor(value.as_tensor() if isinstance(value, MetaTensor) else value).clone()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value) if type(value) in (list, tuple) else [*map(_plain, value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

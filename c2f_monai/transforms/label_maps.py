# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Label maps: the masks of some values before the networks, and the map of probabilities behind them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from .volumes import source_of

__all__ = [
    "SelectLabeld",
    "ToLabelMapd",
    "all_label_values",
    "class_values",
    "label_values",
    "select_label",
    "to_label_map",
]


def select_label(label: torch.Tensor, values: int | Sequence[int] | Sequence[Sequence[int]]) -> torch.Tensor:
    """Binary mask of the voxels that have one of the values, in the type of ``label``.

    Args:
        label: label map of any shape; (1, H, W, D) where classes are asked for.
        values: label values of the target. Several are joined (an organ and the neoplasm inside it [3.3.3]). A list of
            lists makes one channel for each inner list, (K, H, W, D); classes may share values.

    Raises:
        ValueError: When classes are asked for and ``label`` has not one channel.

    Examples:
        >>> label = torch.tensor([0, 1, 2, 3]).reshape(1, 1, 1, 4)
        >>> select_label(label, [1, 2]).flatten().tolist()
        [0, 1, 1, 0]
        >>> select_label(label, [[1, 2], [3]])[:, 0, 0].tolist()
        [[0, 1, 1, 0], [0, 0, 0, 1]]
    """
    groups = class_values(values)
    if groups is None:
        wanted = torch.as_tensor(ensure_tuple(values), device=label.device)
        fitting = wanted[wanted.to(label.dtype) == wanted]  # as uint8, 256 would be the background
        return torch.isin(label, fitting.to(label.dtype)).to(label.dtype)
    if label.shape[0] != 1:
        raise ValueError(f"{source_of(label)}: classes need a label map of one channel, it has {label.shape[0]}.")
    return torch.cat([select_label(label, group) for group in groups])


def to_label_map(
    probability: torch.Tensor, values: int | Sequence[int], threshold: float = 0.5, containers: int = 0
) -> torch.Tensor:
    """Label map of probabilities; a voxel that several classes claim goes to the most probable one [3.6].

    Args:
        probability: (K, H, W, D) probabilities.
        values: label value of each of the K classes, 1 to 255.
        threshold: a class claims the voxels with at least this probability. Defaults to 0.5.
        containers: number of leading classes that contain the others, such as an organ before its neoplasm: the others
            take a voxel from them whatever the probabilities. Defaults to 0.

    Returns:
        (1, H, W, D) uint8 map, 0 is background.

    Raises:
        ValueError: When there is not one value for each class, or no class is left beside the containers.

    Examples:
        >>> probability = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.7, 0.3]]).reshape(2, 1, 1, 3)
        >>> to_label_map(probability, [1, 4]).flatten().tolist()
        [1, 4, 0]
    """
    values = label_values(values)
    if len(values) != probability.shape[0]:
        raise ValueError(f"{probability.shape[0]} classes need as many label values, got {list(values)}.")
    if not 0 <= containers < len(values):
        raise ValueError(f"containers must be fewer than the {len(values)} classes, got {containers}.")
    if len(values) == 1:  # the usual case, without a float copy of a volume at full resolution
        return (probability >= threshold).to(torch.uint8).mul_(values[0])
    names = torch.as_tensor(values, dtype=torch.uint8, device=probability.device)
    labels = torch.zeros_like(torch.as_tensor(probability)[:1], dtype=torch.uint8)
    for part in (slice(0, containers), slice(containers, None)):
        if len(names[part]):
            best, index = torch.as_tensor(probability)[part].max(dim=0, keepdim=True)
            labels = torch.where(best >= threshold, names[part][index], labels)
    return MetaTensor(labels, meta=probability.meta) if isinstance(probability, MetaTensor) else labels


class SelectLabeld(MapTransform):
    """Apply :func:`select_label` to the label maps at ``keys``.

    Args:
        keys: keys of the label maps.
        values: label value of the target, or several values that are joined; a list of lists makes one channel for
            each inner list.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.

    Raises:
        ValueError: When a label value is no whole number from 1 to 255.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: int | Sequence[int] | Sequence[Sequence[int]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = class_values(values) or label_values(values)  # type: ignore[arg-type]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Select."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = select_label(out[key], self.values)
        return out


class ToLabelMapd(MapTransform):
    """Apply :func:`to_label_map` to the probabilities at ``keys``.

    Args:
        keys: keys of the probabilities.
        values: label value of each class.
        threshold: smallest probability of foreground. Defaults to 0.5.
        allow_missing_keys: whether a missing key is passed over. Defaults to False.
        containers: number of leading classes that the others lie in and are painted over. Defaults to 0.

    Raises:
        ValueError: When a label value does not fit 8 bits, the threshold lies outside (0, 1], or no class is left
            beside the containers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: int | Sequence[int] = 1,
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
        containers: int = 0,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {threshold}.")
        self.values = label_values(values)
        if not 0 <= containers < len(self.values):
            raise ValueError(f"containers must be fewer than the {len(self.values)} classes, got {containers}.")
        self.threshold = threshold
        self.containers = containers

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make the label maps."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = to_label_map(out[key], self.values, self.threshold, self.containers)
        return out


def label_values(values: int | Sequence[int]) -> tuple[int, ...]:
    """Label values as a tuple.

    Raises:
        ValueError: When there are none, or one is no whole number from 1 to 255.
    """
    checked = ensure_tuple(values)
    if not checked or not all(isinstance(v, (int, np.integer)) and 1 <= v <= 255 for v in checked):
        raise ValueError(f"label values must be whole numbers from 1 to 255, got {values!r}.")
    return tuple(int(v) for v in checked)


def class_values(values: int | Sequence[int] | Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...] | None:
    """Label values of each class from a list of lists; None where ``values`` is those of one target.

    Raises:
        ValueError: When a list mixes numbers and lists, or an inner list is no list of label values.
    """
    entries = ensure_tuple(values)
    nested = [isinstance(entry, Sequence) and not isinstance(entry, str) for entry in entries]
    if not any(nested):
        return None
    if not all(nested):
        raise ValueError(f"label values must be numbers, or one list for each class, got {values!r}.")
    return tuple(label_values(entry) for entry in entries)


def all_label_values(values: int | Sequence[int] | Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Label values of all classes, in order.

    Raises:
        ValueError: When they are no label values, see :func:`label_values` and :func:`class_values`.

    Examples:
        >>> all_label_values(2), all_label_values([[1, 2], [3]])
        ((2,), (1, 2, 3))
    """
    groups = class_values(values) or (label_values(values),)  # type: ignore[arg-type]
    return tuple(value for group in groups for value in group)

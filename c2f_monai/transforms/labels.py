# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what a case is trained or scored on: the values of its label, and an image that holds something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from monai.utils import convert_to_tensor

from ..utils import some_names
from .volumes import source_of

__all__ = [
    "UNNAMED_LABELS",
    "CheckLabeledd",
    "check_contrast",
    "check_label",
    "check_whole_values",
    "count_values",
    "label_problem",
]

#: Whole numbers that labels may hold where nobody has named them; 255 is what many tools mark "ignore" with.
UNNAMED_LABELS = range(255)
#: More unknown values than a label has are those of an image.
MANY = 20


def count_values(label: torch.Tensor) -> dict[float, int]:
    """Voxels of each value, ascending; NaN counts as one value.

    Args:
        label: of any shape, (1, H, W, D) for a file's.

    Examples:
        >>> count_values(torch.tensor([0, 2, 2, 0.5]))
        {0.0: 1, 0.5: 1, 2.0: 2}
    """
    counts: Counter[float] = Counter()
    values = convert_to_tensor(label, track_meta=False).flatten()
    # In parts: a whole volume is sorted or converted in several times its memory.
    for part in values.split(1 << 20):
        whole = part.to(torch.uint8)
        if torch.equal(whole.to(part.dtype), part):
            found = torch.bincount(whole, minlength=256)
            counts.update({float(value): int(found[value]) for value in found.nonzero().flatten()})
            continue
        numbers, found = part[~part.isnan()].unique(return_counts=True)
        counts.update(dict(zip(numbers.double().tolist(), found.tolist(), strict=True)))
        counts[math.nan] += int(part.isnan().sum())
    missing = counts.pop(math.nan, 0)
    return dict(sorted(counts.items())) | ({math.nan: missing} if missing else {})


def label_problem(counts: Mapping[float, int], known: Sequence[int] = UNNAMED_LABELS) -> str:
    """What is wrong with the values of a label, as the end of a sentence; empty for a good one.

    Args:
        counts: voxels of each value, see :func:`count_values`.
        known: values that the label may hold beside the background, 0. Defaults to whole numbers below 255.

    Examples:
        >>> label_problem({0: 90, 1: 10, 255: 4}, known=[1, 2])
        'holds 255 in 4 voxels, which is neither background (0) nor a known label (1, 2)'
        >>> label_problem({0: 90, 1: 10})
        ''
    """
    wrong = {value: count for value, count in counts.items() if value not in {0, *known}}
    if not wrong:
        return ""
    if len(wrong) > MANY:
        return _many(counts)
    values = some_names([str(value) for value in sorted({*known} - {0})], shown=8)
    return f"holds {_listed(wrong)}, which is neither background (0) nor a known label ({values})"


def check_label(label: torch.Tensor, known: Sequence[int] = UNNAMED_LABELS) -> None:
    """Refuse a label map with values that would silently be background, see :func:`label_problem`.

    Args:
        label: (1, H, W, D) label map.
        known: values beside the background. Defaults to whole numbers below 255.

    Raises:
        ValueError: naming the file, the values and their voxels.
    """
    if problem := label_problem(count_values(label), known):
        raise ValueError(
            f"{source_of(label)} {problem}: mend the label, or name all its values (labels of dataset.json, or the id "
            "known_labels)."
        )


def check_whole_values(label: torch.Tensor) -> dict[float, int]:
    """Voxels of each value, see :func:`count_values`, where all can be labels.

    Fractions, numbers below 0 and NaN, which no label map holds, would silently be scored as background.

    Args:
        label: (1, H, W, D) label map or mask.

    Raises:
        ValueError: naming the file, the values and their voxels.

    Examples:
        >>> check_whole_values(torch.tensor([0, 1, 1]))
        {0.0: 1, 1.0: 2}
        >>> check_whole_values(torch.tensor([0, 1, 0.9999]))
        Traceback (most recent call last):
        ValueError: volume holds 0.9999 in 1 voxels: labels are whole numbers from 0, so round its values first.
    """
    counts = count_values(label)
    wrong = {value: count for value, count in counts.items() if not (value >= 0 and value.is_integer())}
    if len(wrong) > MANY:
        raise ValueError(f"{source_of(label)} {_many(counts)}")
    if wrong:
        raise ValueError(
            f"{source_of(label)} holds {_listed(wrong)}: labels are whole numbers from 0, so round its values first."
        )
    return counts


def _listed(counts: Mapping[float, int]) -> str:
    # With the digits that tell it from other numbers of float32: neither 1 for 1.0000001 nor 0.999000013 for 0.999.
    return some_names(
        [f"{str(np.float32(value)).removesuffix('.0')} in {count} voxels" for value, count in counts.items()]
    )


def _many(counts: Mapping[float, int]) -> str:
    return f"holds {len(counts)} different values from {min(counts):g} to {max(counts):g}: is it an image?"


def check_contrast(image: torch.Tensor) -> None:
    """Refuse an image that has one value everywhere: there is nothing to learn from it.

    Args:
        image: (1, H, W, D).

    Raises:
        ValueError: naming the file and the value.
    """
    slices = convert_to_tensor(image, track_meta=False)[0].unbind(0)
    first = slices[0].flatten()[0]
    if all(bool((part == first).all()) for part in slices):
        raise ValueError(f"{source_of(image)}: every voxel is {float(first):g}: the file holds no image.")


class CheckLabeledd(Transform):
    """Apply :func:`check_contrast` to "image" and :func:`check_label` to "label"; nothing is changed.

    Args:
        known: values that labels may hold beside the background. Defaults to whole numbers below 255.
    """

    def __init__(self, known: Sequence[int] = UNNAMED_LABELS) -> None:
        self.known = tuple(known)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check."""
        check_label(data["label"], self.known)
        check_contrast(data["image"])
        return dict(data)

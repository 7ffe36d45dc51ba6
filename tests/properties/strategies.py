# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the properties are asked of: shapes, masks, orientations. All tests of properties draw from here."""

from __future__ import annotations

import math
from itertools import permutations, product

import torch
from hypothesis import settings
from hypothesis import strategies as st

#: Sides of a slice or volume, pixels.
LONGEST = 70
#: All 48 orientations of a volume, such as "LPS".
ORIENTATIONS = ["".join(codes) for order in permutations(("LR", "PA", "IS")) for codes in product(*order)]
#: Sides of volumes of three axes, so that most are small and every axis may be long.
VOXELS = 20_000


def examples(count: int) -> settings:
    """So few examples that a file takes seconds; tests/conftest.py makes them the same in every run."""
    return settings(max_examples=count)


def sides() -> st.SearchStrategy[int]:
    """A side of 1 to 70."""
    return st.integers(1, LONGEST)


@st.composite
def shapes(draw: st.DrawFn, axes: int = 3, voxels: int = VOXELS) -> tuple[int, ...]:
    """Sides of 1 to 70, together not more than so many voxels; the long axis may be any."""
    found: list[int] = []
    for _ in range(axes):
        found.append(draw(st.integers(1, max(1, min(LONGEST, voxels // math.prod(found))))))
    return tuple(draw(st.permutations(found)))


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, ...]) -> torch.Tensor:
    """A bool mask: empty, full, or one to four boxes that may overlap, touch, or be single voxels anywhere."""
    kind = draw(st.sampled_from(["some", "some", "some", "some", "empty", "full"]))
    mask = torch.full(shape, kind == "full")
    for _ in range(draw(st.integers(1, 4)) if kind == "some" else 0):
        starts = [draw(st.integers(0, length - 1)) for length in shape]
        ends = [draw(st.integers(start + 1, length)) for start, length in zip(starts, shape, strict=True)]
        mask[tuple(slice(*side) for side in zip(starts, ends, strict=True))] = True
    return mask


def margins() -> st.SearchStrategy[int | None]:
    """Frames in pixels, some larger than any slice; None is the whole slice."""
    return st.one_of(st.none(), st.integers(0, 12), st.sampled_from([LONGEST, 10 * LONGEST]))


def slice_axes() -> st.SearchStrategy[list[int]]:
    """Signed axes of slices, rows and columns."""
    signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)
    return st.builds(
        lambda order, sign: [axis * one for axis, one in zip(order, sign, strict=True)],
        st.permutations([1, 2, 3]),
        signs,
    )


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Uniform values in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))

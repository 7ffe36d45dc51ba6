# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse stage on some of the slices, interpolated between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.utils import SlabSpec

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


class Bright(torch.nn.Module):
    """logit = 6 * (x - 0.5), and how many slices it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return 6.0 * (x - 0.5)


def network_of(view: str, codes: str | None = None, slices: int = 1) -> CoarseToFineNet:
    axcodes = None if codes is None else {view: codes}
    return CoarseToFineNet(Bright, views=[view], slab=SlabSpec(slices, slices), slice_axcodes=axcodes).eval()


def run(network: CoarseToFineNet, volume: torch.Tensor, spacing: float | None, **options: Any) -> torch.Tensor:
    """P(0) of a volume whose voxels have this size in mm."""
    inputs = volume[None, None]
    if spacing is not None:
        inputs = MetaTensor(inputs, affine=torch.diag(torch.tensor([spacing] * 3 + [1.0])))
    inferer = CoarseToFineInferer(crop_multiple=1, stopping=StopRule(dice=None, max_rounds=0), **options)
    return torch.as_tensor(inferer(inputs, network))[0, 0]


@given(
    n=st.integers(1, 20),
    step=st.integers(1, 7),
    view=st.sampled_from(sorted(AXES)),
    turned=st.booleans(),
    batch=st.sampled_from([1, 20, 10**6]),
)
def test_between_two_slices_lies_the_line_through_both(n: int, step: int, view: str, turned: bool, batch: int) -> None:
    axis = AXES[view]
    shape = [3, 3, 3]
    shape[axis] = n
    volume = torch.rand(shape, generator=torch.Generator().manual_seed(n))
    codes = {"sagittal": "LAS", "coronal": "PRS", "axial": "IRA"}[view] if turned else None
    network = network_of(view, codes)
    found = run(network, volume, 0.5, coarse_spacing=0.5 * step, pixels_per_batch=batch).movedim(axis, 0).numpy()
    places = sorted({*range(0, n, step), n - 1})
    assert network.views[view].coarse.seen == len(places)
    known = torch.sigmoid(6.0 * (volume - 0.5)).movedim(axis, 0).numpy()[places].reshape(len(places), -1)
    expected = np.stack([np.interp(np.arange(n), places, column) for column in known.T], axis=1)
    np.testing.assert_allclose(found.reshape(n, -1), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("spacing", "coarse_spacing", "seen"),
    [
        (1.0, 3.0, 5),
        (1.0000001, 3.0, 5),
        (1.12, 3.0, 7),
        (3.0, 3.0, 12),
        (5.0, 3.0, 12),
        (None, 3.0, 12),
        (1.0, None, 12),
    ],
)
def test_the_step_follows_from_the_distance_of_slices(
    spacing: float | None, coarse_spacing: float | None, seen: int
) -> None:
    network = network_of("axial")
    run(network, torch.rand(4, 4, 12), spacing, coarse_spacing=coarse_spacing)
    assert network.views["axial"].coarse.seen == seen


def test_air_is_left_out_first() -> None:
    network, volume = network_of("axial"), torch.zeros(4, 4, 20)
    volume[1:3, 1:3, 5:12] = 0.9
    whole = run(network, volume, 1.0, air_threshold=0.1)
    network.views["axial"].coarse.seen = 0
    thin = run(network, volume, 1.0, air_threshold=0.1, coarse_spacing=2.0)
    assert network.views["axial"].coarse.seen == 4
    torch.testing.assert_close(thin, whole)


def test_slabs_of_several_slices_and_bad_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="this one takes 3: set it to None"):
        run(network_of("axial", slices=3), torch.rand(4, 4, 12), 1.0, coarse_spacing=3.0)
    with pytest.raises(ValueError, match="coarse_spacing must be above 0 mm, got 0"):
        CoarseToFineInferer(coarse_spacing=0.0)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from c2f_monai.transforms import axis_resampling
from c2f_monai.transforms.axis_resampling import axis_coordinates, resample_axes, resample_support


def test_axes_that_are_turned_or_sheared_have_no_coordinates_of_their_own() -> None:
    turned = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert axis_coordinates(np.eye(4), turned, (4, 4, 4), (4, 4, 4)) is None


@pytest.mark.parametrize("size", [(7, 3, 9), (3, 11, 4)])
def test_it_is_trilinear_interpolation(monkeypatch: pytest.MonkeyPatch, size: tuple[int, ...]) -> None:
    monkeypatch.setattr(axis_resampling, "PIECE", 2 * 5 * 6)
    volume = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    points = [np.linspace(0, n - 1, m) for n, m in zip((4, 5, 6), size, strict=True)]
    expected = torch.nn.functional.interpolate(volume[None], size=size, mode="trilinear", align_corners=True)[0]
    torch.testing.assert_close(resample_axes(volume, points), expected)


def test_the_support_gives_what_the_whole_gives() -> None:
    volume = torch.zeros(1, 9, 8, 7)
    volume[0, 3:6, 0:2, 5:7] = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    points = [np.linspace(0, n - 1, 3 * n) for n in (9, 8, 7)]
    torch.testing.assert_close(resample_support(volume, points), resample_axes(volume, points), atol=1e-6, rtol=0)
    assert not resample_support(torch.zeros(1, 9, 8, 7), points).any()

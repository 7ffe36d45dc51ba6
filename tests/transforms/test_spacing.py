# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd
from scipy import ndimage

from c2f_monai.transforms import ResampleToSpacingd, SmoothForSpacingd, axis_resampling, spacing, working_shape


@pytest.mark.parametrize(
    ("shape", "spacing", "pixdim", "expected"),
    [
        ((10, 11, 12), (2.0, 2.0, 2.0), (2.0, 2.0, 2.0), (10, 11, 12)),
        ((10, 11, 1), (3.0, 1.0, 5.0), (2.0, 2.0, 2.0), (15, 6, 1)),  # 27 / 2 and 10 / 2 steps: 13.5 and 5
        ((10,), (3.0 - 1e-6,), (2.0,), (15,)),
        ((10,), (3.0 + 1e-6,), (2.0,), (15,)),
        ((10,), (2.9,), (2.0,), (14,)),
        ((10,), (3.0,), (-1.0,), (10,)),
        ((10,), (3.0,), (0.0,), (10,)),
    ],
)
def test_extents_are_rounded_with_halves_up(shape, spacing, pixdim, expected) -> None:
    assert working_shape(shape, spacing, pixdim) == expected


def volume(scale: float = 1.0) -> MetaTensor:
    affine = torch.diag(torch.tensor([3.0 * scale, 2.5, 5.0 * scale, 1.0], dtype=torch.float64))
    return MetaTensor(torch.rand(1, 9, 8, 6, generator=torch.Generator().manual_seed(0)), affine=affine)


def test_away_from_halves_it_is_monais_spacing() -> None:
    ours, theirs = (t({"x": volume()})["x"] for t in (ResampleToSpacingd("x", [2.2] * 3), Spacingd("x", [2.2] * 3)))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.affine, theirs.affine)


@pytest.mark.parametrize("scale", [1.0 - 1e-7, 1.0, 1.0 + 1e-7])
def test_the_last_digits_of_an_affine_do_not_move_the_grid(scale: float) -> None:
    grid = ResampleToSpacingd("x", [2.0] * 3)({"x": volume(scale)})["x"]
    assert grid.shape == (1, 13, 10, 14)  # 24, 17.5 and 25 mm; 12.5 steps of the last axis count as 13


def test_the_inverse_leads_back_to_the_volumes_own_grid() -> None:
    transform = ResampleToSpacingd(["x"], [2.0] * 3, mode="bilinear")
    x = torch.linspace(0, 1, 9)[:, None, None] + torch.zeros(1, 9, 8, 6)
    source = MetaTensor(x, affine=volume().affine)
    back = transform.inverse(transform({"x": source}))["x"]
    assert back.shape == source.shape
    assert torch.allclose(back.affine, source.affine)
    assert torch.allclose(back.as_tensor(), x, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("pixdim", [[2.0] * 3, [3.0, 2.5, 5.0], [4.0, 2.5, 7.0], [4.0, 2.0, -1.0]])
def test_the_inverse_in_pieces_is_monais(monkeypatch: pytest.MonkeyPatch, rows: int, pixdim: list[float]) -> None:
    source = volume()
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    source.affine = turn @ source.affine
    monkeypatch.setattr(axis_resampling, "PIECE", rows * 8 * 6)
    ours = ResampleToSpacingd(["x"], pixdim, mode="bilinear")
    grid = ours({"x": source})["x"]
    expected = ours.spacing_transform.inverse(copy.deepcopy(grid))
    back = ours.inverse({"x": grid})["x"]
    torch.testing.assert_close(back.as_tensor(), expected.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(back.affine, expected.affine)
    assert back.applied_operations == [] and back.shape == source.shape


def test_one_voxel_size_is_that_of_all_axes() -> None:
    one, three = (ResampleToSpacingd("x", pixdim)({"x": volume()})["x"] for pixdim in (2.2, [2.2] * 3))
    assert torch.equal(one.as_tensor(), three.as_tensor()) and torch.equal(one.affine, three.affine)


@pytest.mark.parametrize("none", [-1.0, 0.0])
def test_an_axis_without_a_voxel_size_keeps_its_slices(none: float) -> None:
    source = volume()
    transform = ResampleToSpacingd(["x"], [6.0, 5.0, none], mode="bilinear")
    grid = transform({"x": source})["x"]
    assert grid.shape == (1, 5, 5, 6) and grid.pixdim.tolist() == pytest.approx([6.0, 5.0, 5.0])
    assert torch.allclose(grid[0, 1, 1].as_tensor(), source[0, 2, 2].as_tensor(), atol=1e-5)
    back = transform.inverse({"x": grid})["x"]
    assert back.shape == source.shape and torch.allclose(back.affine, source.affine)


def noise(dtype: type = np.float32) -> MetaTensor:
    """A volume of 0.8 x 0.8 x 3 mm of noise."""
    values = np.random.default_rng(0).normal(40, 100, (1, 64, 64, 6)).astype(dtype)
    return MetaTensor(torch.from_numpy(values), affine=torch.diag(torch.tensor([0.8, 0.8, 3.0, 1.0]).double()))


def test_samples_of_a_blurred_volume_are_about_means_of_what_they_cover() -> None:
    source = noise()
    smooth = SmoothForSpacingd("x", (1.6, 1.6, -1.0))({"x": source})["x"]
    means = source.as_tensor().reshape(1, 32, 2, 32, 2, 6).mean((2, 4))
    fine = torch.nn.functional.interpolate(smooth.as_tensor().permute(0, 3, 1, 2), scale_factor=0.5, mode="bilinear")
    assert (fine.permute(0, 2, 3, 1) - means).std() < 0.5 * means.std()
    assert torch.allclose(smooth.mean(), source.mean(), atol=1.0)
    assert smooth.shape == source.shape and torch.equal(smooth.affine, source.affine)
    assert torch.equal(source.as_tensor(), noise().as_tensor())  # the volume that came in is as it was


@pytest.mark.parametrize(
    ("pixdim", "blurred"),
    [((1.6, -1.0, -1.0), [0]), ((0.8, 0.4, 3.0), []), ((0.5, 0.5, 6.0), [2]), ((2.0, 2.0, 6.0), [0, 1, 2])],
)
def test_only_axes_whose_voxels_become_larger_are_blurred(pixdim: tuple[float, ...], blurred: list[int]) -> None:
    source = noise(np.int16)
    smooth = SmoothForSpacingd("x", pixdim)({"x": source})["x"]
    assert smooth.dtype == torch.int16
    # Differences of neighbors shrink along the axes that are blurred, and there alone.
    for axis in range(3):
        pair = [
            torch.diff(volume.float().as_tensor(), dim=axis + 1).std() / volume.float().std()
            for volume in (smooth, source)
        ]
        assert (pair[0] < 0.95 * pair[1]) == (axis in blurred)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 1, 3)])  # of the axes in memory
@pytest.mark.parametrize("piece", [1, 64 * 6 * 5, 10**6])
def test_a_blur_is_scipys_with_the_border_repeated(
    monkeypatch: pytest.MonkeyPatch, piece: int, order: tuple[int, ...]
) -> None:
    monkeypatch.setattr(spacing, "_PIECE", piece)
    source = noise()
    expected = source.numpy()
    for axis, factor in ((1, 2.0), (2, 5.0), (3, 2.0)):
        sigma = np.sqrt((factor**2 - 1) / 12)
        expected = ndimage.gaussian_filter1d(expected, sigma, axis, mode="nearest", truncate=4.0)
    turned = source.permute(order).contiguous().permute(np.argsort(order).tolist())
    smooth = SmoothForSpacingd("x", (1.6, 4.0, 6.0))({"x": turned})["x"]
    torch.testing.assert_close(smooth.as_tensor(), torch.from_numpy(expected), atol=1e-3, rtol=0)
    assert smooth.stride() == turned.stride()


def test_whole_numbers_are_left_alone_where_no_blur_could_change_one() -> None:
    source = noise(np.int16)
    assert SmoothForSpacingd("x", (0.9, 0.85, -1.0))({"x": source})["x"] is source  # shares of 1e-11 and less
    edge = MetaTensor(torch.tensor([0, 0, 3000, 3000], dtype=torch.int16).reshape(1, 4, 1, 1), affine=source.affine)
    smooth = SmoothForSpacingd("x", (1.085, -1.0, -1.0))({"x": edge})["x"]  # a share of 7.7e-4 of 3000
    assert smooth.flatten().tolist() == [0, 2, 2998, 3000]


def test_an_axis_without_a_voxel_size_is_not_blurred_however_thin_its_slices_are() -> None:
    source = noise()
    source.affine = torch.diag(torch.tensor([0.8, 0.8, 0.4, 1.0]))
    assert SmoothForSpacingd("x", (0.8, 0.8, -1.0))({"x": source})["x"] is source
    smooth, thick = (SmoothForSpacingd("x", (1.6, 0.8, last))({"x": source})["x"] for last in (-1.0, 0.4))
    assert torch.equal(smooth.as_tensor(), thick.as_tensor()) and not torch.equal(smooth, source)


def test_a_blur_needs_a_voxel_size() -> None:
    with pytest.raises(ValueError, match="x must be a MetaTensor to have a voxel size, got Tensor"):
        SmoothForSpacingd("x", (2.0, 2.0, 2.0))({"x": torch.zeros(1, 2, 2, 2)})

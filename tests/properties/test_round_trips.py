# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes of any shape, orientation and voxel size on their way to the working grid, and back to their own."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Invertd
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from c2f_monai.data import image_preprocessing, volume_of
from c2f_monai.transforms import ResampleToSpacingd, working_shape
from tests.properties.strategies import ORIENTATIONS, examples, noise, shapes


def voxel_sizes() -> st.SearchStrategy[tuple[float, ...]]:
    """mm along three axes, of scanners."""
    return st.tuples(*[st.one_of(st.sampled_from([0.5, 0.8, 1.0, 2.5, 5.0]), st.floats(0.3, 8.0))] * 3)


@st.composite
def working_sizes(draw: st.DrawFn, sizes: tuple[float, ...]) -> list[float]:
    """Voxel sizes of a working grid that has not many more voxels; -1 keeps the file's."""
    factors = st.one_of(st.none(), st.sampled_from([0.5, 1.0, 2.0]), st.floats(0.5, 5.0))
    return [-1.0 if (factor := draw(factors)) is None else factor * size for size in sizes]


def turned(codes: str, volume: torch.Tensor, sizes: tuple[float, ...], angle: float = 0.0) -> tuple[Any, np.ndarray]:
    """A RAS volume as a file in another orientation holds it, on an oblique grid: array and affine."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([*sizes, 1.0])
    affine[:3, 3] = (-31.0, 17.5, -400.0)
    way = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    array = apply_orientation(volume.numpy(), way)
    return np.ascontiguousarray(array), affine @ inv_ornt_aff(way, volume.shape)


def back(image: MetaTensor, values: torch.Tensor, preprocessing: Any) -> MetaTensor:
    """What the bundle does with an answer on the working grid."""
    inverse = Invertd("pred", preprocessing, "image", nearest_interp=False, to_tensor=True)
    pred = MetaTensor(values).copy_meta_from(image)
    return inverse({"image": image, "pred": pred})["pred"]


@examples(40)
@given(st.sampled_from(ORIENTATIONS), shapes(), voxel_sizes(), st.floats(-0.4, 0.4), st.integers(0, 9))
def test_orientation_there_and_back(
    codes: str, shape: tuple[int, ...], sizes: tuple[float, ...], angle: float, seed: int
) -> None:
    """However a volume lies in its file, the same RAS volume comes out, and its voxels go back where they were."""
    volume = (noise(shape, seed) * 2000 - 1000).round().to(torch.int16)
    array, affine = turned(codes, volume, sizes, angle)
    assert "".join(nib.aff2axcodes(affine)) == codes
    preprocessing = image_preprocessing(None)
    image = preprocessing({"image": volume_of(array, affine)})["image"]
    assert torch.equal(image[0].as_tensor(), volume)
    found = back(image, image.as_tensor(), preprocessing)
    assert np.array_equal(found[0].numpy(), array)
    np.testing.assert_allclose(found.affine.numpy(), affine, atol=1e-4)


@examples(25)
@given(st.data(), st.sampled_from(ORIENTATIONS), shapes(voxels=4000), voxel_sizes(), st.integers(0, 9), st.booleans())
def test_the_working_grid_does_not_depend_on_how_a_file_stores_its_volume(
    data: st.DataObject, codes: str, shape: tuple[int, ...], sizes: tuple[float, ...], seed: int, antialias: bool
) -> None:
    pixdim = data.draw(working_sizes(sizes))
    volume = (noise(shape, seed) * 2000 - 1000).round().to(torch.int16)
    preprocessing = image_preprocessing(pixdim, antialias=antialias)
    image, plain = (
        preprocessing({"image": volume_of(*turned(each, volume, sizes))})["image"] for each in (codes, "RAS")
    )
    assert image.shape[1:] == plain.shape[1:] == working_shape(shape, sizes, pixdim)
    torch.testing.assert_close(image.affine, plain.affine, atol=1e-4, rtol=0)
    torch.testing.assert_close(image.as_tensor(), plain.as_tensor(), atol=0.5, rtol=0)


@examples(30)
@given(st.data(), st.sampled_from(ORIENTATIONS), shapes(voxels=4000), voxel_sizes(), st.floats(-0.4, 0.4))
def test_answers_go_back_to_the_grid_of_the_file(
    data: st.DataObject, codes: str, shape: tuple[int, ...], sizes: tuple[float, ...], angle: float
) -> None:
    """Nothing stays nothing, everything stays everything, and probabilities stay in [0, 1]."""
    pixdim = data.draw(working_sizes(sizes))
    preprocessing = image_preprocessing(pixdim)
    array, affine = turned(codes, torch.zeros(shape, dtype=torch.int16), sizes, angle)
    image = preprocessing({"image": volume_of(array, affine)})["image"]
    assert torch.equal(image.as_tensor(), torch.zeros_like(image.as_tensor()))
    for value in (0.0, 1.0):
        found = back(image, torch.full(image.shape, value), preprocessing)
        assert found.shape[1:] == array.shape
        np.testing.assert_allclose(found.affine.numpy(), affine, atol=1e-3)
        assert found.as_tensor().sub(value).abs().max() < 1e-5
    between = back(image, noise(tuple(image.shape), 0), preprocessing).as_tensor()
    assert 0 <= between.min() and between.max() <= 1


@examples(30)
@given(st.data(), shapes(voxels=4000), voxel_sizes(), st.tuples(*[st.floats(-1, 1)] * 3))
def test_spacing_there_and_back_keeps_what_is_linear(
    data: st.DataObject, shape: tuple[int, ...], sizes: tuple[float, ...], slope: tuple[float, ...]
) -> None:
    """A ramp: exact in the grid's inside, at most half a voxel of the working grid wrong behind its last voxel."""
    pixdim = data.draw(working_sizes(sizes))
    grid = torch.meshgrid(*[torch.arange(n) * size for n, size in zip(shape, sizes, strict=True)], indexing="ij")
    ramp = sum(each * axis for each, axis in zip(slope, grid, strict=True))
    source = MetaTensor(ramp[None].float(), affine=torch.diag(torch.tensor([*sizes, 1.0]).double()))
    transform = ResampleToSpacingd(["x"], pixdim, mode="bilinear")
    resampled = transform({"x": source})["x"]
    assert resampled.shape[1:] == working_shape(shape, sizes, pixdim)
    assert resampled[0, 0, 0, 0].item() == pytest.approx(source[0, 0, 0, 0].item(), abs=1e-3)
    found = transform.inverse({"x": resampled})["x"]
    assert found.shape == source.shape and torch.allclose(found.affine, source.affine, atol=1e-4)
    grown = [size if new < 0 else new for size, new in zip(sizes, pixdim, strict=True)]
    error = sum(abs(each) * new * 0.51 for each, new in zip(slope, grown, strict=True))
    assert (found - source).abs().max().item() <= error + 1e-2
    # Exact is what lies between two voxels of the working grid that are not behind the volume's last one.
    last = [
        int((np.ceil(np.arange(n) * size / new - 1e-6) * new <= (n - 1) * size + 1e-6).sum())
        for n, size, new in zip(shape, sizes, grown, strict=True)
    ]
    inside = (0, *(slice(0, end) for end in last))
    assert (found - source).as_tensor()[inside].abs().max().item() < 1e-2

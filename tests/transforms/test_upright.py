# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes turned upright, and masks back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from c2f_monai.transforms import ResampleToSpacingd, TurnUprightd, axes_angles, upright, upright_grid

SPACING = (1.0, 1.0, 2.0)
SHAPE = (24, 20, 12)


def grid(turn: np.ndarray, shear: float = 0.0) -> np.ndarray:
    """An affine whose axes are turned, and whose slices are shifted by ``shear`` mm from one to the next."""
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING)
    affine[:3, 2] += shear * turn[:, 1]
    affine[:3, 3] = (-30.0, 12.0, 100.0)
    return affine


def turned_about(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def places(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """World coordinates of the voxels, (H, W, D, 3)."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def ball(affine: np.ndarray, shape: tuple[int, ...] = SHAPE, radius: float = 6.0) -> MetaTensor:
    """50 HU within a ball about the volume's middle, -1000 around it."""
    where = places(affine, shape)
    middle = where.reshape(-1, 3).mean(axis=0)
    inside = np.linalg.norm(where - middle, axis=-1) <= radius
    values = np.where(inside, 50, -1000).astype(np.int16)[None]
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


def center(volume: torch.Tensor, above: float) -> np.ndarray:
    array = np.asarray(volume)[0] > above
    return places(np.asarray(volume.affine), array.shape)[array].mean(axis=0)


@pytest.mark.parametrize(
    ("turn", "shear", "expected"),
    [
        (turned_about("z", 0), 0.0, (0.0, 0.0)),
        (turned_about("z", 30), 0.0, (30.0, 0.0)),
        (turned_about("x", 60), 0.0, (30.0, 0.0)),  # 30 degrees from the next axis of the body
        (turned_about("z", 0), 2 * math.tan(math.radians(15)), (15.0, 15.0)),
    ],
)
def test_axes_angles(turn: np.ndarray, shear: float, expected: tuple[float, float]) -> None:
    assert axes_angles(grid(turn, shear)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 15, 24])
def test_a_body_that_lies_a_little_askew_stays_as_it_is(degrees: float) -> None:
    volume = ball(grid(turned_about("z", degrees)))
    transform = TurnUprightd("image")
    data = transform({"image": volume})
    assert torch.equal(data["image"], volume) and torch.equal(data["image"].affine, volume.affine)
    back = transform.inverse(data)["image"]
    assert torch.equal(back, volume) and back.applied_operations == []
    assert back.data_ptr() == volume.data_ptr()  # without a copy of a whole CT


@pytest.mark.parametrize(("turn", "shear"), [(turned_about("z", 40), 0.0), (turned_about("z", 0), 0.5)])
def test_upright_volumes_hold_the_body_at_its_place(turn: np.ndarray, shear: float) -> None:
    volume = ball(grid(turn, shear))
    upright = TurnUprightd("image")({"image": volume})["image"]
    assert upright.dtype == torch.int16
    assert axes_angles(upright.affine) == pytest.approx((0.0, 0.0), abs=1e-6)
    np.testing.assert_allclose(upright.affine.diagonal()[:2], SPACING[:2], rtol=1e-6)
    np.testing.assert_allclose(center(upright, -500), center(volume, -500), atol=0.3)
    corners = torch.stack([upright[0, i, j, k] for i in (0, -1) for j in (0, -1) for k in (0, -1)])
    assert corners.min() == -1024 and corners.max() <= -1000


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-44, 44)] * 3), st.floats(-0.9, 0.9))
def test_upright_grids_cover_the_volume(angles: tuple[float, ...], shear: float) -> None:
    affine = grid(Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), shear)
    upright, shape = upright_grid(affine, SHAPE)
    voxels = places(np.linalg.inv(upright) @ affine, SHAPE).reshape(-1, 3)
    assert voxels.min() >= -1e-2 and (voxels <= np.array(shape) - 1 + 1e-2).all()
    assert (np.array(shape) - 1 - voxels.max(axis=0) < 1).all()


def test_masks_lead_back_to_the_file() -> None:
    affine = grid(turned_about("x", 35), 0.4)
    volume = ball(affine)
    transform = TurnUprightd(["image", "label"], mode=["bilinear", "nearest"], allow_missing_keys=True)
    label = MetaTensor((volume > -500).to(torch.uint8) * 3, meta=volume.meta)
    data = transform({"image": volume, "label": label})
    assert data["image"].shape == data["label"].shape
    assert set(data["label"].unique().tolist()) == {0, 3}
    probability = (data["image"] > -500).float()
    back = transform.inverse({"image": probability.copy_meta_from(data["image"])})["image"]
    assert back.shape == volume.shape
    np.testing.assert_allclose(back.affine, affine)
    found, truth = back > 0.5, label > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


@pytest.mark.parametrize(("mode", "values"), [("nearest", {0.0, 1.0}), ("bilinear", None)])
def test_the_way_back_has_the_mode_of_the_way_there(mode: str, values: set[float] | None) -> None:
    mask = (ball(grid(turned_about("z", 40))) > 0).float()
    transform = TurnUprightd("mask", mode=mode)
    back = set(transform.inverse(transform({"mask": mask}))["mask"].unique().tolist())
    assert back == values if values else len(back) > 10


def test_parts_make_the_same_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = ball(grid(turned_about("z", 40)))
    whole = TurnUprightd("image")({"image": volume})["image"]
    monkeypatch.setattr(upright, "PART_VOXELS", 3 * whole[0, 0].numel())
    assert torch.equal(TurnUprightd("image")({"image": volume})["image"], whole)


def test_noise_in_a_header_does_not_move_the_working_grid() -> None:
    affine = grid(np.eye(3))
    noise = affine.copy()
    noise[:3, :3] += np.random.default_rng(0).normal(0, 2e-4, (3, 3))
    resample = ResampleToSpacingd("image", pixdim=(0.8, 0.8, -1.0))
    plain, other = (resample({"image": ball(matrix).float()})["image"] for matrix in (affine, noise))
    assert plain.shape == other.shape
    np.testing.assert_allclose(plain.affine[:3, 3], other.affine[:3, 3], atol=1e-6)
    assert (plain - other).abs().max() < 25

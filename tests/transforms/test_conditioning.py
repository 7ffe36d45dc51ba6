# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor

from c2f_monai.transforms import ConditionOnOrgan, ConditionOnOrgand, condition_on_organ, organ_box
from c2f_monai.utils import scale_to_unit


def brute_force(organ: np.ndarray, distance: float, spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Whether some voxel j with P_j > 0.5 has |i - j| < t, pair by pair."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in organ.shape), indexing="ij"), -1) * np.asarray(spacing)
    near = np.zeros(organ.shape, bool)
    for j in grid[organ > 0.5]:
        near |= np.sqrt(((grid - j) ** 2).sum(-1)) < distance
    return near


def organ_at(shape, *voxels, value=1.0) -> torch.Tensor:
    organ = torch.zeros(1, *shape)
    for voxel in voxels:
        organ[(0, *voxel)] = value
    return organ


@settings(max_examples=60, deadline=None)
@given(
    organ=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
        elements=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.5, 0.7]),
    ),
    distance=st.sampled_from([0.5, 1.0, np.sqrt(2.0), 2.0, 3.0, 5.0, 100.0]),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.0])] * 3),
    millimetres=st.booleans(),
)
def test_equals_the_distance_of_every_pair_of_voxels(organ, distance, spacing, millimetres) -> None:
    image = np.arange(1, organ.size + 1, dtype=np.float32).reshape(1, *organ.shape)
    arguments = {"distance_mm": distance, "spacing": spacing} if millimetres else {"distance_voxels": distance}
    found = condition_on_organ(image, organ[None], outside=-100.0, **arguments)
    near = brute_force(organ, distance, spacing if millimetres else (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(found, np.where(near, image, -100.0))
    tensor = condition_on_organ(torch.from_numpy(image), torch.from_numpy(organ), outside=-100.0, **arguments)
    np.testing.assert_array_equal(tensor.numpy(), found)


@pytest.mark.parametrize(
    ("place", "near"),
    [
        ((35, 20, 20), False),  # |i - j| = 15 exactly: not less than t
        ((34, 20, 20), True),
        ((29, 32, 20), False),  # 9, 12 -> 15
        ((29, 31, 20), True),
        ((30, 30, 25), False),  # 10, 10, 5 -> 15
        ((30, 30, 24), True),
    ],
)
def test_fifteen_voxels_are_the_default_and_the_distance_is_strict(place, near) -> None:
    image = torch.full((1, 40, 40, 40), 30.0)
    found = condition_on_organ(image, organ_at((40, 40, 40), (20, 20, 20)))
    assert float(found[(0, *place)]) == (30.0 if near else -100.0)


def test_half_is_not_enough() -> None:
    image = torch.full((1, 3, 3, 3), 30.0)
    assert (condition_on_organ(image, organ_at((3, 3, 3), (1, 1, 1), value=0.5)) == -100).all()
    assert (condition_on_organ(image, organ_at((3, 3, 3), (1, 1, 1), value=0.51)) == 30).all()


def test_outside_is_the_bottom_of_the_scaled_range_and_the_input_stays() -> None:
    image = torch.full((1, 9, 1, 1), 70.0)
    found = ConditionOnOrgan(distance_voxels=2, outside=-100.0)(image, organ_at((9, 1, 1), (4, 0, 0)))
    assert scale_to_unit(found).flatten().tolist() == [0, 0, 0, 0.5, 0.5, 0.5, 0, 0, 0]
    assert (image == 70).all()


def test_millimetres_go_by_the_images_voxel_size() -> None:
    image = MetaTensor(torch.full((1, 9, 9, 9), 70.0), affine=torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0])))
    organ = organ_at((9, 9, 9), (4, 4, 4))
    found = ConditionOnOrgan(distance_mm=4.0)(image, organ)
    assert isinstance(found, MetaTensor) and found.affine[0, 0] == 3
    near = found[0] == 70
    # Strictly under 4 mm: one voxel of 3 mm, one of 2 mm (two are 4 mm), three of 1 mm.
    assert [int(near[:, 4, 4].sum()), int(near[4, :, 4].sum()), int(near[4, 4, :].sum())] == [3, 3, 7]
    np.testing.assert_array_equal(near.numpy(), brute_force(organ[0].numpy(), 4.0, (3.0, 2.0, 1.0)))


def test_the_organs_label_values_are_joined_and_the_label_stays() -> None:
    label = torch.tensor([0.0, 1, 0, 0, 0, 0, 2, 0, 3]).reshape(1, 9, 1, 1)
    data = {"image": torch.full((1, 9, 1, 1), 5.0), "label": label, "name": "x"}
    out = ConditionOnOrgand("image", "label", organ_value=[1, 2], distance_voxels=1.5, outside=0.0)(data)
    assert out["image"].flatten().tolist() == [5, 5, 5, 0, 0, 5, 5, 5, 0]
    assert out["label"] is label and out["name"] == "x"
    assert (data["image"] == 5).all()


def test_channels_of_the_organ_are_joined_and_integers_stay_integers() -> None:
    organ = torch.cat([organ_at((5, 1, 1), (0, 0, 0)), organ_at((5, 1, 1), (4, 0, 0))])
    found = condition_on_organ(torch.full((2, 5, 1, 1), 7, dtype=torch.int16), organ, distance_voxels=1)
    assert found.dtype == torch.int16
    assert found[1].flatten().tolist() == [7, -100, -100, -100, 7]


def test_without_the_organ_nothing_is_left() -> None:
    image = torch.rand(1, 4, 4, 4)
    assert (condition_on_organ(image, torch.zeros(1, 4, 4, 4), outside=0.0) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance_voxels": 0}, "distance_voxels must be above 0, got 0"),
        ({"distance_voxels": None}, "give distance_voxels or distance_mm, got None for both"),
        ({"distance_mm": -1.0}, r"distance_mm must be above 0, got -1\.0"),
        ({"distance_mm": 3.0}, "distance_mm needs the spacing"),
        ({"organ": torch.zeros(1, 4, 4, 5)}, r"shapes \(1, 4, 4, 4\) and \(1, 4, 4, 5\)"),
        ({"organ": torch.zeros(1, 1, 4, 4, 4)}, r"got the shapes \(1, 4, 4, 4\) and \(1, 1, 4, 4, 4\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        condition_on_organ(**{"image": torch.zeros(1, 4, 4, 4), "organ": torch.zeros(1, 4, 4, 4), **arguments})


def test_the_dictionary_transform_names_the_file() -> None:
    image = MetaTensor(torch.zeros(1, 4, 4, 4), meta={"filename_or_obj": "ct.nii.gz"})
    with pytest.raises(ValueError, match=r"ct\.nii\.gz: .* must lie on one grid"):
        ConditionOnOrgand("image", "organ")({"image": image, "organ": torch.zeros(1, 4, 4, 5)})
    with pytest.raises(ValueError, match="needs a MetaTensor with a voxel size, got Tensor"):
        ConditionOnOrgand("image", "organ", distance_mm=2.0)(
            {"image": torch.zeros(1, 2, 2, 2), "organ": torch.zeros(1, 2, 2, 2)}
        )
    with pytest.raises(ValueError, match="label values must be whole numbers from 1 to 255, got 0"):
        ConditionOnOrgand("image", "organ", organ_value=0)


@settings(max_examples=40, deadline=None)
@given(
    organ=hnp.arrays(np.float32, (6, 7, 8), elements=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.7])),
    distance=st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.0, 100.0]),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 2.0])] * 3),
)
def test_the_box_is_that_of_what_is_near(organ, distance, spacing) -> None:
    near = brute_force(organ, distance, spacing)
    found = organ_box(organ, distance_mm=distance, spacing=spacing)
    if not near.any():
        assert found is None
    else:
        assert found == tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(near))


def test_crop_cuts_image_and_organ_to_the_box_and_comes_back() -> None:
    """The organ's voxels 20..22 along each axis of 2 mm; t of 6 mm is strict: two voxels on each side."""
    image = MetaTensor(torch.arange(40.0**3).reshape(1, 40, 40, 40), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    label = MetaTensor(torch.zeros(1, 40, 40, 40), affine=image.affine)
    label[0, 20:23, 20:23, 20:23] = 1
    label[0, 21, 21, 21] = 2
    crop = ConditionOnOrgand("image", "label", [1, 2], distance_mm=6.0, region="crop")
    found = crop({"image": image, "label": label})
    assert found["image"].shape == found["label"].shape == (1, 7, 7, 7)
    assert torch.equal(found["image"].as_tensor(), image.as_tensor()[:, 18:25, 18:25, 18:25])  # nothing is hidden
    assert torch.equal(found["label"].as_tensor(), label.as_tensor()[:, 18:25, 18:25, 18:25])
    assert found["image"].affine[:3, 3].tolist() == [36.0, 36.0, 36.0]
    back = crop.inverse({"image": found["image"]})["image"]
    assert back.shape == image.shape and float(back.sum()) == float(found["image"].sum())
    assert torch.equal(back.as_tensor()[:, 18:25, 18:25, 18:25], found["image"].as_tensor())


def test_without_the_organ_crop_cuts_nothing_and_leaves_nothing() -> None:
    image, label = (MetaTensor(torch.full((1, 6, 6, 6), value)) for value in (50.0, 0.0))
    crop = ConditionOnOrgand("image", "label", 1, distance_voxels=2, region="crop")
    found = crop({"image": image, "label": label})
    assert found["image"].shape == (1, 6, 6, 6) and (found["image"] == -100).all()
    assert crop.inverse({"image": found["image"]})["image"].shape == (1, 6, 6, 6)


def test_a_distance_is_refused_before_any_image_is_read() -> None:
    with pytest.raises(ValueError, match="distance_mm must be above 0, got -1"):
        ConditionOnOrgand("image", "organ", distance_mm=-1)


def test_another_region_is_refused() -> None:
    with pytest.raises(ValueError, match="'box' is not a valid OrganRegion"):
        ConditionOnOrgand("image", "label", 1, region="box")

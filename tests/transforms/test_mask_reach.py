# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks on the file's grid do not depend on what is left out of a probability."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from c2f_monai.data import image_preprocessing, volume_of
from c2f_monai.transforms import KeepNearMaskd, ToLabelMapd
from c2f_monai.transforms.axis_resampling import support_box

TURNED = [[0.0, -1.5, 0.0, 9.0], [0.8, 0.0, 0.5, -3.0], [0.4, 0.0, -4.0, 50.0], [0.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("top", [0.4, 0.4995, 0.51, 0.9])
@pytest.mark.parametrize("affine", [np.diag([-0.7, 0.7, 3.0, 1.0]), TURNED], ids=["upright", "turned"])
def test_masks_stay_the_same_voxel_for_voxel(affine: np.ndarray, top: float) -> None:
    """Of two classes, also where the axes are turned so that there is a grid between the two."""
    generator = torch.Generator().manual_seed(0)
    preprocessing = image_preprocessing((1.1, 0.9, 2.0))
    values = torch.randint(-500, 500, (24, 20, 16), generator=generator, dtype=torch.int16)
    data = preprocessing({"image": volume_of(values.numpy(), affine)})
    image = data["image"]
    probability = torch.rand((2, *image.shape[1:]), generator=generator) * 0.3
    middle = tuple(slice(n // 2 - 1, n // 2 + 3) for n in image.shape[1:])
    probability[(slice(None), *middle)] = top
    data["pred"] = MetaTensor(probability).copy_meta_from(image)
    masks = []
    invert, label_map = Invertd("pred", preprocessing, "image", nearest_interp=False), ToLabelMapd("pred", [1, 2])
    for case in (data, KeepNearMaskd("pred")(data)):
        masks.append(label_map(invert(dict(case)))["pred"].as_tensor())
    assert bool(masks[0].any()) == (top >= 0.5)
    assert torch.equal(*masks)


def test_what_nothing_depends_on_is_zero() -> None:
    meta = {"original_affine": torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0]))}
    volume = MetaTensor(
        torch.full((1, 20, 20, 20), 0.2), affine=torch.diag(torch.tensor([2.0, 1.0, 4.0, 1.0])), meta=meta
    )
    assert not KeepNearMaskd("pred")({"pred": volume})["pred"].any()
    volume[0, 10, 10, 10] = 0.6
    # One voxel, and 4 mm, which are 2, 4 and 1 voxels.
    assert support_box(KeepNearMaskd("pred")({"pred": volume})["pred"].as_tensor()) == ((7, 14), (5, 16), (8, 13))
    assert KeepNearMaskd("pred", threshold=0.7)({"pred": volume})["pred"].sum() == 0


def test_a_probability_of_no_file_stays() -> None:
    volume = torch.rand(1, 3, 3, 3)
    assert KeepNearMaskd("pred")({"pred": volume})["pred"] is volume

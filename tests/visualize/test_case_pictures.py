# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from c2f_monai.visualize import case_pictures


def volume(values: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values)[None], affine=torch.diag(torch.tensor([*spacing, 1.0])))


def picture(url: str) -> Image.Image:
    kind, content = url.split(";base64,")
    assert kind in ("data:image/webp", "data:image/png")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_stack_is_the_box_of_the_target_from_the_feet_up() -> None:
    mask = np.zeros((40, 30, 20), np.uint8)
    mask[20:24, 10:14, 8:10] = 2
    found = case_pictures(volume(np.full(mask.shape, 70.0, np.float32)), volume(mask), margin=4.0)
    stack = found.stack
    # 4 mm are 4 voxels along x and y and 2 along z.
    assert (stack.width, stack.height, stack.depth) == (12, 12, 20)
    assert stack.indices == [6, 7, 8, 9, 10, 11] and stack.columns == 3
    gray, red = np.asarray(picture(stack.gray).convert("L")), np.asarray(picture(stack.mask).convert("RGBA"))
    assert gray.shape == (24, 36) and abs(gray.astype(int) - 128).max() <= 2  # 70 HU is the middle of the window
    tiles = [red[12 * (n // 3) :, 12 * (n % 3) :][:12, :12] for n in range(6)]
    assert [int((tile[..., 3] > 0).sum()) for tile in tiles] == [0, 0, 16, 16, 0, 0]
    assert tiles[2][5, 5].tolist() == [255, 38, 38, 115]


def test_right_of_the_patient_is_left_and_front_is_up() -> None:
    mask = np.zeros((20, 20, 4), np.uint8)
    mask[4:12, 4:12, 1:3] = 1
    ct = np.full(mask.shape, -100.0, np.float32)
    ct[15:, 15:] = 240.0  # right front
    stack = case_pictures(volume(ct), volume(mask), margin=40.0).stack
    tile = np.asarray(picture(stack.gray).convert("L"))[:20, :20]
    corners = {"right front": tile[1:4, 1:4], "left front": tile[1:4, -4:-1], "left back": tile[-4:-1, -4:-1]}
    assert {name: bool(corner.mean() > 128) for name, corner in corners.items()} == {
        "right front": True,
        "left front": False,
        "left back": False,
    }


def test_voxels_that_are_not_square_become_square_pixels() -> None:
    mask = np.zeros((30, 30, 10), np.uint8)
    mask[10:20, 10:20, 4:6] = 1
    found = case_pictures(
        volume(np.zeros(mask.shape, np.float32), (1.0, 2.0, 3.0)), volume(mask, (1.0, 2.0, 3.0)), margin=0.0
    )
    assert (found.stack.width, found.stack.height) == (10, 20)
    sizes = {view: picture(url).size for view, url in found.views.items()}
    assert sizes == {"axial": (48, 96), "coronal": (96, 58), "sagittal": (96, 29)}


def test_without_a_target_the_whole_volume_is_shown() -> None:
    empty = np.zeros((300, 200, 100), np.uint8)
    stack = case_pictures(volume(empty.astype(np.float32)), volume(empty)).stack
    assert (stack.width, stack.height) == (224, 149)
    assert len(stack.indices) == 24 and stack.indices[0] == 0 and stack.indices[-1] == 99
    assert picture(stack.mask).convert("RGBA").getextrema()[3] == (0, 0)


def test_a_mask_of_another_image_is_refused() -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="the mask is 4x4x4 voxels and the image 4x4x5"):
        case_pictures(volume(np.zeros((4, 4, 5), np.float32)), volume(mask))

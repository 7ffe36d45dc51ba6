# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Soft tissue moves to another phase; what contrast medium does not reach stays."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose

from c2f_monai.transforms import RandContrastPhased
from c2f_monai.transforms.contrast_phase import change_phase


@pytest.mark.parametrize(
    ("hu", "level", "contrast", "expected"),
    [
        (88.0, 40.0, 0.3, 40.0),  # the reference goes to the level
        (150.0, 40.0, 0.3, 40.0 + 0.3 * 62.0),  # a vessel loses its contrast
        (10.0, 120.0, 1.2, 120.0 + 1.2 * -78.0),
        (-100.0, -20.0, 0.3, -100.0),  # fat
        (-1000.0, 140.0, 1.3, -1000.0),
        (300.0, 40.0, 0.3, 300.0),  # bone
        (-35.0, 45.0, 1.0, -35.0 + 0.5 * -43.0),  # half fat, half tissue
    ],
)
def test_tissues(hu: float, level: float, contrast: float, expected: float) -> None:
    assert change_phase(torch.tensor(hu), level, contrast).item() == pytest.approx(expected)


def test_the_portal_venous_phase_is_none() -> None:
    hu = torch.linspace(-1000, 1000, 401)
    torch.testing.assert_close(change_phase(hu, 88.0, 1.0), hu)


def test_draws_are_those_of_the_seed_and_stay_in_range() -> None:
    image = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 16, 20)
    label[:, 4:12, 5:15] = 1.0
    data = {"image": image, "label": label}
    transform = Compose([RandContrastPhased("image", prob=1.0)])
    seen = [transform.set_random_state(seed)(data)["image"] for seed in (1, 1, 2)]
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert all(0.0 <= one.min() and one.max() <= 1.0 and one.shape == image.shape for one in seen)
    assert torch.equal(data["image"], image)
    never = Compose([RandContrastPhased("image", prob=0.0)]).set_random_state(1)(data)
    assert torch.equal(never["image"], image)


def test_the_target_moves_for_itself_without_an_edge() -> None:
    label = torch.zeros(3, 16, 20)
    label[1, 4:12, 5:15] = 1.0
    image = torch.full((1, 16, 20), 0.5)
    options = {"prob": 1.0, "level": (88.0, 88.0), "contrast": (1.0, 1.0)}
    alone = RandContrastPhased("image", **options).set_random_state(3)
    moved = alone({"image": image, "label": label})["image"][0] - 0.5
    assert moved[8, 10].abs() > 1e-3 and moved[0, 0].abs() < 1e-6
    assert 0 < (moved[8, 4] / moved[8, 10]) < 1  # beside the target
    still = RandContrastPhased("image", **options, label=None).set_random_state(3)
    torch.testing.assert_close(still({"image": image})["image"], image)


@pytest.mark.parametrize(("classes", "out_slices"), [(2, 3), (3, 1), (2, 1)])
def test_the_middle_slice_of_every_class_moves(classes: int, out_slices: int) -> None:
    label = torch.zeros(classes, out_slices, 16, 40)
    for number in range(classes):
        label[number, out_slices // 2, 5:11, 12 * number + 3 : 12 * number + 9] = 1.0
    label[:, :, 0] = 0.0 if out_slices == 1 else 1.0
    label[:, out_slices // 2, 0] = 0.0  # of the neighbors alone
    options = {"prob": 1.0, "level": (88.0, 88.0), "contrast": (1.0, 1.0), "out_slices": out_slices}
    moved = RandContrastPhased("image", **options).set_random_state(3)(
        {"image": torch.full((1, 16, 40), 0.5), "label": label.flatten(0, 1)}
    )["image"][0]
    found = {round(float(moved[8, 12 * number + 6]), 5) for number in range(classes)}
    assert len(found) == 1 and 0.5 not in found and moved[0, 0] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": (140.0, -20.0)}, r"level must be two increasing numbers, got \[140.0, -20.0\]"),
        ({"contrast": (0.0, 1.0)}, r"contrast must be above 0, got \[0.0, 1.0\]"),
        ({"window": (240.0, -100.0)}, "window must be two increasing HU values"),
    ],
)
def test_bad_arguments_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandContrastPhased("image", **options)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of whole batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from c2f_monai.transforms import SlabBatchAugmentation

#: Nothing is changed with these; each test sets what it looks at.
STILL: dict[str, Any] = {
    "zoom": (1.0, 1.0),
    "rotation": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "phase_prob": 0.0,
    "low_resolution_prob": 0.0,
    "noise_prob": 0.0,
    "gamma": (1.0, 1.0),
    "gain": 0.0,
    "offset": 0.0,
}


def batch(size: tuple[int, int] = (40, 48)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two slabs on a canvas of 64 x 64: a bright box of 8 x 12 pixels, which is the target, on gray."""
    image, label = torch.zeros(2, 1, 64, 64), torch.zeros(2, 1, 64, 64)
    image[:, :, : size[0], : size[1]] = 0.3
    image[:, :, 14:22, 18:30] = 0.8
    label[:, :, 14:22, 18:30] = 1.0
    return image, label, torch.tensor([size, size])


def run(seeds: list[int] | None = None, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return SlabBatchAugmentation(**(STILL | changes))(*batch(), torch.tensor([1, 2] if seeds is None else seeds))


def box_of(label: torch.Tensor) -> list[int]:
    rows, columns = label[0].any(1).nonzero().flatten(), label[0].any(0).nonzero().flatten()
    return [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]


def test_without_ranges_nothing_changes() -> None:
    image, label, _ = batch()
    found_image, found_label = run()
    torch.testing.assert_close(found_image, image, atol=1e-5, rtol=0)
    assert torch.equal(found_label, label)


def test_zoom_is_about_the_middle_of_the_slab_not_of_the_canvas() -> None:
    _, label = run(zoom=(2.0, 2.0))
    assert box_of(label[0]) == [8, 12, 24, 36]  # around row 20 and column 24, the middle of 40 x 48


def test_a_turn_keeps_the_area() -> None:
    _, label = run(rotation=1.5)
    assert label[0].sum().item() == pytest.approx(96, rel=0.08)
    assert not torch.equal(label[0], label[1])


def test_image_and_label_move_together_and_stay_on_their_slab() -> None:
    image, label = run(rotation=0.3, zoom=(0.8, 1.3), scale=0.1, shift=6.0)
    inside = label.bool() & (torch.nn.functional.max_pool2d(1.0 - label, 3, 1, 1) == 0)
    assert inside.sum() > 60
    assert (image[inside] > 0.75).all()
    assert not image[:, :, 40:].any()
    assert not image[:, :, :, 48:].any()


def test_draws_follow_each_slabs_own_seed() -> None:
    options: dict[str, Any] = {"rotation": 0.3, "zoom": (0.8, 1.3), "phase_prob": 1.0, "low_resolution_prob": 1.0}
    first, _ = run([5, 6], **options)
    second, _ = run([6, 5], **options)
    assert torch.equal(first[0], second[1])
    assert not torch.equal(first[0], first[1])


def test_intensities() -> None:
    image, _ = run(gain=0.2, offset=0.1, gamma=(0.7, 1.4), noise_prob=1.0)
    gray = image[0, 0, :10, :10]
    assert 0.0 <= image.min() <= image.max() <= 1.0
    assert gray.std() > 0.0  # noise
    assert not image[:, :, 40:].any()


def test_another_phase_moves_the_tissue_to_its_level() -> None:
    # Window [-100, 240]: 0.45 is 53 HU. Level 20 at contrast 1 moves the reference of 88 HU, and all tissue, by -68 HU.
    augmentation = SlabBatchAugmentation(
        **(STILL | {"phase_prob": 1.0, "level": (20.0, 20.0), "contrast": (1.0, 1.0), "target_shift": 0.0}),
        window=(-100.0, 240.0),
    )
    image = torch.full((1, 1, 32, 32), 0.45)
    found, _ = augmentation(image, torch.zeros_like(image), torch.tensor([[32, 32]]), torch.tensor([3]))
    torch.testing.assert_close(found * 340 - 100, torch.full_like(image, 53.0 - 68.0), atol=0.01, rtol=0)


def test_low_resolution_blurs_within_the_slab() -> None:
    image, label = run(low_resolution_prob=1.0, low_resolution=(0.2, 0.2))
    assert image[0, 0, 18, 24] < 0.79
    assert image[0, 0, 0, 0] == pytest.approx(0.3, abs=1e-5)
    assert torch.equal(label, batch()[1])


def test_low_resolution_has_the_sides_of_the_slab() -> None:
    """A tenth of 10 x 40 pixels is one row of four: columns still differ, rows do not."""
    image = torch.zeros(1, 1, 16, 48)
    image[0, 0, :10, :40] = torch.rand(10, 1) * 0.2 + torch.arange(40) / 50
    augmentation = SlabBatchAugmentation(**(STILL | {"low_resolution_prob": 1.0, "low_resolution": (0.1, 0.1)}))
    found, _ = augmentation(image, torch.zeros_like(image), torch.tensor([[10, 40]]), torch.tensor([1]))
    slab = found[0, 0, :10, :40]
    torch.testing.assert_close(slab, slab[:1].expand(10, 40), atol=1e-5, rtol=0)
    assert float(slab[0, 35] - slab[0, 5]) == pytest.approx(0.6, abs=0.03)


def test_the_canvas_around_a_slab_does_not_matter() -> None:
    image, label, size = batch()
    options = {"rotation": 0.7, "zoom": (0.8, 1.3), "scale": 0.1, "shift": 6.0, "low_resolution_prob": 0.5}
    augmentation, seeds = SlabBatchAugmentation(**(STILL | options)), torch.tensor([1, 2])
    narrow = augmentation(image, label, size, seeds)
    wide = augmentation(*(torch.nn.functional.pad(x, (0, 40, 0, 8)) for x in (image, label)), size, seeds)
    torch.testing.assert_close(wide[0][..., :64, :64], narrow[0], atol=1e-4, rtol=0)
    assert int((wide[1][..., :64, :64] != narrow[1]).sum()) <= 2  # a place between two pixels may be rounded


def test_bad_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match=r"zoom must be two increasing numbers above 0, got \[2.0, 1.0\]"):
        SlabBatchAugmentation(zoom=(2.0, 1.0))

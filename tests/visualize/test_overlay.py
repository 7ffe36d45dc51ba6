# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.image import imread
from monai.data import MetaTensor

from c2f_monai.visualize import COLORS, OverlayImage, overlay_figure, paint, save_overlay, target_region


def test_colours_by_hand() -> None:
    image = np.full((1, 4), 70.0)  # the middle of the window is 0.5 gray
    pred = np.array([[False, True, False, True]])
    truth = np.array([[False, False, True, True]])
    rgb = paint(image, pred, truth, window=(-100, 240), alpha=0.5)
    assert rgb[0, 0].tolist() == [0.5, 0.5, 0.5]
    for column, name in enumerate(("prediction", "truth", "overlap"), start=1):
        assert rgb[0, column] == pytest.approx([0.25 + 0.5 * c for c in COLORS[name]])


def test_without_a_truth_the_prediction_is_red() -> None:
    rgb = paint(np.full((1, 1), 240.0), np.array([[True]]), None, alpha=1.0)
    assert rgb[0, 0] == pytest.approx(COLORS["prediction"])


def test_values_outside_the_window_are_black_and_white() -> None:
    rgb = paint(np.array([[-1000.0, 3000.0]]), np.zeros((1, 2), bool))
    assert rgb[0].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.0, (slice(4, 6), slice(3, 4), slice(0, 1))),
        (4.0, (slice(2, 8), slice(0, 8), slice(0, 2))),  # 2, 4 and 1 voxels, clipped
    ],
)
def test_the_region_is_the_mask_and_a_margin_in_mm(margin: float, expected: tuple[slice, ...]) -> None:
    mask = np.zeros((10, 9, 8), bool)
    mask[4:6, 3, 0] = True
    assert target_region(mask, (2.0, 1.0, 4.0), margin) == expected


def test_an_empty_mask_shows_the_whole_volume() -> None:
    assert target_region(np.zeros((3, 4, 5), bool), (1, 1, 1), 10) == (slice(0, 3), slice(0, 4), slice(0, 5))
    figure = overlay_figure(np.zeros((3, 4, 5)), np.zeros((3, 4, 5), bool), None, (1, 1, 1))
    assert len(figure.axes) == 3


def test_the_views_are_turned_as_radiologists_look_at_them() -> None:
    image = np.full((4, 5, 6), -100.0)
    pred = np.zeros((4, 5, 6), bool)
    pred[1, 2, 3] = True
    image[1, 4, 3] = 240.0  # anterior of the target
    image[3, 2, 3] = 240.0  # right of it
    image[1, 2, 5] = 240.0  # above it
    figure = overlay_figure(image, pred, None, (1, 1, 1), margin=100)
    axial, coronal, sagittal = (np.asarray(axes.images[0].get_array())[..., 2] for axes in figure.axes)
    assert np.argwhere(axial == 1).tolist() == [[0, 2], [2, 0]]  # anterior at the top, right at the left
    assert np.argwhere(coronal == 1).tolist() == [[0, 2], [2, 0]]  # superior at the top, right at the left
    assert np.argwhere(sagittal == 1).tolist() == [[0, 2], [2, 0]]  # superior at the top, anterior at the left


def test_tensorboard_shows_the_sides_and_colors_of_the_png_files() -> None:
    """Prediction, truth and overlap in a slice that is its own mirror image in no direction."""
    image = torch.full((1, 5, 6, 4), 70.0)
    label, pred = torch.zeros_like(image), torch.zeros_like(image)
    label[0, 3, 1, 2] = label[0, 3, 2, 2] = pred[0, 3, 1, 2] = pred[0, 0, 5, 2] = 1
    label[0, 0, 0, 0] = 1  # less of it in another slice
    shown = {}
    writer = SimpleNamespace(add_image=lambda tag, x, step, dataformats: shown.update({(tag, step, dataformats): x}))
    inferer = SimpleNamespace(records=[SimpleNamespace(masks=[label > 0, pred > 0])])
    engine = Engine(lambda *_: None)
    OverlayImage(writer, inferer).attach(engine)
    engine.run([[{"image": image, "label_grid": label}], [{"image": image * 0, "label_grid": label}]], max_epochs=1)
    (pixels,) = shown.values()
    assert list(shown) == [("validation/overlay", 1, "HWC")]
    assert pixels.shape == (6, 5, 3)
    names = {(r, c): [n for n, x in COLORS.items() if np.allclose(pixels[r, c], 0.275 + 0.45 * np.array(x))]
             for r, c in np.argwhere(~np.isclose(pixels, 0.5).all(axis=-1)).tolist()}  # fmt: skip
    # Anterior (the sixth row) at the top, right (the fifth column) at the left.
    assert names == {(0, 4): ["prediction"], (4, 1): ["overlap"], (3, 1): ["truth"]}
    arrays = [np.asarray(x[0]) for x in (image, pred, label)]
    figure = overlay_figure(arrays[0], arrays[1] > 0, arrays[2] > 0, (1, 1, 1), margin=100)
    assert np.array_equal(np.asarray(figure.axes[0].images[0].get_array()), pixels)


@pytest.mark.parametrize("flip", [False, True])
def test_a_picture_is_written_for_any_orientation(tmp_path: Path, flip: bool) -> None:
    affine = (
        torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0])) if flip else torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0]))
    )
    image = torch.full((1, 20, 20, 10), 40.0)
    pred, label = torch.zeros_like(image), torch.zeros_like(image)
    pred[0, 5:12, 8:12, 4:6] = 1
    label[0, 8:15, 8:12, 4:6] = 1
    volumes = [MetaTensor(x, affine=affine) for x in (image, pred, label)]
    path = tmp_path / "out" / "case.png"
    save_overlay(path, *volumes)
    assert [entry.name for entry in path.parent.iterdir()] == ["case.png"]
    picture = imread(path)[..., :3].reshape(-1, 3)
    for color in COLORS.values():
        shown = 0.55 * (140 / 340) + 0.45 * np.asarray(color)
        assert (np.abs(picture - shown).max(axis=1) < 0.02).sum() > 100

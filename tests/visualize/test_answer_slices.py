# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slices that an evaluation keeps, and the figure of regions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from monai.data import MetaTensor

from c2f_monai.visualize import COLORS, AnswerSlices, read_answer_slice, regions_figure


def keep(folder: Path) -> None:
    """Truth of 4 x 4 x 2 voxels, 3 x 4 of it in slice 5; the coarse answer is half of it, and as much beside it."""
    truth = torch.zeros(1, 20, 20, 10)
    truth[0, 8:12, 8:12, 4:6] = 1
    truth[0, 8, 8:12, 4] = 0
    coarse = torch.zeros(1, 20, 20, 10, dtype=torch.bool)
    coarse[0, 10:14, 8:12, 4:6] = True
    image = MetaTensor(torch.full((1, 20, 20, 10), -100.0), affine=torch.diag(torch.tensor([2.0, 2, 3, 1])))
    inferer = SimpleNamespace(records=[SimpleNamespace(name="a", masks=[coarse, truth > 0])])
    batch = [{"image": image, "label_grid": MetaTensor(truth)}]
    AnswerSlices(inferer, str(folder))(SimpleNamespace(state=SimpleNamespace(batch=batch)))


def test_the_slice_with_most_truth_is_kept_with_both_answers(tmp_path: Path) -> None:
    keep(tmp_path)
    (kept,) = read_answer_slice(tmp_path).values()
    assert kept.image.shape == kept.truth.shape == (20, 20, 1)
    assert (kept.truth.sum(), kept.coarse.sum(), kept.answer.sum()) == (16, 16, 16)
    assert np.array_equal(kept.answer, kept.truth) and (kept.coarse & kept.truth).sum() == 8
    assert kept.spacing.tolist() == [2, 2, 3]
    # 28 voxels of truth, 32 of the coarse answer, 16 of both.
    assert np.allclose(kept.dsc, [2 * 16 / (28 + 32), 1])


def test_the_whole_slice_shows_the_coarse_answer_and_the_box_the_last(tmp_path: Path) -> None:
    keep(tmp_path)
    kept = read_answer_slice(tmp_path)["a"]
    figure = regions_figure({"a": {"whole image": (kept, False), "true box": (kept, True)}}, margin=4)
    whole, box = figure.axes
    assert [axes.get_title() for axes in (whole, box)] == ["a, whole image: DSC 0.533", "a, true box: DSC 1.000"]
    assert whole.get_images()[0].get_array().shape == (20, 20, 3)
    assert box.get_images()[0].get_array().shape == (8, 8, 3)  # 4 voxels and a margin of 2 on each side
    counts = [
        [
            int((np.abs(axes.get_images()[0].get_array() - 0.45 * np.array(color)) < 1e-5).all(-1).sum())
            for color in COLORS.values()
        ]
        for axes in (whole, box)
    ]
    assert counts == [[8, 8, 8], [0, 0, 16]]  # prediction, truth, overlap
    (drawn,) = whole.patches
    assert (drawn.get_width(), drawn.get_height()) == (8, 8) and not box.patches

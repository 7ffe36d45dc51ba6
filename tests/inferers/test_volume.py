# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer

from c2f_monai.inferers.volume import VolumeInferer


def _logits(x: torch.Tensor) -> torch.Tensor:
    """Foreground where the scaled image is above a half."""
    return 20 * (x - 0.5)


def _volume() -> torch.Tensor:
    """HU volume with two bright runs of 6 and 2 voxels, two voxels away from the border."""
    x = torch.full((1, 1, 16, 8, 8), -500.0)
    x[0, 0, 2:8, 2, 2] = 240.0
    x[0, 0, 2:4, 5, 5] = 1000.0
    return x


@pytest.mark.parametrize(("fraction", "voxels"), [(0.0, 8), (0.3, 8), (0.5, 6)])
def test_component_filter_sets_probabilities_to_zero_and_the_record_counts(fraction, voxels):
    inferer = VolumeInferer(SimpleInferer(), window=(-100, 240), component_fraction=fraction, keep_rounds=True)
    image = MetaTensor(_volume(), affine=2 * torch.eye(4), meta={"filename_or_obj": "x/case_1.nii.gz"})
    out = inferer(image, _logits)
    assert isinstance(out, MetaTensor) and out.dtype == torch.float32
    assert int((out >= 0.5).sum()) == voxels
    assert out[0, 0, 2, 2, 2] == pytest.approx(torch.sigmoid(torch.tensor(10.0)).item())
    assert (out[0, 0, 2, 5, 5] == 0) == (voxels == 6)
    (record,) = inferer.records
    (only,) = record.rounds
    assert (record.name, record.fine_rounds, record.flags) == ("case_1", 0, [])
    assert (only.voxels, only.dsc) == (voxels, None)
    assert only.ml == pytest.approx(voxels * 0.008)
    assert only.box[0] == (2, 8)
    torch.testing.assert_close(record.masks[0], torch.as_tensor(out[0] >= 0.5))


def test_cases_of_a_batch_are_independent():
    batch = torch.cat([_volume(), torch.full((1, 1, 16, 8, 8), -500.0)])
    inferer = VolumeInferer(SlidingWindowInferer((8, 8, 8), overlap=0.5, mode="gaussian"), window=(-100, 240))
    out = inferer(batch, _logits)
    torch.testing.assert_close(out[:1], inferer(_volume(), _logits))
    inferer(batch, _logits)
    assert [record.flags for record in inferer.records] == [[], ["nothing found"]]


@pytest.mark.parametrize(
    ("margin", "context", "voxels", "seen"),
    [
        (0, (1, 1, 1), 6, (6, 1, 1)),
        (2, (1, 1, 1), 6, (10, 5, 5)),
        (3, (1, 1, 1), 8, (11, 6, 6)),
        (0, (12, 4, 1), 6, (12, 4, 1)),
        (2, (20, 8, 6), 6, (16, 8, 6)),  # the second run is seen, but lies outside the box
        (None, (1, 1, 1), 8, (16, 8, 8)),
    ],
)
def test_the_oracle_box_is_the_truths_and_a_margin(margin, context, voxels, seen):
    shapes = []

    def logits(x: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(x.shape[2:]))
        return _logits(x)

    truth = torch.zeros(2, 1, 16, 8, 8)
    truth[0, 0, 2:8, 2, 2] = 1  # the second case has no truth: it is not run
    inferer = VolumeInferer(SimpleInferer(), window=(-100, 240), margin=margin, context=context)
    out = inferer(_volume().repeat(2, 1, 1, 1, 1), logits, label=truth)
    # The run of 2 voxels lies three voxels from the other in the plane; in the box the margin is cut at the border.
    assert shapes == [seen]
    assert [int((case >= 0.5).sum()) for case in out] == [voxels, 0]
    assert out[0, 0, 2, 2, 2] == out[0, 0, 7, 2, 2] == pytest.approx(torch.sigmoid(torch.tensor(10.0)).item())


def test_scaled_volumes_of_two_classes_have_a_record_of_both() -> None:
    volume = torch.zeros(1, 1, 16, 8, 8)
    volume[0, 0, 2:8, 2, 2], volume[0, 0, 2:4, 5, 5] = 0.6, 1.0
    inferer = VolumeInferer(SimpleInferer())
    out = inferer(volume, lambda x: 40 * torch.cat([0.15 - (x - 0.6).abs(), 0.15 - (x - 1.0).abs()], dim=1))
    assert [int((channel >= 0.5).sum()) for channel in out[0]] == [6, 2]
    (only,) = inferer.records[0].rounds
    assert (only.voxels, only.box) == (8, ((2, 8), (2, 6), (2, 6)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inferer": len}, TypeError, "got builtin_function_or_method"),
        ({"threshold": 1.0}, ValueError, "threshold .* got 1.0"),
        ({"margin": -1}, ValueError, "margin must be at least 0, got -1"),
        ({"context": (96, 0, 96)}, ValueError, r"context .* got \(96, 0, 96\)"),
        ({"component_fraction": 2.0}, ValueError, "component_fraction .* got 2.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        VolumeInferer(**{"inferer": SimpleInferer(), **arguments})

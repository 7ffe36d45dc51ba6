# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""CT drawn from label maps: seeded, every tissue within its ranges, pieces and contents where they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import LoadImage

from c2f_monai.transforms import TISSUES, RandSyntheticCT, Tissue
from c2f_monai.transforms.tissues import tissue_of_organ

PLAIN = {"air": Tissue((-1000.0, -1000.0), (0.0, 0.0)), "organ": Tissue((20.0, 60.0), (0.0, 0.0))}
SHARP = {"blur": (0.0, 0.0), "slice_blur": (0.0, 0.0), "noise": (0.0, 0.0)}


def _cube(side: int = 32, value: int = 1) -> torch.Tensor:
    """A cube of a label in the middle half of a volume."""
    labels = torch.zeros(1, side, side, side, dtype=torch.uint8)
    part = slice(side // 4, 3 * side // 4)
    labels[0, part, part, part] = value
    return labels


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_tissue_without_texture_is_one_number_of_its_range(seed: int) -> None:
    labels = _cube(16)
    image = RandSyntheticCT({0: "air", 1: "organ"}, PLAIN, **SHARP).set_random_state(seed)(labels)
    assert image[labels == 0].unique().tolist() == [-1000.0]
    (value,) = image[labels == 1].unique().tolist()
    assert 20.0 <= value <= 60.0


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_seed_is_an_image(seed: int) -> None:
    labels = _cube(16, 3)
    tissues = {0: "fat", 3: "bowel"}
    first, again, other = (RandSyntheticCT(tissues).set_random_state(s)(labels) for s in (seed, seed, seed + 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= -1024 and first.max() <= 3071


def test_the_next_call_draws_anew() -> None:
    draw = RandSyntheticCT({0: "air", 1: "liver"}).set_random_state(0)
    assert not torch.equal(draw(_cube(16)), draw(_cube(16)))


def test_pieces_take_their_share() -> None:
    table = {
        "air": PLAIN["air"],
        "fat": Tissue((-100.0, -100.0), (0.0, 0.0)),
        "gland": Tissue((80.0, 80.0), (0.0, 0.0), mixed="fat", share=(0.25, 0.25)),
    }
    labels = _cube(48)
    image = RandSyntheticCT({0: "air", 1: "gland"}, table, **SHARP).set_random_state(3)(labels)
    inside = image[labels == 1]
    # Each voxel is between both; a quarter of the volume is fat.
    assert inside.min() >= -100.0 and inside.max() <= 80.0
    assert float((inside < -10.0).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert image[labels == 0].unique().tolist() == [-1000.0]


def test_a_hollow_organ_has_a_wall_of_its_own() -> None:
    table = {
        "air": PLAIN["air"],
        "gas": Tissue((-900.0, -900.0), (0.0, 0.0)),
        "bowel": Tissue((50.0, 50.0), (0.0, 0.0), contents=("gas",)),
    }
    labels = _cube(32)
    image = RandSyntheticCT({0: "air", 1: "bowel"}, table, **SHARP).set_random_state(0)(labels)[0]
    assert image[16, 16, 16] == -900.0  # 8 mm below the surface
    assert image[8, 16, 16] == image[16, 16, 8] == 50.0
    assert set(image.unique().tolist()) == {-1000.0, -900.0, 50.0}


def test_contents_have_the_texture_of_their_organ() -> None:
    """Its fine structures alone, whose standard deviation is the organ's spread."""
    table = {
        "air": Tissue((-1000.0, -1000.0), (0.0, 0.0)),
        "fluid": Tissue((-400.0, -400.0), (0.0, 0.0)),
        "bowel": Tissue((50.0, 50.0), (20.0, 20.0), contents=("fluid",)),
    }
    image = RandSyntheticCT({0: "air", 1: "bowel"}, table, **SHARP).set_random_state(0)(_cube(64))
    contents = image[0, 22:42, 22:42, 22:42]  # 6 mm below the surface
    assert float(contents.mean()) == pytest.approx(-400.0, abs=5.0)
    assert float(contents.std()) == pytest.approx(20.0, rel=0.2)


@pytest.mark.parametrize("step", [1.0, 3.0])
def test_blur_is_in_mm(step: float) -> None:
    """The edge of a slab is as wide in mm on either grid."""
    side = round(48 / step)
    labels = torch.zeros(1, side, 4, 4, dtype=torch.uint8)
    labels[0, side // 2 :] = 1
    table = {"air": Tissue((0.0, 0.0), (0.0, 0.0)), "organ": Tissue((100.0, 100.0), (0.0, 0.0))}
    draw = RandSyntheticCT({0: "air", 1: "organ"}, table, blur=(4.0, 4.0), slice_blur=(0.0, 0.0), noise=(0.0, 0.0))
    image = draw(MetaTensor(labels, affine=torch.diag(torch.tensor([step, step, step, 1.0]))))[0, :, 0, 0]
    places = (torch.arange(side) + 0.5) * step - 24.0
    expected = 50.0 * (1.0 + torch.special.erf(places / (4.0 * 2**0.5)))
    assert float((image - expected).abs().max()) < 4.0  # the kernel ends at three standard deviations


def test_noise_has_its_deviation_and_leaves_the_mean() -> None:
    labels = torch.zeros(1, 40, 40, 40, dtype=torch.uint8)
    table = {"air": Tissue((40.0, 40.0), (0.0, 0.0))}
    image = RandSyntheticCT({0: "air"}, table, noise=(20.0, 20.0)).set_random_state(1)(labels)
    assert float(image.std()) == pytest.approx(20.0, rel=0.01) and float(image.mean()) == pytest.approx(40.0, abs=0.1)


def test_means_are_spread_over_their_range() -> None:
    labels = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    draw = RandSyntheticCT({0: "air", 1: "pancreas"}, {**TISSUES, "pancreas": Tissue((-10.0, 140.0), (0.0, 0.0))})
    means = [float(draw.set_random_state(seed)(labels).mean()) for seed in range(60)]
    low, high = np.percentile(means, [10, 90])
    assert low < 25.0 and high > 105.0


@pytest.mark.parametrize(
    ("tissues", "table", "options", "error"),
    [
        ({0: "air", 1: "jelly"}, TISSUES, {}, "got 'jelly'"),
        ({0: "air"}, {"air": replace(PLAIN["air"], mixed="fat")}, {}, "got 'fat'"),
        ({0: "air"}, {"air": Tissue((5.0, 1.0))}, {}, r"mean of air must be two increasing numbers, got \[5.0, 1.0\]"),
        ({0: "air"}, TISSUES, {"noise": (-1.0, 2.0)}, "noise must be two increasing numbers from 0"),
    ],
)
def test_bad_arguments_are_refused(
    tissues: dict[int, str], table: dict[str, Tissue], options: dict[str, tuple[float, float]], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        RandSyntheticCT(tissues, table, **options)


def test_bad_label_maps_are_refused() -> None:
    draw = RandSyntheticCT({0: "air", 1: "liver"})
    with pytest.raises(ValueError, match=r"label values \[7\] have no tissue"):
        draw(_cube(8, 7))
    with pytest.raises(ValueError, match=r"must be \(1, H, W, D\), got the shape \(8, 8, 8\)"):
        draw(_cube(8)[0])
    with pytest.raises(ValueError, match="volume holds 0.5 in 64 voxels: labels are whole numbers from 0"):
        draw(_cube(8) * 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16, torch.bool])
def test_the_type_of_the_labels_makes_no_difference(dtype: torch.dtype) -> None:
    """MONAI's LoadImage gives float32."""
    labels = _cube(8)
    draw = RandSyntheticCT({0: "air", 1: "bowel"})
    expected = draw.set_random_state(0)(labels)
    torch.testing.assert_close(draw.set_random_state(0)(labels.to(dtype)), expected, rtol=0, atol=0)


def test_what_monai_loads_is_painted(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_cube(8)[0].numpy(), np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "labels.nii.gz")
    loaded = LoadImage(ensure_channel_first=True)(tmp_path / "labels.nii.gz")
    image = RandSyntheticCT({0: "air", 1: "liver"}).set_random_state(0)(loaded)
    assert image.shape == (1, 8, 8, 8) and image.pixdim.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("organ", "tissue"),
    [
        ("pancreas", "pancreas"),
        ("pancreas cyst", "pancreas"),
        ("cyst", "fluid"),
        ("rib_left_10", "bone"),
        ("vertebrae_L3", "bone"),
        ("inferior vena cava", "vein"),
        ("iliac_artery_left", "artery"),
        ("small_bowel", "bowel"),
        ("adrenal gland", "gland"),
        ("Right Kidney", "kidney"),
        ("oral contrast", "oral contrast"),
        ("something new", "soft tissue"),
    ],
)
def test_organs_are_of_tissues(organ: str, tissue: str) -> None:
    assert tissue_of_organ(organ) == tissue

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Cases of the phantom: the same seed gives the same voxels, plausible anatomy and geometry."""

from __future__ import annotations

import hashlib

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import label as connected_components

from c2f_monai.data.phantom import generate_case
from c2f_monai.data.phantom.fields import SmoothField, random_stream, rotation_matrix
from c2f_monai.data.phantom.settings import draw_settings
from c2f_monai.data.phantom.versions import VERSIONS

SMALL = (64, 64, 40)


def in_ras(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume in RAS order and its affine."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(image.dataobj), image.affine


def test_the_same_seed_gives_the_same_voxels_and_another_seed_others() -> None:
    first, again, other = generate_case(7, size=SMALL), generate_case(7, size=SMALL), generate_case(8, size=SMALL)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label, again.label)
    assert np.array_equal(first.affine, again.affine)
    assert not np.array_equal(in_ras(first.label, first.affine)[0], in_ras(other.label, other.affine)[0])


def test_version_1_is_frozen() -> None:
    """Seed 1000 at a small size: drawn settings exactly, the voxels by coarse statistics.

    Not a hash of the voxels: cosines and matrix products may differ in the last bit between machines, which moves
    single voxels across a rounding step.
    """
    case = generate_case(1000, size=SMALL)
    drawn = repr((case.family, case.settings.phase, case.settings.orientation, round(case.settings.noise, 6)))
    assert hashlib.sha256(drawn.encode()).hexdigest()[:16] == "8b8559cc9dbaa3ec"
    ras, _ = in_ras(case.label, case.affine)
    assert int((ras > 0).sum()) == pytest.approx(405, abs=4)
    assert [float(np.mean(i)) for i in np.nonzero(ras)] == pytest.approx([26.54, 37.64, 18.17], abs=0.1)
    assert float(case.image.mean()) == pytest.approx(-576.7, abs=0.5)


@pytest.mark.parametrize(
    ("group", "seeds"), [("plain", (1000, 1001, 2000, 3000)), ("shifted", (3001, 3019, 3023)), ("cysts", (4000, 6001))]
)
def test_the_target_is_one_small_connected_organ_inside_the_volume(group: str, seeds: tuple[int, ...]) -> None:
    for seed in seeds:
        case = generate_case(seed, group, size=(80, 80, 48))
        organ = case.label > 0
        assert 0.001 <= organ.mean() <= 0.005
        parts = np.bincount(connected_components(organ)[0].ravel())[1:]
        assert parts.max() >= 0.9 * organ.sum()
        assert not any(organ.take(end, axis).any() for axis in range(3) for end in (0, -1))


def test_each_case_with_cysts_has_a_large_one() -> None:
    for seed in (4000, 4001, 5000, 6000):
        case = generate_case(seed, "cysts", size=(80, 80, 48))
        parts = np.bincount(connected_components(case.label == 2)[0].ravel())[1:]
        volume = parts.max() * abs(np.linalg.det(case.affine[:3, :3]))
        assert 4 / 3 * np.pi * 9**3 < volume < 4 / 3 * np.pi * 19**3  # 12 to 17 mm, veins and bowel may cover a part
        image = case.image.astype(float)
        assert image[case.label == 2].mean() < image[case.label == 1].mean() - 5


def test_types_and_values() -> None:
    case = generate_case(1001, size=SMALL)
    assert (case.image.dtype, case.label.dtype) == (np.int16, np.uint8)
    assert set(np.unique(case.label)) <= {0, 1, 2}
    assert case.image.min() >= -1024 and case.image.max() <= 3071


def test_tissues_have_plausible_values() -> None:
    case = generate_case(1002, size=(80, 80, 48))
    image = case.image.astype(float)
    expected = {"native": 30, "portal": 72, "delayed": 62}[case.settings.phase]
    assert image[case.label == 1].mean() == pytest.approx(expected, abs=20)
    assert np.median(image[image < -900]) == pytest.approx(-1000, abs=10)  # air
    assert ((image > -140) & (image < -60)).mean() > 0.05  # fat
    assert (image > 150).mean() > 0.005  # bone


def test_orientations_and_oblique_files_are_drawn_and_lead_back_to_ras() -> None:
    drawn = [draw_settings(VERSIONS["1"], seed, "plain") for seed in range(1000, 1040)]
    assert {s.orientation for s in drawn} >= {"RAS", "LPS", "LAS", "RPI"}
    oblique = next(seed for seed, s in zip(range(1000, 1040), drawn, strict=True) if any(s.oblique))
    case = generate_case(oblique, size=SMALL)
    assert "".join(nib.aff2axcodes(case.affine)) == case.settings.orientation
    ras, affine = in_ras(case.label, case.affine)
    assert ras.shape == SMALL
    steps = [s * full / n for s, full, n in zip(case.settings.spacing, case.settings.size, SMALL, strict=True)]
    expected = rotation_matrix(case.settings.oblique) @ np.diag(steps)
    assert np.allclose(affine[:3, :3], expected, atol=1e-5)
    assert np.allclose(affine @ [*(np.array(SMALL) - 1) / 2, 1], [0, 0, 0, 1], atol=1e-4)


def test_a_coarse_grid_shows_the_same_anatomy() -> None:
    coarse, fine = generate_case(1003, size=(48, 48, 32)), generate_case(1003, size=(96, 96, 64))
    small, large = (in_ras(case.label, case.affine)[0] > 0 for case in (coarse, fine))
    for axis in range(3):
        places = [np.nonzero(volume)[axis].mean() / volume.shape[axis] for volume in (small, large)]
        assert places[0] == pytest.approx(places[1], abs=0.015)
    assert small.mean() == pytest.approx(large.mean(), rel=0.2)


def test_a_smooth_field_has_unit_variance_and_agrees_at_points() -> None:
    field = SmoothField(random_stream("1", 0, "test"), (20, 40), terms=64)
    axes = [np.linspace(-150, 150, 60)] * 3
    values = field.on_grid(axes)
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.15)
    point = np.array([[axes[0][3], axes[1][10], axes[2][50]]])
    assert field.at(point)[0] == pytest.approx(float(values[3, 10, 50]), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 1, "group": "odd"}, "group must be one of plain, shifted, cysts, got 'odd'"),
        ({"seed": 1, "version": "3"}, "version must be one of 1, 2, got '3'"),
        ({"seed": 1, "size": (8, 64, 64)}, r"size must be three numbers of at least 16 voxels, got \(8, 64, 64\)"),
        ({"seed": 1, "size": (64, 64)}, r"size must be three numbers of at least 16 voxels, got \(64, 64\)"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_case(**arguments)

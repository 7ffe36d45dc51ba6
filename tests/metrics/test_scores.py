# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from c2f_monai.metrics.scores import hausdorff95, read_mask, score_files, score_masks


def _cube(start: int, shape: tuple[int, int, int] = (12, 12, 12), side: int = 4) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[start : start + side, 4:8, 4:8] = True
    return mask


def _save(path, array, affine=None):
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(np.asarray(array).astype(np.uint8), affine), path)
    return path


def test_hand_scores_of_a_shifted_cube():
    score = score_masks(_cube(4), _cube(5), spacing=(2.0, 1.0, 0.5))
    assert score.dsc == pytest.approx(2 * 48 / 128)
    assert score.hd95 == pytest.approx(2.0)  # one voxel along the first axis, 2 mm
    assert (score.voxels, score.label_voxels) == (64, 64)
    assert score.ml == pytest.approx(0.064)


@pytest.mark.parametrize(("pred", "label", "dsc"), [(False, True, 0.0), (True, False, 0.0), (False, False, None)])
def test_empty_masks(pred, label, dsc):
    score = score_masks(_cube(4) & pred, _cube(4) & label, spacing=(1, 1, 1))
    assert score.dsc == dsc and score.hd95 is None


def test_hausdorff_distance_equals_the_plain_definition():
    rng = np.random.default_rng(0)
    spacing = np.array([1.0, 2.0, 3.0])
    masks = []
    for _ in range(2):
        mask = torch.zeros(14, 14, 14, dtype=torch.bool)
        lo, hi = rng.integers(0, 5, 3), rng.integers(6, 14, 3)
        mask[lo[0] : hi[0], lo[1] : hi[1], lo[2] : hi[2]] = True
        masks.append(mask)

    def surface(mask):
        padded = torch.nn.functional.pad(mask, [1] * 6)
        inner = torch.ones_like(mask)
        for axis in range(3):
            for offset in (0, 2):
                index = [slice(1, -1)] * 3
                index[axis] = slice(offset, offset + mask.shape[axis])
                inner &= padded[tuple(index)]
        return (mask & ~inner).nonzero().numpy() * spacing

    a, b = surface(masks[0]), surface(masks[1])
    distances = np.linalg.norm(a[:, None] - b[None], axis=-1)
    expected = max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))
    assert hausdorff95(masks[0], masks[1], spacing.tolist()) == pytest.approx(expected, rel=1e-5)


def test_files_are_scored_with_the_spacing_of_their_affine(tmp_path):
    pred = _save(tmp_path / "pred.nii.gz", _cube(4) * 2)
    label = _save(tmp_path / "label.nii.gz", _cube(5) * 2)
    score = score_files(pred, label, values=(2,))
    assert score.dsc == pytest.approx(0.75)
    assert score.hd95 == pytest.approx(2.0)
    assert score.ml == pytest.approx(64 * 8 / 1000)


def test_only_the_given_values_are_foreground(tmp_path):
    labels = _cube(4).to(torch.uint8)
    labels[0, 0, 0] = 2
    labels[1, 0, 0] = 3
    path = _save(tmp_path / "label.nii.gz", labels)
    assert [int(read_mask(path, values)[0].sum()) for values in ((1,), (1, 2), (4,))] == [64, 65, 0]


def test_a_value_that_the_files_type_does_not_hold_is_no_background(tmp_path):
    """As uint8, 256 would be 0."""
    path = _save(tmp_path / "label.nii.gz", _cube(4))
    assert [int(read_mask(path, values)[0].sum()) for values in ((256,), (1, 257))] == [0, 64]


def _save_scaled(path, mask, slope: float):
    """Write a mask by its scale factor: 255 times 1/255 is read as 1.00000006."""
    image = nib.Nifti1Image(np.asarray(mask).astype(np.uint8) * round(1 / slope), np.diag([2.0, 2.0, 2.0, 1.0]))
    raw = bytearray(image.to_bytes())
    raw[112:116] = np.float32(slope).tobytes()
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("slope", [1 / 255, 1 / 200])
def test_a_scale_factor_does_not_empty_a_label(tmp_path, slope):
    label = _save_scaled(tmp_path / "label.nii", _cube(4), slope)
    assert 0 < abs(np.asarray(nib.load(label).dataobj).max() - 1) < 1e-6
    assert score_files(_save(tmp_path / "pred.nii.gz", _cube(4)), label).dsc == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 0.9999), "label.nii.gz holds 0.9999 in 64 voxels: labels are whole numbers from 0"),
        ((0, 1.0000001), "label.nii.gz holds 1.0000001 in 64 voxels"),
        ((-1, 0), "label.nii.gz holds -1 in 1664 voxels"),
        ((np.nan, 1), "label.nii.gz holds nan in 1664 voxels"),
    ],
)
def test_values_of_no_label_map_are_refused_and_not_scored_as_background(tmp_path, values, message):
    label = np.where(_cube(4), values[1], values[0]).astype(np.float32)
    nib.save(nib.Nifti1Image(label, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "label.nii.gz")
    with pytest.raises(ValueError, match=message):
        score_files(_save(tmp_path / "pred.nii.gz", _cube(4)), tmp_path / "label.nii.gz")


def test_probabilities_are_no_mask(tmp_path):
    soft = np.random.default_rng(0).random((12, 12, 12), dtype=np.float32)
    nib.save(nib.Nifti1Image(soft, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "pred.nii.gz")
    with pytest.raises(ValueError, match="pred.nii.gz holds 1728 different values from .* is it an image"):
        read_mask(tmp_path / "pred.nii.gz")


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.zeros((12, 12, 11)), None, r"pred.nii.gz and .*label.nii.gz differ in shape, \(12, 12, 11\)"),
        (np.zeros((12, 12, 12)), np.diag([2.0, 2.0, 2.1, 1.0]), "different grids: a corner differs by up to 1.2 mm"),
        (np.zeros((12, 12, 12)), np.diag([-2.0, 2.0, 2.0, 1.0]), "different grids"),
        (np.zeros((12, 12)), None, r"pred.nii.gz is not a 3D mask: its shape is \(12, 12\)"),
        (np.zeros((12, 12, 12, 2)), None, r"pred.nii.gz is not a 3D mask: its shape is \(12, 12, 12, 2\)"),
    ],
)
def test_masks_that_do_not_fit_the_label_are_refused(tmp_path, array, affine, message):
    pred = _save(tmp_path / "pred.nii.gz", array, affine)
    label = _save(tmp_path / "label.nii.gz", _cube(4))
    with pytest.raises(ValueError, match=message):
        score_files(pred, label)


def test_unreadable_file_is_named(tmp_path):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"not a volume")
    with pytest.raises(ValueError, match="cannot read the mask .*broken.nii.gz"):
        read_mask(path)


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"differ in shape, \(12, 12, 12\) and \(12, 12, 11\)"):
        score_masks(_cube(4), _cube(4, (12, 12, 11)), (1, 1, 1))


def test_milliliters_of_a_tilted_gantry_are_those_of_its_voxels(tmp_path):
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[1, 2] = 5 * np.tan(np.radians(20))
    files = [_save(tmp_path / name, _cube(4), affine) for name in ("pred.nii.gz", "label.nii.gz")]
    assert score_files(*files).ml == pytest.approx(64 * 5 / 1000)


def test_a_header_that_was_rounded_is_scored(tmp_path):
    """0.03 mm a voxel of 2 mm, 0.36 mm at the end, is no other voxel."""
    pred = _save(tmp_path / "pred.nii.gz", _cube(4), np.diag([2.03, 2.0, 2.0, 1.0]))
    assert score_files(pred, _save(tmp_path / "label.nii.gz", _cube(4))).dsc == 1.0

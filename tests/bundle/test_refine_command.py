# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f refine``: another model's answer takes the place of the coarse networks'."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from scipy.spatial.transform import Rotation

import c2f_monai.apps.refine
from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.apps.refine import read_answer, refine
from c2f_monai.inferers import CoarseToFineInferer
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti

# Left, back and head; 6 mm is the grid of the tiny network.
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def segmenter(tiny_weights: Path) -> Segmenter:
    return Segmenter(tiny_weights, device="cpu", configs=["three_views.json"], options={**TINY, "result": "mean"})


def ball(shape: tuple[int, ...]) -> np.ndarray:
    """A ball of 1 around the blob of the volume."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (sum((axis - at) ** 2 for axis, at in zip(axes, (0.2, -0.1, 0.0), strict=True)) < 0.2).astype(np.uint8)


def test_the_rounds_start_from_the_answer_on_the_working_grid(segmenter: Segmenter, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    answer = read_answer(write_nifti(tmp_path / "mask.nii.gz", ball((40, 36, 30)), AFFINE))
    result = refine(segmenter, image, answer, probability=True)
    volume = segmenter.preprocessing({"image": str(image)})["image"]
    # The same ball on the working grid, by hand: voxel centers of the file's grid, nearest.
    index = np.linalg.inv(AFFINE) @ np.asarray(volume.affine)
    places = (
        np.stack(np.meshgrid(*map(np.arange, volume.shape[1:]), indexing="ij"), -1) @ index[:3, :3].T + index[:3, 3]
    )
    near = np.clip(np.rint(places).astype(int), 0, np.array((40, 36, 30)) - 1)
    expected = ball((40, 36, 30))[tuple(near[..., axis] for axis in range(3))]
    given = result.record.rounds[0].voxels
    assert abs(given - expected.sum()) <= 0.15 * expected.sum()
    assert result.record.fine_rounds == 1
    assert tuple(result.mask.shape) == (40, 36, 30) and np.allclose(result.affine, AFFINE)


def test_it_is_the_inferers_answer_of_the_last_round(segmenter: Segmenter, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume(), np.diag([6.0, 6.0, 6.0, 1.0]))
    answer = read_answer(write_nifti(tmp_path / "mask.nii.gz", ball((40, 36, 30)), np.diag([6.0, 6.0, 6.0, 1.0])))
    found = refine(segmenter, image, answer, probability=True).probability
    volume = segmenter.preprocessing({"image": str(image)})["image"]
    own = segmenter.inferer
    last = CoarseToFineInferer(
        window=own.window,
        margin=own.rule.margin,
        crop_multiple=own.rule.multiple,
        min_size=own.rule.min_size,
        stopping=own.stopping,
        component_fraction=own.component_fraction,
    )
    expected = last(volume[None], segmenter.network, initial=answer[None].as_tensor())
    assert torch.equal(found.as_tensor(), expected[0].as_tensor())
    assert str(own.result) == "mean"


def test_an_answer_on_another_grid_is_brought_to_the_images(segmenter: Segmenter, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    same = read_answer(write_nifti(tmp_path / "same.nii.gz", ball((40, 36, 30)), AFFINE))
    turned = np.asarray(nib.as_closest_canonical(nib.load(tmp_path / "same.nii.gz")).dataobj)
    canonical = nib.as_closest_canonical(nib.load(tmp_path / "same.nii.gz")).affine
    other = read_answer(write_nifti(tmp_path / "ras.nii.gz", np.ascontiguousarray(turned), canonical))
    results = [refine(segmenter, image, answer, probability=True) for answer in (same, other)]
    assert results[0].record.rounds[0].voxels == results[1].record.rounds[0].voxels > 0
    torch.testing.assert_close(results[0].probability, results[1].probability, atol=1e-4, rtol=0)


def turned(*angles: float) -> np.ndarray:
    """Axes in another order, mirrored and turned, of voxels of 3 x 5 x 4 mm."""
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.array(
        [[0, 0, -4.0], [-3, 0, 0], [0, 5, 0]]
    )
    return nib.affines.from_matvec(axes, [30, 25, -20])


@pytest.mark.parametrize("affine", [AFFINE, turned(0, 0, 0), turned(20, -10, 5)], ids=["same", "axes", "oblique"])
@pytest.mark.parametrize("soft", [False, True], ids=["mask", "probabilities"])
def test_the_answer_on_the_grid_is_monais_of_all_at_once(
    affine: np.ndarray, soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2f_monai.apps.refine, "PIECE", 5000)  # several pieces
    values = torch.zeros(2, 20, 18, 16)
    values[0, 4:17, 0:12, 5:14] = 1  # up to a border
    values[1, 8:12, 3:9, 2:7] = 0.7
    if soft:
        values = values.clamp(0.01, 0.9)
    answer = MetaTensor(values, affine=torch.from_numpy(affine))
    grid = MetaTensor(torch.zeros(1, 40, 36, 30), affine=torch.from_numpy(AFFINE))
    found = c2f_monai.apps.refine._on_grid(answer, grid)
    expected = ResampleToMatch(mode="bilinear", padding_mode="zeros")(answer, grid)
    assert (expected > 0.5).sum() > 1000
    torch.testing.assert_close(found, expected.as_tensor().float(), atol=2e-4, rtol=0)


def test_an_answer_whose_place_is_not_known_or_beside_the_image_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    far = write_nifti(tmp_path / "far.nii.gz", ball((40, 36, 30)), AFFINE + np.array([[0] * 3 + [900]] + [[0] * 4] * 3))
    lost = nib.Nifti1Image(ball((40, 36, 30)), None)
    lost.header["qform_code"] = lost.header["sform_code"] = 0
    nib.save(lost, tmp_path / "lost.nii.gz")
    for name, message in (
        ("lost.nii.gz", "lost.nii.gz cannot be used: "),
        ("far.nii.gz", f"{far} lies beside {image}: no voxel of it is in the image"),
    ):
        assert main(["refine", str(image), str(tmp_path / name), str(tmp_path / "out.nii.gz"), "--device", "cpu"]) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "out.nii.gz").exists()


@pytest.mark.parametrize(
    ("values", "label_value", "expected"),
    [
        ([0, 1, 1, 0], None, [0, 1, 1, 0]),
        ([0.0, 0.25, 0.75, 1.0], None, [0, 0.25, 0.75, 1]),
        ([0, 7, 3, 8], [7, 8], [0, 1, 0, 1]),
    ],
)
def test_masks_probabilities_and_label_maps_are_read(
    tmp_path: Path, values: list[float], label_value: list[int] | None, expected: list[float]
) -> None:
    kind = np.float32 if isinstance(values[0], float) else np.uint8
    path = write_nifti(tmp_path / "answer.nii.gz", np.array(values, kind).reshape(4, 1, 1))
    answer = read_answer(path, label_value)
    assert answer.shape == (1, 4, 1, 1) and answer.flatten().tolist() == expected


def test_the_command_writes_the_mask_beside_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = np.diag([8.0, 8.0, 10.0, 1.0])
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((24, 20, 3)), small)
    mask = write_nifti(tmp_path / "coarse.nii.gz", 5 * ball((24, 20, 3)), small)
    assert main(["refine", str(image), str(mask), "--label-value", "5", "--device", "cpu"]) == 0
    refined = nib.load(tmp_path / "coarse_refined.nii.gz")
    assert refined.shape == (24, 20, 3) and np.allclose(refined.affine, small)
    assert "ml given" in capsys.readouterr().out


def test_the_given_answer_stays_by_whatever_name_the_output_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((24, 20, 3)))
    for folder in ("masks", "other"):
        (tmp_path / folder).mkdir()
    mask = write_nifti(tmp_path / "masks" / "m.nii.gz", ball((24, 20, 3)))
    (tmp_path / "link").symlink_to(tmp_path / "masks")
    (tmp_path / "m.nii.gz").symlink_to(mask)
    before = mask.read_bytes()
    for output in ("other/../masks/m.nii.gz", "link/m.nii.gz", "m.nii.gz"):
        assert main(["refine", str(image), str(mask), str(tmp_path / output), "--overwrite"]) == 1
        assert f"{output} is the answer that is to be refined: write to another place" in capsys.readouterr().err
    assert mask.read_bytes() == before and (tmp_path / "m.nii.gz").is_symlink()


def test_a_series_takes_no_mask_into_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = write_dicom_series(tmp_path / "ct", make_volume(), AFFINE)
    mask = write_nifti(tmp_path / "m.nii.gz", ball((40, 36, 30)), AFFINE)
    assert main(["refine", str(series), str(mask), str(series / "better.nii.gz")]) == 1
    assert "better.nii.gz lies in the series" in capsys.readouterr().err and not list(series.glob("*.nii.gz"))


def test_what_is_no_image_beside_the_ct_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = np.diag([8.0, 8.0, 10.0, 1.0])
    folder = tmp_path / "scan"
    folder.mkdir()
    write_nifti(folder / "ct.nii.gz", make_volume((24, 20, 3)), small)
    for name in ("x.hdr", "x.img"):
        (folder / name).touch()
    mask = write_nifti(tmp_path / "m.nii.gz", ball((24, 20, 3)), small)
    assert main(["refine", str(folder), str(mask), "--device", "cpu"]) == 0
    assert nib.load(tmp_path / "m_refined.nii.gz").shape == (24, 20, 3)
    write_nifti(folder / "second.nii.gz", make_volume((24, 20, 3)), small)
    capsys.readouterr()
    assert main(["refine", str(folder), str(mask), str(tmp_path / "again.nii.gz"), "--device", "cpu"]) == 1
    assert f"{folder} holds 2 images: give one" in capsys.readouterr().err


def test_what_cannot_be_an_answer_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((24, 20, 3)))
    mask = write_nifti(tmp_path / "labels.nii.gz", 5 * ball((24, 20, 3)))
    empty = write_nifti(tmp_path / "empty.nii.gz", np.zeros((24, 20, 3), np.uint8))
    for words, message in (
        ([image, empty], "empty.nii.gz is 0 everywhere: there is no answer to start from"),
        ([image, mask], "give a mask of 0 and 1"),
        ([image, mask, "--label-value", "3"], "holds no voxel of the label values [3]"),
        ([image, mask, mask], "is the answer that is to be refined"),
        ([image, mask, "out.png"], "must end in .nii.gz"),
        ([image, tmp_path / "none.nii.gz"], "none.nii.gz"),
        ([image, mask, image, "--label-value", "5"], "is an image to segment"),
    ):
        assert main(["refine", *map(str, words)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_probabilities_may_be_rounded_beyond_1(tmp_path: Path) -> None:
    """As sums and casts of other programs leave them."""
    found = ball((24, 20, 3)).astype(np.float32) * np.float32(1.0000002) - np.float32(1e-7)
    answer = read_answer(write_nifti(tmp_path / "p.nii.gz", found))
    assert (float(answer.min()), float(answer.max())) == (0.0, 1.0)

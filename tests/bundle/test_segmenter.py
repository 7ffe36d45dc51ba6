# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation as a function gives what the bundle's command gives, whatever the image is."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from monai.transforms import LoadImage

import c2f_monai
from c2f_monai import Segmenter
from c2f_monai.apps.model_config import read_model
from c2f_monai.apps.models import MODELS
from c2f_monai.utils import torch_device
from tests.bundle.conftest import TINY
from tests.bundle.volumes import itk_image, make_volume, write_dicom_series, write_nifti

AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def segmenter(tiny_weights: Path) -> Segmenter:
    return Segmenter(tiny_weights, device="cpu", configs=["three_views.json"], options=TINY)


@pytest.fixture(scope="module")
def reference(
    inference_workflow: Callable[..., ConfigWorkflow], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray]:
    """A file and the mask that the bundle's run writes of it."""
    folder = tmp_path_factory.mktemp("reference")
    path = write_nifti(folder / "ct.nii.gz", make_volume(), AFFINE)
    inference_workflow(input=str(path), output_dir=str(folder), device="cpu").run()
    mask = np.asarray(nib.load(folder / "ct_seg.nii.gz").dataobj)
    assert 0 < mask.sum() < mask.size
    return path, mask


def simpleitk_image(volume: np.ndarray, affine: np.ndarray) -> Any:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


IMAGES: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    "path": lambda path: (path,),
    "text": lambda path: (str(path),),
    "nibabel": lambda path: (nib.load(path),),
    "itk": lambda path: (itk_image(make_volume(), AFFINE),),
    "simpleitk": lambda path: (simpleitk_image(make_volume(), AFFINE),),
    "array": lambda path: (make_volume(), AFFINE),
    "big-endian array": lambda path: (make_volume().astype(">i2"), AFFINE.tolist()),
    "tensor": lambda path: (torch.from_numpy(make_volume())[None], AFFINE),
    "metatensor": lambda path: (MetaTensor(make_volume(), affine=AFFINE),),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_the_mask_is_that_of_the_bundle_voxel_for_voxel(
    segmenter: Segmenter, reference: tuple[Path, np.ndarray], kind: str
) -> None:
    path, expected = reference
    result = segmenter(*IMAGES[kind](path))
    assert result.mask.dtype == torch.uint8 and tuple(result.mask.shape) == expected.shape
    assert np.array_equal(result.mask.numpy(), expected)
    assert np.allclose(result.affine, AFFINE, atol=1e-5)
    assert result.ml == pytest.approx(expected.sum() * 0.010)
    assert result.record.name == ("ct" if kind in ("path", "text", "nibabel") else "")
    assert [entry.index for entry in result.record.rounds] == [0, 1]
    assert result.probability is None


def test_a_bare_array_with_its_spacing_is_one_in_ras(segmenter: Segmenter, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", make_volume(), np.diag([2.0, 2.0, 2.5, 1.0]))
    expected = segmenter(path)
    result = segmenter(make_volume(), spacing=(2.0, 2.0, 2.5))
    assert 0 < result.mask.sum() < result.mask.numel() and torch.equal(result.mask, expected.mask)
    assert result.affine.tolist() == np.diag([2.0, 2.0, 2.5, 1.0]).tolist()


def test_many_images_need_one_network_and_give_probabilities(
    segmenter: Segmenter, reference: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, expected = reference
    other = write_nifti(tmp_path / "other.nii.gz", make_volume((30, 28, 20), seed=1))
    first, second = segmenter.each([path, other], probability=True)
    assert np.array_equal(first.mask.numpy(), expected) and second.mask.shape == (30, 28, 20)
    assert first.probability is not None
    assert np.array_equal(first.probability[0].numpy() >= 0.5, expected > 0)
    p = np.clip(first.probability[0].numpy(), 1e-7, 1 - 1e-7)
    assert np.allclose(first.uncertainty.numpy(), -p * np.log2(p) - (1 - p) * np.log2(1 - p), atol=1e-4)
    assert (first.record.name, second.record.name) == ("ct", "other")


def test_one_function_writes_the_mask_of_a_zip_of_dicom(
    tiny_weights: Path, reference: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The series lies in a folder of a folder, as archives export it."""
    series = write_dicom_series(tmp_path / "study" / "patient" / "ct", make_volume(), AFFINE)
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "study")
    bundle = tmp_path / "bundle"
    shutil.copytree(Path(c2f_monai.__file__).parents[1] / "bundle" / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    shutil.copy(tiny_weights, bundle / "models" / "phantom.pt")
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    for source, name in ((tmp_path / "export.zip", "patient/ct"), (series, "ct")):
        result = c2f_monai.segment(
            source, tmp_path / "mask.nii.gz", model=bundle, device="cpu", configs=["three_views.json", overlay]
        )
        written = nib.load(tmp_path / "mask.nii.gz")
        assert np.array_equal(np.asarray(written.dataobj), reference[1])
        assert np.allclose(written.affine, AFFINE, atol=1e-4)
        assert result.record.name == name


def test_the_precision_is_that_of_the_configuration(segmenter: Segmenter, tiny_weights: Path) -> None:
    options = TINY | {"amp_dtype": "bfloat16"}
    other = Segmenter(tiny_weights, device="cpu", configs=["three_views.json"], options=options)
    assert (segmenter.precision, other.precision) == ("float32", "bfloat16")


def test_equal_answers_have_equal_signatures(segmenter: Segmenter, tiny_weights: Path, tmp_path: Path) -> None:
    moved = shutil.copy(tiny_weights, tmp_path / "moved.pt")
    three_views = ["three_views.json"]
    assert Segmenter(moved, configs=three_views, options=TINY).signature == segmenter.signature
    other = TINY | {"max_rounds": 2}
    assert Segmenter(moved, configs=three_views, options=other).signature != segmenter.signature


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_its_weights(name: str) -> None:
    assert Path(read_model(name).get_parsed_content("ckpt_path")).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4, 4))}, "an array needs its affine"),
        ({"image": np.zeros((4, 4, 4)), "affine": np.eye(3)}, r"affine must be \(4, 4\)"),
        ({"image": np.zeros((4, 4, 4)), "affine": np.eye(4), "spacing": (1, 1, 1)}, "its affine or its spacing, and"),
        ({"image": np.zeros((4, 4, 4)), "spacing": (1, 1)}, r"spacing must be three positive numbers, .* got \(1, 1\)"),
        ({"image": np.zeros((4, 4, 4)), "spacing": (1, 0, 1)}, r"three positive numbers, .* got \(1, 0, 1\)"),
        ({"image": np.zeros((4, 4, 4)), "spacing": (1, np.nan, 1)}, "three positive numbers"),
        ({"image": "two/a.nii.gz", "spacing": (1, 1, 1)}, "spacing is of an array, but a str brings its own"),
        ({"image": MetaTensor(np.zeros((4, 4, 4))), "affine": np.eye(4)}, "affine is of an array, but a MetaTensor"),
        ({"image": [1, 2]}, "an image must be a path, .* got list"),
        ({"image": np.full((8, 8, 8), np.nan), "affine": np.eye(4)}, "512 voxels are NaN"),
        ({"image": "nowhere.nii.gz"}, "nowhere.nii.gz does not exist"),
        ({"image": "a.zip"}, "no zip file"),
        ({"image": "two"}, "two holds 2 images: give one"),
        ({"image": "two", "output": "mask.nrrd"}, "mask.nrrd must end in .nii.gz or .nii"),
        ({"image": "two/a.nii.gz", "model": "liver"}, "there is no model liver: give one of pancreas"),
        ({"image": "two/a.nii.gz", "model": "two"}, "two is no bundle that can be used"),
        ({"image": "two/a.nii.gz", "device": "gpu:77"}, "there is no device gpu:77 here"),
        ({"image": "two/a.nii.gz", "device": "abacus"}, "device must be cpu, gpu"),
        ({"image": "two/a.nii.gz", "configs": ["none.json"]}, "there is no configuration none.json"),
        ({"image": "two/a.nii.gz", "model": "a.zip"}, "a.zip cannot be read as weights"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.zip").write_text("no zip", encoding="utf-8")
    Path("two").mkdir()
    for name in ("a", "b"):
        write_nifti(Path("two") / f"{name}.nii.gz", make_volume((8, 8, 8)))
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        c2f_monai.segment(**arguments)


def test_the_mask_of_an_image_in_memory_is_written(
    tiny_weights: Path, reference: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    image, output = nib.Nifti1Image(make_volume(), AFFINE), tmp_path / "mask.nii.gz"
    c2f_monai.segment(image, output, tiny_weights, "cpu", configs=["three_views.json", overlay])
    written = nib.load(output)
    assert np.array_equal(np.asarray(written.dataobj), reference[1]) and np.allclose(written.affine, AFFINE, atol=1e-4)


def test_the_image_is_never_the_place_of_its_mask(tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((8, 8, 8)))
    before = image.read_bytes()
    (tmp_path / "link.nii.gz").symlink_to(image)
    for given in (image, nib.load(image), LoadImage(ensure_channel_first=True)(image)):
        for output in (image, tmp_path / "link.nii.gz"):
            with pytest.raises(ValueError, match=f"{output.name} is an image to segment: write to another place"):
                c2f_monai.segment(given, output, device="cpu")
    series = write_dicom_series(tmp_path / "series", make_volume(), AFFINE)
    with pytest.raises(ValueError, match="lies in the series"):
        c2f_monai.segment(series, series / "mask.nii.gz", device="cpu")
    assert image.read_bytes() == before and not list(series.glob("*.nii.gz"))


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_device("cpu") == torch.device("cpu")
    for kind, count in ((torch.cuda, "device_count"), (torch.backends.mps, "is_available")):
        monkeypatch.setattr(kind, count, lambda: 2)
    assert [str(torch_device(name)) for name in ("gpu", "gpu:1", "mps")] == ["cuda", "cuda:1", "mps"]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="there is no device mps here: 0 of this kind, give cpu, or leave it out"):
        torch_device("mps")


def test_a_zip_with_several_series_gives_each_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dicom_series(tmp_path / name, make_volume((8, 8, 3)), AFFINE, series=f"1.2.{len(name)}")
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for file in sorted(tmp_path.glob("?/*.dcm")):
            archive.write(file, file.relative_to(tmp_path))
    with c2f_monai.data.open_inputs(tmp_path / "both.zip") as cases:
        assert [Path(case["image"]).name for case in cases] == ["a", "b"]
        assert all(Path(case["image"]).is_dir() for case in cases)
    assert not any(Path(case["image"]).exists() for case in cases)

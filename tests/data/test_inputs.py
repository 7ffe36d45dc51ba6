# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, LoadImaged

from c2f_monai.data import CaseDataset, image_shape, list_inputs, read_image, require_input
from c2f_monai.data.inputs import open_inputs
from c2f_monai.data.itk_checks import check_data_files
from c2f_monai.data.writers import write_nifti as write_mask
from tests.bundle.volumes import itk_image, make_volume, write_dataset, write_dicom_series, write_nifti

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (8, 7, 5)


def volume() -> np.ndarray:
    return make_volume(SHAPE)


def test_one_file_is_one_case(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", volume())
    assert list_inputs(path) == [{"image": str(path), "case": "a"}]


def test_a_folder_of_images_is_sorted_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii"):
        write_nifti(tmp_path / name, volume())
    itk.imwrite(itk_image(volume(), AFFINE), str(tmp_path / "c.nrrd"))
    itk.imwrite(itk_image(volume(), AFFINE), str(tmp_path / "d.mha"))
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / ".hidden.nii").write_text("x", encoding="utf-8")
    names = [Path(case["image"]).name for case in list_inputs(tmp_path) if "skipped" not in case]
    assert names == ["a.nii", "b.nii.gz", "c.nrrd", "d.mha"]


def test_a_dicom_folder_is_one_case_and_a_folder_of_them_several(tmp_path: Path) -> None:
    for name in ("p2", "p1"):
        write_dicom_series(tmp_path / name, volume(), AFFINE)
    assert list_inputs(tmp_path / "p1") == [{"image": str(tmp_path / "p1"), "case": "p1"}]
    assert [Path(case["image"]).name for case in list_inputs(tmp_path)] == ["p1", "p2"]
    nib.save(nib.Nifti1Image(volume(), AFFINE), tmp_path / "p15.nii.gz")
    assert [Path(case["image"]).name for case in list_inputs(tmp_path)] == ["p1", "p15.nii.gz", "p2"]


def test_a_decathlon_folder_gives_its_test_split_with_labels_and_groups(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", shape=SHAPE)
    for cases in (list_inputs(folder), list_inputs(None, folder)):
        assert [case["group"] for case in cases] == ["plain", "shifted"]
        assert cases[1]["label"] == str(folder / "labelsTs" / "case_1.nii.gz")


def test_the_tested_fold_of_a_data_set_takes_the_place_of_its_test_split(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", shape=SHAPE)
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    tested = content.pop("test")
    content |= {"training": [{**case, "fold": fold} for fold, case in enumerate(tested)], "test": []}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    assert [Path(case["image"]).name for case in list_inputs(None, folder, fold=1)] == ["case_1.nii.gz"]
    with pytest.raises(ValueError, match="lists no case under 'test'"):
        list_inputs(None, folder)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.nrrd", "v.mha", "series"])
def test_every_format_gives_the_same_voxels_in_the_world(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("v.nii"):
        write_nifti(path, volume(), AFFINE)
    elif name == "series":
        write_dicom_series(path, volume(), AFFINE)
    else:
        itk.imwrite(itk_image(volume(), AFFINE), str(path))
    assert image_shape(path) == SHAPE
    read = read_image(path)
    assert read.shape == (1, *SHAPE)
    assert np.allclose(read.affine, AFFINE, atol=1e-5)
    assert np.array_equal(np.asarray(read[0]), volume())


def _two_dimensional(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 7), np.int16), np.eye(4)), path)


def _four_dimensional(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 7, 5, 2), np.int16), np.eye(4)), path)


def _no_affine(path: Path) -> None:
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), None)
    image.header["sform_code"] = 1
    nib.save(image, path)


def _micrometers(path: Path) -> None:
    write_nifti(path, volume(), np.diag([2000.0, 2000.0, 3000.0, 1.0]))


def _packed(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _cut(path: Path) -> None:
    _packed(path, nib.Nifti1Image(volume(), AFFINE).to_bytes()[:900])


def _longer(path: Path) -> None:
    _packed(path, nib.Nifti1Image(volume(), AFFINE).to_bytes() + b"more")


def _voxels_more(path: Path) -> None:
    itk.imwrite(itk_image(volume(), AFFINE), str(path))
    raw = path.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes() + b"0123456789")


def _voxels_outside(path: Path) -> None:
    _voxels_more(path)
    path.write_text(path.read_text(encoding="utf-8").replace("= a.raw", "= ../a.raw"), encoding="utf-8")


def _rgb(path: Path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, kind), np.eye(4)), path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.nii.gz", _two_dimensional, "is a 2D image of 8x7, but a CT volume has three axes"),
        ("a.nii.gz", _four_dimensional, "is a 4D image of 8x7x5x2, but a CT volume has three axes"),
        ("a.nii.gz", _no_affine, "has an affine that cannot be inverted"),
        ("a.nii.gz", _rgb, "has several values in a voxel"),
        ("a.nii", _micrometers, "has voxels of 2000 x 2000 x 3000 mm, but those of a CT measure 0.2 to 10 mm"),
        ("a.nii", _cut, "its voxels are cut off: it holds 900 bytes, its header speaks of 912"),
        ("a.nii.gz", _cut, "its voxels are cut off: it holds 900 bytes, its header speaks of 912"),
        ("a.nii", _longer, "its voxels are more: it holds 916 bytes, its header speaks of 912"),
        ("a.nii.gz", _longer, "its voxels are more: it holds 916 bytes, its header speaks of 912"),
        ("a.mhd", _voxels_outside, "its voxels lie outside its folder, in ../a.raw: put the file beside it"),
        ("a.mhd", _voxels_more, "its voxels are more: a.raw holds 570 bytes, not 560"),
        ("a.nii.gz", lambda path: path.write_bytes(b"no image"), "cannot be read as an image"),
        ("a.mha", lambda path: path.write_bytes(b"no image"), "cannot be read as an image"),
        ("a.txt", lambda path: path.write_bytes(b"no image"), "its format is not known"),
    ],
)
def test_what_is_no_volume_is_told_by_its_header(tmp_path: Path, name: str, write, message: str) -> None:
    path = tmp_path / name
    write(path)
    (case,) = list_inputs(path)
    assert re.search(re.escape(str(path)) + ".*" + re.escape(message), case["problem"]) and "\n" not in case["problem"]
    with pytest.raises(ValueError, match=re.escape(case["problem"])):
        CaseDataset([case])[0]
    assert CaseDataset([case], strict=False)[0] == case


def test_voxels_outside_are_seen_from_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    _voxels_outside(folder / "a.mhd")
    (folder / "a.raw").rename(tmp_path / "a.raw")
    monkeypatch.chdir(folder)
    match = r"its voxels lie outside its folder, in \.\./a\.raw: put the file beside it"
    for name in ("a.mhd", "./a.mhd", "../inner/a.mhd"):
        with pytest.raises(ValueError, match=match):
            check_data_files(name)


def _without_codes(image: nib.Nifti1Image) -> None:
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)


def _moved_qform(by: float, codes: tuple[int, int] = (1, 2)) -> Callable[[nib.Nifti1Image], None]:
    """By so many mm along each axis; the codes of qform and sform."""

    def change(image: nib.Nifti1Image) -> None:
        image.set_sform(AFFINE, code=codes[1])
        image.set_qform(AFFINE + np.pad(np.full((3, 1), by), ((0, 1), (3, 0))), code=codes[0])

    return change


def _not_a_number(content: bytes) -> bytes:
    return content[:112] + np.float32(np.nan).tobytes() + content[116:]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("change", "patch", "problem", "notes"),
    [
        (_without_codes, bytes, "it has neither sform nor qform, so that its orientation is not known: set one.", ""),
        (lambda image: None, _not_a_number, "its scale factor is nan and its intercept 0, which are no numbers", ""),
        (_moved_qform(20.0), bytes, "", "qform and sform differ by 20 mm, sform used"),
        (_moved_qform(1.25, (2, 1)), bytes, "", "qform and sform differ by 1.25 mm, sform used"),
        (_moved_qform(0.75), bytes, "", ""),
        (_moved_qform(20.0, (0, 1)), bytes, "", ""),
        (lambda image: None, bytes, "", ""),
    ],
    ids=["no orientation", "scale factor", "two places", "a mm apart", "less", "no qform", "good"],
)
def test_what_nibabel_passes_over_is_told(tmp_path: Path, name: str, change, patch, problem: str, notes: str) -> None:
    image = nib.Nifti1Image(volume(), AFFINE)
    change(image)
    _packed(tmp_path / name, patch(image.to_bytes()))
    meta = read_image(tmp_path / name).meta
    assert meta["problem"].startswith(problem) and bool(meta["problem"]) == bool(problem)
    assert meta["notes"] == notes


@pytest.mark.parametrize("end", [b"\0" * 700 + b"garbage", b"\0" * 512])
def test_what_follows_a_gzip_stream_is_no_voxel(tmp_path: Path, end: bytes) -> None:
    large = make_volume((20, 20, 10))
    content = gzip.compress(nib.Nifti1Image(large, AFFINE).to_bytes())
    (tmp_path / "a.nii.gz").write_bytes(content + end)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.nii.gz")[0]), large)
    (tmp_path / "b.nii.gz").write_bytes(content[:-30] + end)
    with pytest.raises(ValueError, match="b.nii.gz cannot be read"):
        read_image(tmp_path / "b.nii.gz")


def test_a_trailing_axis_of_length_one_is_a_volume(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", volume()[..., None])
    assert list_inputs(path) == [{"image": str(path), "case": "a"}]
    assert read_image(path).shape == (1, *SHAPE)


def test_missing_and_empty_inputs_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.nii\.gz does not exist"):
        list_inputs(tmp_path / "nope.nii.gz")
    with pytest.raises(FileNotFoundError, match="holds no images"):
        list_inputs(tmp_path)
    with pytest.raises(ValueError, match="give --input .*, or --dataset_dir"):
        require_input(None)
    assert list_inputs(None) == []  # a bundle's properties are asked for without an input


def test_equal_names_are_told_apart_by_folder_and_suffix(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    for name in ("a.nii.gz", "a.nii", "b.nii", "p1/b.nii"):
        write_nifti(tmp_path / name, volume())
    assert [case["case"] for case in list_inputs(tmp_path)] == ["a.nii", "a.nii.gz", "b", "p1/b"]


def test_two_cases_of_a_data_set_with_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nii"):
        write_nifti(tmp_path / name, volume())
    (tmp_path / "dataset.json").write_text(json.dumps({"test": ["a.nii", "a.nii.gz"]}), encoding="utf-8")
    with pytest.raises(ValueError, match="are both named after the case a: rename one"):
        list_inputs(tmp_path)


def test_each_series_of_a_folder_is_a_case(tmp_path: Path) -> None:
    for series in ("1.2.3.4", "1.2.3.5"):
        write_dicom_series(tmp_path / "export", volume() + int(series[-1]), AFFINE, series)
    assert [case["case"] for case in list_inputs(tmp_path)] == ["export/1.2.3.4", "export/1.2.3.5"]
    (case,) = list_inputs(tmp_path / "export" / "1.2.3.5")
    assert case == {"image": str(tmp_path / "export" / "1.2.3.5"), "case": "1.2.3.5"}
    assert np.array_equal(np.asarray(read_image(case["image"])[0]), volume() + 5)
    with pytest.raises(ValueError, match=r"holds 2 series, 1.2.3.4 \(5 slices\), .*: name one as .*export/1.2.3.4\."):
        read_image(tmp_path / "export")


def test_nothing_is_passed_over_in_silence(tmp_path: Path) -> None:
    """Cases, and what is left out with its reason; notes and masks are counted alone."""
    root = tmp_path / "in"
    for folder in ("a", "b/c", "b/ct.nii.gz", ".cache"):
        (root / folder).mkdir(parents=True)
    for name in ("a/ct.nii", "b/c/ct.nii", "b/ct.nii.gz/x.nii", ".cache/y.nii", "a/.hidden.nii", "a/._ct.nii"):
        write_nifti(root / name, volume())
    write_dicom_series(root / "a", volume(), AFFINE)  # loose slices beside an image
    nib.save(nib.Nifti1Pair(volume(), AFFINE), root / "b" / "pair.img")
    write_mask(root / "a" / "ct_seg.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE, "c2f_monai 1")
    (root / "notes.txt").write_text("x", encoding="utf-8")
    outside = write_dicom_series(tmp_path / "outside", volume(), AFFINE, "1.2.9")
    (root / "linked").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "z.nii").symlink_to(root / "nowhere.nii")
    (root / "d.nii").symlink_to(root / "a" / "ct.nii")
    cases = list_inputs(root)
    assert [case["case"] for case in cases if "skipped" not in case] == [
        "a",
        "a/ct",
        "b/c/ct",
        "b/ct.nii.gz/x",
        "d",
        "linked",
    ]
    assert {case["case"]: case["skipped"].split(": ", 1)[1] for case in cases if "skipped" in case} == {
        ".cache": "hidden: its files are not looked for",
        "a/._ct.nii": "hidden: rename it",
        "a/.hidden.nii": "hidden: rename it",
        "b/pair.img": "a pair of .hdr and .img, which is not read: convert it to NIfTI",
        "loop": f"a link to {root}, which is searched itself",
        "z.nii": "a link to nothing",
    }


def test_a_folder_with_nothing_but_what_is_left_out_says_so(tmp_path: Path) -> None:
    write_nifti(tmp_path / ".ct.nii", volume())
    with pytest.raises(FileNotFoundError, match=r"no DICOM series; left out: .*\.ct\.nii \(hidden: rename it\)"):
        list_inputs(tmp_path)


def test_a_label_of_another_shape_is_refused_before_any_voxel_is_read(tmp_path: Path) -> None:
    write_nifti(tmp_path / "image.nii.gz", volume())
    write_nifti(tmp_path / "label.nii.gz", volume()[1:])
    content = {"test": [{"image": "image.nii.gz", "label": "label.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    (case,) = list_inputs(tmp_path)
    assert "label.nii.gz has the shape (7, 7, 5), but its image" in case["problem"]


@pytest.mark.parametrize(("affine", "distance"), [((-2, 2, 2, 1), "16 mm"), ((2, 2, 2.3, 1), "1.5 mm")])
def test_a_label_in_another_place_is_refused_before_any_voxel_is_read(
    tmp_path: Path, affine: tuple[float, ...], distance: str
) -> None:
    """A truth that is stored the other way round, or whose slices are further apart: voxel by voxel it says nothing."""
    values = volume()
    assert values.shape == (8, 7, 5)
    write_nifti(tmp_path / "image.nii.gz", values, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    other = np.diag([float(entry) for entry in affine])
    other[0, 3] = 16.0 if affine[0] < 0 else 0.0
    write_nifti(tmp_path / "label.nii.gz", values, affine=other)
    content = {"test": [{"image": "image.nii.gz", "label": "label.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    (case,) = list_inputs(tmp_path)
    assert f"lie on different grids: a corner differs by up to {distance}" in case["problem"]


def test_errors_of_transforms_are_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "cut.nii.gz", np.random.default_rng(0).integers(0, 999, (30, 30, 30), np.int16))
    path.write_bytes(path.read_bytes()[:9000])
    dataset = CaseDataset([{"image": str(path)}], Compose([LoadImaged("image")]))
    with pytest.raises(ValueError, match=r"cut\.nii\.gz cannot be used: ") as raised:
        dataset[0]
    assert "\n" not in str(raised.value)


def test_a_good_case_passes_through_the_dataset(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", volume())
    item = CaseDataset([{"image": str(path)}], Compose([LoadImaged("image")]))[0]
    assert torch.equal(torch.as_tensor(item["image"]), torch.as_tensor(volume()).float())


def test_a_wrong_checksum_is_told_when_voxels_are_read(tmp_path: Path) -> None:
    """nibabel comes to it by itself in tiny files alone."""
    content = bytearray(gzip.compress(nib.Nifti1Image(make_volume((20, 20, 10)), AFFINE).to_bytes()))
    content[-8] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be read as a volume: its checksum is wrong"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (6, 1, "is encrypted, password required for extraction; unpack it yourself and give the folder"),
        (8, 9, "That compression method is not supported; unpack it yourself and give the folder"),
    ],
    ids=["encrypted", "Deflate64"],
)
def test_a_zip_that_python_cannot_unpack_is_told(tmp_path: Path, offset: int, value: int, message: str) -> None:
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.nii", bytes(1000))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02") + 2  # whose fields lie two bytes later
    content[offset] = content[central + offset] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message), open_inputs(path):
        pass


def test_a_zip_that_unpacks_to_more_than_the_disk_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nii", bytes(3_000_000))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2_999_999))
    monkeypatch.setattr(zipfile.ZipFile, "extractall", lambda *args: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match=r"scans.zip unpacks to 0.0 GB, but .* has room for 0.0 GB: unpack it"):
        with open_inputs(path):
            pass


@pytest.mark.parametrize(("suffix", "field"), [(".mha", "ElementSpacing"), (".nrrd", "space directions")])
def test_voxels_of_an_unknown_size_are_refused(tmp_path: Path, suffix: str, field: str) -> None:
    """ITK takes 1 mm for them, as if the header said so."""
    path = tmp_path / f"a{suffix}"
    itk.imwrite(itk.image_from_array(np.zeros((4, 5, 6), np.int16)), str(path))
    assert "problem" not in list_inputs(path)[0]
    head, _, tail = path.read_bytes().partition(field.encode())
    path.write_bytes(head + tail.partition(b"\n")[2])
    assert "its header does not say how large voxels are" in list_inputs(path)[0]["problem"]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One reader everywhere, and what it takes to add a format."""

from __future__ import annotations

import gzip
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import ImageReader, NumpyReader
from monai.transforms import LoadImage, LoadImaged

from c2f_monai.data import READERS, CTReader, image_shape, list_inputs, read_image
from c2f_monai.data.readers import ImageFormats
from c2f_monai.utils import IMAGE_SUFFIXES, case_name
from tests.bundle.volumes import itk_image, make_volume, write_dicom_series, write_nifti

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (8, 7, 5)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.nrrd", "v.mha", "series"])
@pytest.mark.parametrize("dtype", [None, np.float32])
def test_it_reads_what_monais_own_readers_read(tmp_path: Path, name: str, dtype) -> None:
    path = tmp_path / name
    if name.startswith("v.nii"):
        write_nifti(path, make_volume(SHAPE), AFFINE)
    elif name == "series":
        write_dicom_series(path, make_volume(SHAPE), AFFINE)
    else:
        itk.imwrite(itk_image(make_volume(SHAPE), AFFINE), str(path))
    one = LoadImaged("image", reader="c2f_monai.data.CTReader", dtype=dtype)({"image": path})["image"]
    # MONAI tries the last one first: nibabel for NIfTI, ITK for all others.
    expected = LoadImage(reader=["ITKReader", "NibabelReader"], dtype=dtype)(path)
    assert torch.equal(one.as_tensor(), expected.as_tensor()) and one.dtype == expected.dtype
    assert torch.equal(one.affine, expected.affine)
    assert one.meta["filename_or_obj"] == str(path)
    assert torch.equal(read_image(path, dtype).as_tensor()[0], one.as_tensor())


def test_a_slope_of_the_header_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(make_volume(SHAPE), AFFINE)
    image.header.set_slope_inter(0.5, -3)  # nibabel stores the voxels as they are
    nib.save(image, tmp_path / "v.nii")
    assert np.array_equal(np.asarray(read_image(tmp_path / "v.nii")[0]), 0.5 * make_volume(SHAPE) - 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_is_read(tmp_path: Path, order: str) -> None:
    volume = make_volume(SHAPE).astype(np.int16)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    nib.save(nib.Nifti1Image(volume, AFFINE, header), tmp_path / "v.nii.gz")
    assert nib.load(tmp_path / "v.nii.gz").header.endianness == order
    assert np.array_equal(np.asarray(read_image(tmp_path / "v.nii.gz", None)[0]), volume)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["plain.nii.gz", "packed.nii"])
def test_nifti_is_packed_by_its_content_not_by_its_name(tmp_path: Path, name: str, kind: type) -> None:
    image = kind(make_volume(SHAPE), AFFINE)
    image.header.set_slope_inter(0.5, -3)  # nibabel stores the voxels as they are
    content = image.to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.startswith("packed") else content)
    (tmp_path / "right.nii").write_bytes(content)
    right, one = read_image(tmp_path / "right.nii"), read_image(tmp_path / name)
    assert torch.equal(one.as_tensor(), right.as_tensor()) and torch.equal(one.affine, right.affine)
    assert image_shape(tmp_path / name) == SHAPE and one.meta["problem"] == ""


@pytest.mark.parametrize("name", ["plain.nii.gz", "packed.nii"])
def test_files_of_another_name_that_are_cut_off_are_refused(tmp_path: Path, name: str) -> None:
    content = nib.Nifti1Image(make_volume(SHAPE), AFFINE).to_bytes()[:-9]
    (tmp_path / name).write_bytes(gzip.compress(content) if name.startswith("packed") else content)
    for read in (image_shape, read_image):
        with pytest.raises(ValueError, match="its voxels are cut off"):
            read(tmp_path / name)


def _itk_file(path: Path, packed: bool = False) -> Path:
    itk.imwrite(itk_image(make_volume(SHAPE), AFFINE), str(path), compression=packed)
    return path


@pytest.mark.parametrize(
    ("name", "cut", "packed"),
    [
        ("v.mha", "v.mha", False),
        ("v.mha", "v.mha", True),
        ("v.nrrd", "v.nrrd", False),
        ("v.mhd", "v.raw", False),
        ("v.mhd", "v.zraw", True),
        ("v.nhdr", "v.raw", False),
    ],
)
def test_voxels_that_are_cut_off_or_missing_are_said(tmp_path: Path, name: str, cut: str, packed: bool) -> None:
    path, raw = _itk_file(tmp_path / name, packed), tmp_path / cut
    assert image_shape(path) == SHAPE and read_image(path).shape == (1, *SHAPE)
    raw.write_bytes(raw.read_bytes()[:-5])
    for read in (image_shape, read_image):
        with pytest.raises(ValueError, match=f"its voxels are cut off: {cut} holds [0-9]+ bytes"):
            read(path)
    if cut != name:
        raw.unlink()
        with pytest.raises(ValueError, match=f"the file of its voxels, {cut}, is missing"):
            image_shape(path)


@pytest.mark.parametrize(("suffix", "kind"), [("nrrd", "NRRD"), ("mha", "MetaImage"), ("mhd", "MetaImage")])
def test_what_is_another_file_is_said(tmp_path: Path, suffix: str, kind: str) -> None:
    (tmp_path / f"v.{suffix}").write_text("no image", encoding="utf-8")
    for read in (image_shape, read_image):
        with pytest.raises(ValueError, match=f"it is no {kind} file"):
            read(tmp_path / f"v.{suffix}")


def test_a_file_of_voxels_with_a_header_of_its_own_and_a_list_are_read(tmp_path: Path) -> None:
    path, raw = _itk_file(tmp_path / "v.mhd"), tmp_path / "v.raw"
    header, content = path.read_text(encoding="utf-8"), raw.read_bytes()
    expected = read_image(path).as_tensor()
    raw.write_bytes(b"1234" + content)
    path.write_text(header.replace("ElementDataFile", "HeaderSize = 4\nElementDataFile"), encoding="utf-8")
    assert torch.equal(read_image(path).as_tensor(), expected)
    slices = [f"s{k}.raw" for k in range(SHAPE[2])]
    size = len(content) // SHAPE[2]
    for k, name in enumerate(slices):
        (tmp_path / name).write_bytes(content[k * size : (k + 1) * size])
    path.write_text(header.replace("v.raw", "LIST\n" + "\n".join(slices)), encoding="utf-8")
    assert torch.equal(read_image(path).as_tensor(), expected)
    (tmp_path / "s3.raw").unlink()
    with pytest.raises(ValueError, match=r"the file of its voxels, s3\.raw, is missing"):
        read_image(path)


def test_several_files_become_channels(tmp_path: Path) -> None:
    paths = [write_nifti(tmp_path / f"{k}.nii.gz", make_volume(SHAPE, seed=k), AFFINE) for k in range(2)]
    assert LoadImage(reader=CTReader)(paths).shape == (2, *SHAPE)


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formats with one more, for the time of a test: its files are NumPy arrays."""
    monkeypatch.setattr(READERS, "data", dict(READERS.data))
    known = list(IMAGE_SUFFIXES)
    READERS[".npy"] = NumpyReader
    yield
    IMAGE_SUFFIXES[:] = known


@pytest.mark.usefixtures("arrays")
def test_a_new_format_is_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "case.1.npy", make_volume(SHAPE))
    assert list_inputs(tmp_path) == [{"image": str(tmp_path / "case.1.npy"), "case": "case.1"}]
    assert case_name(tmp_path / "case.1.npy") == "case.1"
    assert image_shape(tmp_path / "case.1.npy") == SHAPE
    loaded = LoadImaged("image", reader="c2f_monai.data.CTReader")({"image": tmp_path / "case.1.npy"})["image"]
    assert np.array_equal(np.asarray(loaded), make_volume(SHAPE))


@pytest.mark.usefixtures("arrays")
def test_several_values_of_a_new_format_are_refused_without_a_header(tmp_path: Path) -> None:
    class Colors(NumpyReader):
        def __init__(self) -> None:
            super().__init__(channel_dim=-1)

    READERS[".npy"] = Colors
    np.save(tmp_path / "rgb.npy", np.zeros((*SHAPE, 3)))
    with pytest.raises(ValueError, match=r"rgb\.npy has several values in a voxel"):
        image_shape(tmp_path / "rgb.npy")


@pytest.mark.usefixtures("arrays")
def test_the_longest_suffix_names_reader_and_case() -> None:
    READERS[".seg.nii"] = NumpyReader
    assert isinstance(READERS.reader_of("a.seg.nii"), NumpyReader) and case_name("a.seg.nii") == "a"
    assert not isinstance(READERS.reader_of("a.nii"), NumpyReader) and case_name("a.nii") == "a"


@pytest.mark.parametrize("suffix", ["xyz", ".XYZ"])
def test_a_suffix_that_no_file_would_be_found_by_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match=f"a suffix must look like .nii.gz, in small letters, got '{suffix}'"):
        ImageFormats({suffix: ImageReader})

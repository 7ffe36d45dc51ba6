# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One reader everywhere, and what it takes to add a format."""

from __future__ import annotations

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

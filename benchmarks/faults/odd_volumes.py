# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Volume files that are damaged, no CT, or good though they look odd, and what becomes of each."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np

from tests.bundle.volumes import itk_image

from .odd import Odd
from .tiny_inference import SHAPE, good_volume

__all__ = ["AFFINE", "FILES", "write_good"]

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
#: Byte at which fields of a NIfTI header begin.
_TYPE, _SPACING, _SLOPE, _INTERCEPT = 70, 80, 112, 116


def write_good(path: Path) -> None:
    """The good volume."""
    nib.save(nib.Nifti1Image(good_volume(), AFFINE), path)


def _bytes() -> bytes:
    return nib.Nifti1Image(good_volume(), AFFINE).to_bytes()


def _pack(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _content(content: Callable[[], bytes], path: Path) -> None:
    path.write_bytes(content())


def _stored(change: Callable[[bytes], bytes], path: Path) -> None:
    """The good file with other bytes."""
    _pack(path, change(_bytes()))


def _field(at: int, kind: str, *values: float) -> Callable[[Path], None]:
    """The good file with another field in its header."""
    new = struct.pack(f"<{len(values)}{kind}", *values)
    return partial(_stored, lambda content: content[:at] + new + content[at + len(new) :])


def _voxels(change: Callable[[np.ndarray], np.ndarray], path: Path) -> None:
    """The good volume with other voxels."""
    nib.save(nib.Nifti1Image(change(good_volume()), AFFINE), path)


def _one_voxel(value: float) -> Callable[[Path], None]:
    def change(volume: np.ndarray) -> np.ndarray:
        volume = volume.astype(np.float32)
        volume[3, 4, 5] = value
        return volume

    return partial(_voxels, change)


def _affine(affine: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(good_volume(), affine), path)


def _header(change: Callable[[Any], object], path: Path) -> None:
    image = nib.Nifti1Image(good_volume(), AFFINE)
    change(image)
    nib.save(image, path)


def _no_codes(image: Any) -> None:
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)


def _no_matrix(path: Path) -> None:
    image = nib.Nifti1Image(good_volume(), None)
    image.header["sform_code"] = 1
    nib.save(image, path)


def _other_qform(image: Any) -> None:
    image.set_qform(AFFINE + np.pad(np.full((3, 1), 20.0), ((0, 1), (3, 0))), code=1)


def _colors(volume: np.ndarray) -> np.ndarray:
    return np.zeros(volume.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


def _big_endian(path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(good_volume(), AFFINE, header), path)


def _wrong_checksum() -> bytes:
    packed = bytearray(gzip.compress(_bytes()))
    packed[-8] ^= 1
    return bytes(packed)


def _with_garbage() -> bytes:
    return gzip.compress(_bytes()) + b"\0garbage"


def _two_streams() -> bytes:
    content = _bytes()
    return gzip.compress(content[:3000]) + gzip.compress(content[3000:])


def _with_itk(path: Path, packed: bool = False) -> None:
    itk.imwrite(itk_image(good_volume(), AFFINE), str(path), compression=packed)


def _text_of(old: str, new: str, path: Path) -> None:
    """The good volume with another word in its header of text."""
    _with_itk(path)
    path.write_bytes(path.read_bytes().replace(old.replace("NAME", path.stem).encode(), new.encode(), 1))


def _voxels_of(change: Callable[[bytes], bytes], path: Path) -> None:
    """The good volume with other bytes in the file of its voxels."""
    _with_itk(path)
    raw = next(file for file in path.parent.glob(f"{path.stem}.*raw*"))
    raw.write_bytes(change(zlib.decompress(raw.read_bytes()) if raw.suffix == ".zraw" else raw.read_bytes()))


def _no_voxels(path: Path) -> None:
    _with_itk(path)
    next(file for file in path.parent.glob(f"{path.stem}.*raw*")).unlink()


def _cut_itk(path: Path, packed: bool = False) -> None:
    _with_itk(path, packed)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _itk_of(array: Callable[[], np.ndarray], is_vector: bool, path: Path) -> None:
    itk.imwrite(itk.image_from_array(np.ascontiguousarray(array()), is_vector=is_vector), str(path))


def _floats_with_nan() -> np.ndarray:
    volume = good_volume().astype(np.float32)
    volume[3, 4, 5] = np.nan
    return volume.T


_SHEARED = AFFINE + np.array([[0, 0.6, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
_LARGE = np.diag([2000.0, 2000.0, 2000.0, 1.0])
_MHD_DATA = "ElementDataFile = NAME"
_NO_IMAGE, _SIZES = "cannot be read as an image", "mm, but those of a CT measure 0.2 to 10 mm"

FILES: list[Odd] = [
    # What is no image, or a part of one.
    Odd("text named .nii.gz", ".nii.gz", partial(_content, lambda: b"no image"), "failed", _NO_IMAGE),
    Odd("an empty .nii.gz", ".nii.gz", partial(_content, bytes), "failed", _NO_IMAGE),
    Odd("an empty .nii", ".nii", partial(_content, bytes), "failed", _NO_IMAGE),
    Odd("100 bytes of a .nii", ".nii", partial(_stored, lambda b: b[:100]), "failed", _NO_IMAGE),
    Odd("half of a .nii", ".nii", partial(_stored, lambda b: b[: len(b) // 2]), "failed", "its voxels are cut off"),
    Odd("half of a .nii, packed", ".nii.gz", partial(_stored, lambda b: b[:6000]), "failed", "its voxels are cut off"),
    Odd("a packed file cut off", ".nii.gz", partial(_content, lambda: gzip.compress(_bytes())[:-900]), "failed", "cut"),
    Odd("four bytes more", ".nii", partial(_stored, lambda b: b + b"more"), "failed", "its voxels are more"),
    Odd("four bytes more, packed", ".nii.gz", partial(_stored, lambda b: b + b"more"), "failed", "its voxels are more"),
    Odd("a wrong checksum of gzip", ".nii.gz", partial(_content, _wrong_checksum), "failed", "its checksum is wrong"),
    Odd("zeros where the header was", ".nii", partial(_stored, lambda b: bytes(348) + b[348:]), "failed", _NO_IMAGE),
    Odd("a type of voxels that is none", ".nii", _field(_TYPE, "h", 999), "failed", _NO_IMAGE),
    # Other shapes and kinds of voxels.
    Odd("2D", ".nii.gz", partial(_voxels, lambda v: v[..., 0]), "failed", "is a 2D image of 24x20"),
    Odd("4D", ".nii.gz", partial(_voxels, lambda v: np.stack([v, v], 3)), "failed", "is a 4D image of 24x20x12x2"),
    Odd("colors", ".nii.gz", partial(_voxels, _colors), "failed", "has several values in a voxel"),
    Odd("complex", ".nii.gz", partial(_voxels, lambda v: v.astype(np.complex64)), "failed", "several values"),
    # Places.
    Odd("neither sform nor qform", ".nii.gz", partial(_header, _no_codes), "failed", "neither sform nor qform"),
    Odd("an sform of zeros", ".nii.gz", _no_matrix, "failed", "has an affine that cannot be inverted"),
    Odd("an sform of NaN", ".nii.gz", _field(280, "f", np.nan), "failed", "has an affine that cannot be inverted"),
    Odd("micrometers", ".nii.gz", partial(_affine, _LARGE), "failed", f"has voxels of 2000 x 2000 x 2000 {_SIZES}"),
    Odd("meters", ".nii.gz", partial(_affine, AFFINE / 1000 + np.diag([0, 0, 0, 1])), "failed", _SIZES),
    Odd("slices 15 mm apart", ".nii.gz", partial(_affine, np.diag([2.0, 2, 15, 1])), "failed", _SIZES),
    Odd("a sheared sform", ".nii.gz", partial(_affine, _SHEARED), "done", "axes sheared by"),
    Odd("qform 20 mm aside", ".nii.gz", partial(_header, _other_qform), "done", "qform and sform differ by 20 mm"),
    # Values.
    Odd("a voxel of NaN", ".nii.gz", _one_voxel(np.nan), "failed", "1 voxels are NaN or infinite"),
    Odd("an infinite voxel", ".nii.gz", _one_voxel(-np.inf), "failed", "1 voxels are NaN or infinite"),
    Odd("a voxel of 1e20", ".nii.gz", _one_voxel(1e20), "failed", "which are no HU"),
    Odd("scale factor NaN", ".nii.gz", _field(_SLOPE, "f", np.nan), "failed", "its scale factor is nan"),
    Odd("scale factor infinite", ".nii", _field(_SLOPE, "f", np.inf), "failed", "its scale factor is inf"),
    Odd("intercept NaN", ".nii", _field(_SLOPE, "f", 1, np.nan), "failed", "intercept nan"),
    Odd("scale factor 1e10", ".nii", _field(_SLOPE, "f", 1e10), "failed", "which are no HU"),
    Odd("no intercept: 0 to 4095", ".nii.gz", partial(_voxels, lambda v: (v + 1024).clip(0)), "failed", "intercept"),
    Odd("cut to -100 to 240", ".nii.gz", partial(_voxels, lambda v: v.clip(-100, 240)), "done", "is this in HU?"),
    Odd("metal of 30000", ".nii.gz", _one_voxel(30000), "done"),
    Odd("padding of -3024", ".nii.gz", _one_voxel(-3024), "done"),
    # Good, though stored in another way: the same mask.
    Odd("the other byte order", ".nii", _big_endian, "done", same=True),
    Odd("float64", ".nii.gz", partial(_voxels, lambda v: v.astype(np.float64)), "done", same=True),
    Odd("a fourth axis of length 1", ".nii.gz", partial(_voxels, lambda v: v[..., None]), "done", same=True),
    Odd("one slice", ".nii.gz", partial(_voxels, lambda v: v[..., :1]), "done"),
    Odd(
        "garbage after gzip",
        ".nii.gz",
        partial(_content, lambda: gzip.compress(_bytes()) + b"\0junk"),
        "done",
        same=True,
    ),
    Odd("two streams of gzip", ".nii.gz", partial(_content, _two_streams), "done", same=True),
    Odd("large letters", ".NII.GZ", partial(_content, lambda: gzip.compress(_bytes())), "done", same=True),
    Odd("not packed, named .nii.gz", ".nii.gz", partial(_content, _bytes), "done", same=True),
    Odd("packed, named .nii", ".nii", partial(_content, lambda: gzip.compress(_bytes())), "done", same=True),
    Odd("a name with a space, quotes and a comma", ' =1+1, "é".nii.gz', write_good, "done", same=True),
    # NRRD and MetaImage.
    Odd("NRRD", ".nrrd", _with_itk, "done", same=True),
    Odd("MHA", ".mha", _with_itk, "done", same=True),
    Odd("MHD", ".mhd", _with_itk, "done", same=True),
    Odd("text named .nrrd", ".nrrd", partial(_content, lambda: b"no image"), "failed", "it is no NRRD file"),
    Odd("text named .mha", ".mha", partial(_content, lambda: b"no image"), "failed", "it is no MetaImage file"),
    Odd("half of a .nrrd", ".nrrd", _cut_itk, "failed", "its voxels are cut off"),
    Odd("half of a .mha", ".mha", _cut_itk, "failed", "its voxels are cut off"),
    Odd("half of a packed .nrrd", ".nrrd", partial(_cut_itk, packed=True), "failed", "bytes but received"),
    Odd("half of a packed .mha", ".mha", partial(_cut_itk, packed=True), "failed", "its voxels are cut off"),
    Odd("MHD without its voxels", ".mhd", _no_voxels, "failed", "is missing: put it beside the header"),
    Odd(
        "MHD of voxels outside its folder",
        ".mhd",
        partial(_text_of, _MHD_DATA, "ElementDataFile = ../x"),
        "failed",
        "its voxels lie outside its folder",
    ),
    Odd("MHD with voxels more", ".mhd", partial(_voxels_of, lambda b: b + b"0123456789"), "failed", "are more"),
    Odd("MHD with half of its voxels", ".mhd", partial(_voxels_of, lambda b: b[: len(b) // 2]), "failed", "cut off"),
    Odd("MHD with spacing 0", ".mhd", partial(_text_of, "ElementSpacing = 2 2 2", "ElementSpacing = 2 2 0"), "failed"),
    Odd("MHA in 2D", ".mha", partial(_itk_of, lambda: good_volume()[0], False), "failed", "is a 2D image"),
    Odd("MHA in colors", ".mha", partial(_itk_of, lambda: np.zeros((*SHAPE, 3), np.uint8), True), "failed", "several"),
    Odd("NRRD with a voxel of NaN", ".nrrd", partial(_itk_of, _floats_with_nan, False), "failed", "NaN or infinite"),
]

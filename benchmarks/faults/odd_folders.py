# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM series and folders that are damaged, no CT, or odd, and what becomes of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from c2f_monai.data.writers import write_nifti as write_mask
from tests.bundle.volumes import write_dicom_series
from tests.data import broken_series as broken

from .odd import Odd
from .odd_volumes import AFFINE, write_good
from .tiny_inference import SHAPE, good_volume

__all__ = ["FOLDERS", "SERIES"]

#: The good volume's, whose axes run as DICOM's do.
_SCOUT, _MR = {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}, {"0008|0060": "MR"}


def _series(folder: Path, **options: object) -> Path:
    return write_dicom_series(folder, good_volume(), AFFINE, **options)  # type: ignore[arg-type]


def _small(damage: Callable[[Path], object], folder: Path) -> None:
    """A small series, then damaged; what is made beside it is removed."""
    with_room = folder.with_name(f"{folder.name}-room")
    made = write_dicom_series(with_room / "s", broken.make_volume(broken.SHAPE), broken.LPS)
    damage(made)
    shutil.move(made, folder)
    shutil.rmtree(with_room)


def _whole(damage: Callable[[Path], object], folder: Path) -> None:
    """The good volume as a series, then changed."""
    damage(_series(folder))


def _tilted(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    for index in range(3):
        affine = broken.LPS @ broken.shift(2, index) @ broken.shift(1, 0.5 * index)
        part = write_dicom_series(folder.parent / "part", np.zeros((8, 7, 1), np.int16), affine)
        shutil.move(next(part.iterdir()), folder / f"{index}.dcm")


def _renamed(folder: Path) -> None:
    """Another order, and no suffix."""
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"IM{(index * 5) % 12:04d}")


def _cut_without_suffix(folder: Path) -> None:
    _renamed(folder)
    path = sorted(folder.iterdir())[-1]
    path.write_bytes(path.read_bytes()[:100])


def _first_alone(folder: Path) -> None:
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()


def _first_without_thickness(folder: Path) -> None:
    _first_alone(folder)
    broken.without(0x18, 0x50)(folder)


def _scout_within(folder: Path) -> None:
    part = write_dicom_series(
        folder.with_name(f"{folder.name}-part"), np.zeros((9, 9, 1), np.int16), AFFINE, tags=_SCOUT
    )
    shutil.move(next(part.iterdir()), folder / "scout.dcm")
    part.rmdir()


def _beside(tags: dict[str, str], folder: Path) -> None:
    write_dicom_series(folder, np.zeros((9, 9, 2), np.int16), AFFINE, "1.2.3.5", tags=tags)


def _object(name: str, uid: bytes, folder: Path) -> None:
    """A DICOM file without an image."""
    head = b"\0" * 128 + b"DICM\x02\0\x02\0UI" + len(uid).to_bytes(2, "little")
    (folder / name).write_bytes(head + uid)


def _text(name: str, folder: Path) -> None:
    (folder / name).write_text("exported", encoding="utf-8")


_MISSING = "has no {}: the volume cannot be put together for sure"
_PLACE = "different slices at the same position"
_PHASES = "lie between each other: keep one of them"

SERIES: list[Odd] = [
    Odd("a slice is missing", "", partial(_small, broken.remove_one), "failed", "a slice is missing between"),
    Odd("a slice cut off", "", partial(_small, broken.cut_one), "failed", "cannot be read as DICOM"),
    Odd("the last slice cut off, no suffix", "", partial(_small, _cut_without_suffix), "failed", "cannot be read as"),
    Odd("two slices at one place", "", partial(_small, broken.other_values), "failed", _PLACE),
    Odd("a slice of another phase", "", partial(_small, broken.other_phase), "failed", _PHASES),
    Odd("two phases", "", partial(_small, broken.two_acquisitions), "failed", _PHASES),
    Odd("the last slice moved", "", partial(_small, broken.move_last), "failed", "the spacing is unequal"),
    Odd("a slice of another size", "", partial(_small, broken.other_size), "failed", "differs from"),
    Odd("gantry tilt", "", partial(_small, _tilted), "failed", "as with a tilted gantry"),
    *(
        Odd(f"no {name}", "", partial(_small, broken.without(*tag)), "failed", _MISSING.format(name))
        for name, tag in (
            ("ImagePositionPatient", (0x20, 0x32)),
            ("ImageOrientationPatient", (0x20, 0x37)),
            ("PixelSpacing", (0x28, 0x30)),
            ("RescaleIntercept", (0x28, 0x1052)),
            ("RescaleSlope", (0x28, 0x1053)),
        )
    ),
    Odd("an MR", "", partial(_small, broken.other_modality), "failed", "is of the modality MR, not CT"),
    Odd("MONOCHROME1", "", partial(_small, broken.inverted), "failed", "is MONOCHROME1"),
    Odd("localizers alone", "", partial(_small, broken.scout), "failed", "is a localizer, no volume"),
    Odd("one slice without SliceThickness", "", partial(_small, _first_without_thickness), "failed", "SliceThickness"),
    Odd("text named .dcm beside", "", partial(_small, partial(_text, "a.dcm")), "failed", "cannot be read as DICOM"),
    Odd("a slice twice", "", partial(_whole, broken.double_one), "done", "1 doubled slices dropped", same=True),
    Odd("a localizer within", "", partial(_whole, _scout_within), "done", "1 localizers left out", same=True),
    Odd("a series", "", _series, "done", same=True),
    Odd("stored with slope 2 or intercept -1024", "", partial(_series, rescale=(1, -1024)), "done", same=True),
    Odd("names in another order, no suffix", "", partial(_whole, _renamed), "done", same=True),
    Odd("one slice alone", "", partial(_whole, _first_alone), "done"),
    Odd("notes beside the slices", "", partial(_whole, partial(_text, "README")), "done", same=True),
    Odd("an MR beside", "", partial(_whole, partial(_beside, _MR)), "skipped", "2 slices of the modality MR, not CT"),
    Odd("a localizer beside", "", partial(_whole, partial(_beside, _SCOUT)), "skipped", "a localizer"),
    Odd(
        "a dose beside",
        "",
        partial(_whole, partial(_object, "dose", b"1.2.840.10008.5.1.4.1.1.481.2\0")),
        "skipped",
        "an RT dose, no image",
    ),
    Odd(
        "a DICOMDIR beside",
        "",
        partial(_whole, partial(_object, "DICOMDIR", b"1.2.840.10008.1.3.10")),
        "skipped",
        "a DICOMDIR, no image",
    ),
    Odd("two CT series", "", partial(_whole, partial(_beside, {})), "done", rows=2),
]


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _link_to_good(path: Path) -> None:
    outside = path.parent.parent / path.name
    write_good(outside)
    path.symlink_to(outside)


def _hidden(path: Path) -> None:
    write_good(path.with_name(f".{path.name}"))


def _hidden_folder(path: Path) -> None:
    folder = path.with_name(f".{path.name}")
    folder.mkdir()
    write_good(folder / "ct.nii.gz")


def _pair(path: Path) -> None:
    nib.save(nib.Nifti1Pair(good_volume(), AFFINE), path)


def _in_folder(name: str, path: Path) -> None:
    path.mkdir()
    write_good(path / name)


def _same_names(path: Path) -> None:
    path.mkdir()
    write_good(path / "ct.nii")
    write_good(path / "ct.nii.gz")


def _own_mask(path: Path) -> None:
    write_mask(path, np.zeros(SHAPE, np.uint8), AFFINE, "c2f_monai 1")


FOLDERS: list[Odd] = [
    Odd("a link to nothing", ".nii.gz", partial(_link, "nowhere.nii.gz"), "skipped", "a link to nothing"),
    Odd("a link to the folder above", "", partial(_link, "."), "skipped", "which is searched itself"),
    Odd("a link to a file outside", ".nii.gz", _link_to_good, "done", same=True),
    Odd("a hidden image", ".nii.gz", _hidden, "skipped", "hidden: rename it"),
    Odd("a hidden folder", "", _hidden_folder, "skipped", "hidden: its files are not looked for"),
    Odd("a pair of .hdr and .img", ".img", _pair, "skipped", "convert it to NIfTI"),
    Odd("a folder named .nii.gz", ".nii.gz", partial(_in_folder, "ct.nii.gz"), "done", same=True),
    Odd("two images that differ by suffix", "", _same_names, "done", same=True, rows=2),
    Odd("a mask of an earlier run", ".nii.gz", _own_mask, ""),
    Odd("a text", ".txt", lambda path: path.write_text("notes", encoding="utf-8"), ""),
    Odd("an empty folder", "", Path.mkdir, ""),
]

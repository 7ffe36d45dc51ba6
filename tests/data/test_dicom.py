# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Series as scanners write them, and series with each defect."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.data import dicom, dicom_files, image_preprocessing, list_inputs
from c2f_monai.data.dicom import read_series, series_header, slice_files
from c2f_monai.data.dicom_files import SliceHeader, is_dicom_place, scan_folder, series_files
from c2f_monai.transforms import axes_angles
from c2f_monai.transforms.upright import MAX_SHEAR
from tests.bundle.volumes import make_volume, write_dicom_series
from tests.data.broken_series import (
    LPS,
    SHAPE,
    add_slice,
    cut_one,
    double_one,
    empty,
    inverted,
    move_last,
    other_modality,
    other_phase,
    other_series,
    other_size,
    other_values,
    remove_one,
    scout,
    shift,
    two_acquisitions,
    without,
)

TILT = np.array([[1, 0, 0, 0], [0, 0.96, -0.28, 0], [0, 0.28, 0.96, 0], [0, 0, 0, 1]])
OBLIQUE = TILT @ LPS


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("rescale", [(1, -1024), (2, 0)])
def test_hu_and_geometry_of_a_series(tmp_path: Path, affine: np.ndarray, rescale: tuple[int, int]) -> None:
    hu = make_volume(SHAPE) // 2 * 2
    found = read_series(write_dicom_series(tmp_path / "s", hu, affine, rescale=rescale))
    assert found.hu.dtype == np.int16
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)


def test_slices_are_ordered_by_position_not_by_name(tmp_path: Path) -> None:
    hu = make_volume(SHAPE)
    folder = write_dicom_series(tmp_path / "s", hu, LPS)
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{(index * 5) % 6:03d}")  # another order, and no suffix
    found = read_series(folder)
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_allclose(found.affine, LPS, atol=1e-5)


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (LPS, "PLS"),  # numbers ascend with the positions: to the head
        (LPS @ np.diag([1, 1, -1, 1]), "PLI"),  # the first slice is the uppermost
        (LPS @ np.diag([-1, 1, 1, 1]), "PRS"),
    ],
)
def test_the_array_by_instance_numbers_is_told(tmp_path: Path, affine: np.ndarray, expected: str) -> None:
    found = read_series(write_dicom_series(tmp_path / "s", make_volume(SHAPE), affine))
    assert found.instance_axcodes == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [("1 2 3", "PLS"), ("9 5 2", "PLI"), ("1 3 2", ""), ("1 1 2", ""), ("1 x 3", ""), ("1  3", "")],
)
def test_instance_numbers_that_do_not_follow_the_positions_tell_nothing(numbers: str, expected: str) -> None:
    assert dicom._instance_axcodes(numbers.split(" "), LPS) == expected


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_one, r"a slice is missing between .*_0002.dcm and .*_0004.dcm: 2.5 mm apart, others 1.25 mm \(1 of 4"),
        (cut_one, "_0002.dcm cannot be read as DICOM"),
        (other_phase, "slices of the acquisitions , 2 lie between each other: keep one of them"),
        (other_values, "_0001.dcm and added.dcm are different slices at the same position: keep one of them"),
        (move_last, "the spacing is unequal between .*_0004.dcm and last.dcm: 1.625 mm apart"),
        (other_series, r"holds 2 series, 1.2.3.4 \(6 slices\), 1.2.3.5 \(6 slices\): name one as .*/s/1.2.3.4\."),
        (without(0x20, 0x32), "_0000.dcm has no ImagePositionPatient: the volume cannot be put together for sure"),
        (without(0x28, 0x30), "_0000.dcm has no PixelSpacing"),
        (without(0x28, 0x1053), "_0000.dcm has no RescaleSlope"),
        (other_modality, "_0000.dcm is of the modality MR, not CT"),
        (inverted, "_0000.dcm is MONOCHROME1"),
        (two_acquisitions, "slices of the acquisitions 1, 2 lie between each other: keep one of them"),
        (scout, "_0000.dcm is a localizer, no volume"),
        (other_size, r"differs from .* in size, pixel spacing or orientation: \(\(8, 9\), .* and \(\(8, 7\)"),
        (empty, "holds 0 DICOM files; a volume needs at least 2"),
    ],
)
def test_broken_series_are_refused(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        read_series(folder)


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    for index in range(3):
        affine = LPS @ shift(2, index) @ shift(1, 0.5 * index)
        write_dicom_series(tmp_path / f"{index}", np.zeros((8, 7, 1), np.int16), affine)
        (tmp_path / "s").mkdir(exist_ok=True)
        shutil.move(next((tmp_path / f"{index}").iterdir()), tmp_path / "s" / f"{index}.dcm")
    with pytest.raises(ValueError, match=r"shifted by 0.4 mm from one to the next, as with a tilted gantry"):
        read_series(tmp_path / "s")


def stack_at(folder: Path, positions: np.ndarray, hu: np.ndarray | None = None) -> Path:
    """A series of axial slices at positions (slices, 3), in LPS mm."""
    folder.mkdir()
    for index, position in enumerate(positions):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        affine[:3, 3] = position * [-1, -1, 1]
        plane = np.zeros((4, 5, 1), np.int16) if hu is None else hu[..., index : index + 1]
        part = write_dicom_series(folder.parent / "one", plane, affine)
        shutil.move(next(part.iterdir()), folder / f"{index:03d}.dcm")
    return folder


def straight(count: int, aside: float = 0.0) -> np.ndarray:
    """Positions of slices of 1 mm, each shifted to the back from the one before."""
    return np.arange(count)[:, None] * [0.0, aside, 1.0]


@pytest.mark.parametrize(
    ("moved", "by", "message"),
    [
        (slice(50, None), 4.0, r"049.dcm and 050.dcm are shifted sideways by 4 mm: slices lie up to 1.98 mm beside"),
        (slice(50, 51), 100.0, r"049.dcm and 050.dcm are shifted sideways by 100 mm: slices lie up to 100 mm beside"),
        (slice(99, None), 4.0, r"098.dcm and 099.dcm are shifted sideways by 4 mm: slices lie up to 3.96 mm beside"),
    ],
    ids=["half", "middle", "last"],
)
@pytest.mark.parametrize("tilt", [0.0, 0.03])
def test_slices_beside_the_stack_are_refused(moved: slice, by: float, message: str, tilt: float) -> None:
    positions = straight(100, tilt)
    positions[moved, 0] += by
    with pytest.raises(ValueError, match=message):
        dicom._check_positions(*headers_at(positions))


def headers_at(positions: np.ndarray) -> tuple[list[SliceHeader], np.ndarray, np.ndarray]:
    """Axial slices with nothing but a place, where they lie along their normal, and the normal."""
    rows = np.eye(3)[:2]
    slices = [
        SliceHeader(Path(f"{i:03d}.dcm"), "1", "CT", "", "", (4, 5), (1.0, 1.0), rows, at, 1.0, "", "", "", (), 1)
        for i, at in enumerate(positions)
    ]
    return slices, positions[:, 2], np.array([0.0, 0.0, 1.0])


def test_a_file_beside_the_stack_is_refused(tmp_path: Path) -> None:
    positions = straight(5)
    positions[2, 0] = 3.0
    folder = stack_at(tmp_path / "s", positions)
    for read in (read_series, series_header):
        with pytest.raises(ValueError, match=r"001.dcm and 002.dcm are shifted sideways by 3 mm: .* Export the series"):
            read(folder)


def test_doubles_of_a_slice_in_another_place_are_refused() -> None:
    positions = straight(4)[[0, 1, 1, 2, 3]]
    assert dicom._check_positions(*headers_at(positions)).tolist() == [0.0, 0.0, 1.0]
    positions[2, 0] = 2.0
    with pytest.raises(ValueError, match=r"001.dcm and 002.dcm are shifted sideways by 2 mm"):
        dicom._check_positions(*headers_at(positions))


@pytest.mark.parametrize("count", [2, 500])
@pytest.mark.parametrize("digits", [0.001, 0.01])
def test_rounded_positions_are_a_straight_stack(count: int, digits: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 3)) * [digits, digits, digits]
    step = dicom._check_positions(*headers_at(straight(count) + noise))
    assert step[:2].tolist() == [0.0, 0.0] and step[2] == pytest.approx(1.0, abs=digits)


def drifting(*parts: tuple[int, float]) -> np.ndarray:
    """Positions of so many slices after the first at a distance each, and then at another one."""
    gaps = np.concatenate([np.full(count, gap) for count, gap in parts])
    return np.cumsum([0.0, *gaps])[:, None] * [0.0, 0.0, 1.0]


def test_distances_that_add_up_are_refused() -> None:
    """Of 5 % each none is refused alone; slice 200 at 200 mm would be put at 204 mm."""
    message = r"the spacing changes along \.: 200.dcm lies 4 mm from where even steps of 1.02 mm would have it"
    with pytest.raises(ValueError, match=message):
        dicom._check_positions(*headers_at(drifting((200, 1.0), (200, 1.04))))
    # 25 gaps of each leave the middle half a mm off, 26 more than half a step of 1.02 mm.
    assert dicom._check_positions(*headers_at(drifting((25, 1.0), (25, 1.04))))[2] == pytest.approx(1.02)
    with pytest.raises(ValueError, match=r"026.dcm lies 0.52 mm from where even steps of 1.02 mm"):
        dicom._check_positions(*headers_at(drifting((26, 1.0), (26, 1.04))))


def test_doubles_do_not_count_as_steps() -> None:
    positions = drifting((300, 1.0))
    doubled = np.repeat(positions, np.where(np.arange(301) < 100, 2, 1), axis=0)
    assert dicom._check_positions(*headers_at(doubled)).tolist() == [0.0, 0.0, 1.0]


def test_a_series_whose_distances_add_up_is_refused(tmp_path: Path) -> None:
    folder = stack_at(tmp_path / "s", drifting((28, 1.0), (28, 1.04)).round(2))
    for read in (read_series, series_header, slice_files):
        with pytest.raises(ValueError, match=r"the spacing changes along .*/s: 028.dcm lies 0.56 mm from"):
            read(folder)


@pytest.mark.parametrize("degrees", [0.3, 2.0, 2.8])
def test_a_small_tilt_is_in_the_affine(tmp_path: Path, degrees: float) -> None:
    """As in a NIfTI file of the volume: turned upright, and said so, above half a degree."""
    aside = np.tan(np.radians(degrees))
    hu = np.full((4, 5, 60), -1000, np.int16)
    folder = stack_at(tmp_path / "s", straight(60, aside).round(4), hu)
    expected = np.diag([-1.0, -1.0, 1.0, 1.0])
    expected[1, 2] = -aside  # to the back is -y in RAS
    for affine in (read_series(folder).affine, series_header(folder)[1]):
        np.testing.assert_allclose(affine, expected, atol=1e-5)
    image = image_preprocessing()({"image": str(folder)})["image"]
    if degrees > MAX_SHEAR:
        assert image.meta["notes"] == f"axes sheared by {degrees:.1f} degrees"
        assert axes_angles(image.affine)[1] == pytest.approx(0.0, abs=1e-6)
    else:
        assert image.meta["notes"] == ""
        assert axes_angles(image.affine)[1] == pytest.approx(degrees, abs=0.01)


def test_slices_that_are_there_twice_are_dropped_with_a_note(tmp_path: Path) -> None:
    hu = make_volume(SHAPE)
    folder = write_dicom_series(tmp_path / "s", hu, LPS)
    double_one(folder)
    found = read_series(folder)
    assert found.notes == ("1 doubled slices dropped",) and series_header(folder)[0] == SHAPE
    assert [path.name for path in slice_files(folder)] == [f"1.2.3.4_000{index}.dcm" for index in range(SHAPE[2])]
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_allclose(found.affine, LPS, atol=1e-5)


def test_each_slice_has_its_own_type_slope_and_intercept(tmp_path: Path) -> None:
    """The first one by position stores zeros without an intercept."""
    hu = make_volume(SHAPE)
    hu[:, :, 0] = 0
    folder = write_dicom_series(tmp_path / "s", hu, LPS, rescale=(1, -1024))
    (folder / "1.2.3.4_0000.dcm").unlink()
    write_dicom_series(tmp_path / "first", hu[:, :, :1], LPS)
    shutil.move(tmp_path / "first" / "1.2.3.4_0000.dcm", folder)
    np.testing.assert_array_equal(read_series(folder).hu, hu)


def test_a_localizer_and_other_objects_are_left_out_with_the_reason(tmp_path: Path) -> None:
    hu, tag = make_volume(SHAPE), {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}
    folder = write_dicom_series(tmp_path / "s", hu, LPS)
    write_dicom_series(folder, np.zeros((9, 9, 1), np.int16), LPS, "1.2.3.5", tags=tag)
    write_dicom_series(folder, hu, LPS, "1.2.3.6", tags={"0008|0060": "MR"})
    for name, uid in (("dose", "1.2.840.10008.5.1.4.1.1.481.3"), ("DICOMDIR", "1.2.840.10008.1.3.10")):
        write_object(folder / name, uid)
    np.testing.assert_array_equal(read_series(folder).hu, hu)
    found = scan_folder(folder)
    assert [series.uid for series in found.cases()] == ["1.2.3.4"]
    assert {path.name: reason for path, reason in found.left_out()} == {
        "1.2.3.5": "a localizer",
        "1.2.3.6": "6 slices of the modality MR, not CT",
        "DICOMDIR": "a DICOMDIR, no image",
        "dose": "an RT structure set or plan, no image",
    }


def write_object(path: Path, sop_class: str) -> None:
    """A DICOM file without an image."""
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    begin = b"\0" * 128 + b"DICM\x02\0\x02\0UI" + len(uid).to_bytes(2, "little")
    path.write_bytes(begin + uid + b"\x02\0\x03\0UI\x04\x001.2\0")


@pytest.mark.parametrize(
    ("sop_class", "what"),
    [
        ("1.3.12.2.1107.5.9.1", "an object of the SOP class 1.3.12.2.1107.5.9.1"),  # Siemens CSA Non-Image
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "a waveform"),
        ("1.2.840.10008.5.1.4.38.1", "a hanging protocol"),
        ("1.2.840.10008.5.1.4.1.1.4.2", "a spectrum"),
        ("1.2.840.10008.5.1.4.1.1.200.2", "an object of the SOP class 1.2.840.10008.5.1.4.1.1.200.2"),
    ],
)
def test_an_object_of_another_class_costs_no_series(tmp_path: Path, sop_class: str, what: str) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    write_object(folder / "object.dcm", sop_class)
    np.testing.assert_array_equal(read_series(folder).hu, make_volume(SHAPE))
    assert scan_folder(folder).left_out() == [(folder / "object.dcm", f"{what}, no image")]


@pytest.mark.parametrize(
    "sop_class",
    ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.7", "", "CT Image Storage"],
)
def test_a_file_that_should_be_an_image_is_damaged(tmp_path: Path, sop_class: str) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    write_object(folder / "cut.dcm", sop_class)
    with pytest.raises(ValueError, match=r"cut.dcm cannot be read as DICOM: copy it again"):
        read_series(folder)


@pytest.mark.parametrize("length", [100, 131, 150, 170, 190, 300, 500])
def test_a_slice_that_is_cut_anywhere_is_damaged(tmp_path: Path, length: int) -> None:
    """Also within its SOP class, of which the rest is that of another one."""
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    last = folder / "1.2.3.4_0005.dcm"
    last.write_bytes(last.read_bytes()[:length])
    assert scan_folder(folder).broken == [last]


def test_two_slices_are_a_stack_and_a_slice_beside_them_is_none(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume((8, 7, 2)), LPS)
    write_dicom_series(folder, make_volume((8, 7, 1)), LPS, "1.2.3.5")
    assert read_series(folder).hu.shape == (8, 7, 2)
    assert scan_folder(folder).left_out() == [(folder / "1.2.3.5", "a series of 1 slice beside others")]
    assert read_series(folder / "1.2.3.5").hu.shape == (8, 7, 1)
    with pytest.raises(ValueError, match=r"s holds no series 1.2.3.9, but 1.2.3.4, 1.2.3.5\."):
        read_series(folder / "1.2.3.9")


@pytest.fixture
def headers_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose headers were read."""
    names: list[str] = []
    read = dicom_files._read_header

    def count(path: Path) -> SliceHeader | None:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(dicom_files, "_read_header", count)
    return names


def three_series(folder: Path) -> list[Path]:
    """Of six slices each, in one folder."""
    for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6"):
        write_dicom_series(folder, make_volume(SHAPE), LPS, uid)
    return [folder / uid for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6")]


def test_headers_of_a_folder_are_read_once_for_all_its_series(tmp_path: Path, headers_read: list[str]) -> None:
    places = three_series(tmp_path / "s")
    cases = list_inputs(tmp_path / "s")
    assert [(case["image"], "problem" in case) for case in cases] == [(str(place), False) for place in places]
    for place in places:
        np.testing.assert_array_equal(read_series(place).hu, make_volume(SHAPE))
        assert [path.name for path in slice_files(place)] == [f"{place.name}_000{index}.dcm" for index in range(6)]
    assert len(headers_read) == len(set(headers_read)) == 18


def touch(folder: Path) -> None:
    """Another file in the place of one, as long and as old."""
    path = folder / "1.2.3.4_0002.dcm"
    at = path.stat()
    path.write_bytes(path.read_bytes().replace(b"MONOCHROME2", b"MONOCHROME1"))
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (at.st_size, at.st_mtime_ns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_one, "a slice is missing between"),
        (other_values, "are different slices at the same position"),
        (cut_one, "_0002.dcm cannot be read as DICOM"),
        (inverted, "is MONOCHROME1"),
        (touch, "_0002.dcm is MONOCHROME1"),
    ],
)
def test_a_folder_that_changes_is_read_again(
    tmp_path: Path, headers_read: list[str], change: Callable[[Path], None], message: str
) -> None:
    folder = three_series(tmp_path / "s")[0].parent
    assert read_series(folder / "1.2.3.4").hu.shape == SHAPE
    assert len(headers_read) == 18
    change(folder)
    with pytest.raises(ValueError, match=message):
        read_series(folder / "1.2.3.4")
    assert len(headers_read) == 18 + len(list(folder.iterdir()))


def test_files_that_could_not_be_read_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a disk that was away for a while."""
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    with monkeypatch.context() as away:
        away.setattr(dicom_files, "_read_header", lambda path: None)
        with pytest.raises(ValueError, match="_0000.dcm cannot be read as DICOM, nor can 5 more: copy it again"):
            read_series(folder)
    assert read_series(folder).hu.shape == SHAPE


def test_a_single_file_is_a_volume_as_thick_as_it_says(tmp_path: Path) -> None:
    hu = make_volume(SHAPE)
    folder = write_dicom_series(tmp_path / "s", hu, LPS)
    one = folder / "1.2.3.4_0003.dcm"  # no word of the slices beside it
    found = read_series(one)
    np.testing.assert_array_equal(found.hu, hu[:, :, 3:4])
    np.testing.assert_allclose(found.affine, LPS @ shift(2, 3), atol=1e-5)
    without(0x18, 0x50)(folder)
    with pytest.raises(ValueError, match=r"_0000.dcm is one slice without a SliceThickness; a volume needs at least 2"):
        read_series(folder / "1.2.3.4_0000.dcm")


def test_what_a_place_of_dicom_files_is(tmp_path: Path) -> None:
    for name, content in {
        "a.dcm": b"",
        "B.DCM": b"",
        "IM1": b"\0" * 128 + b"DICM",
        "IM2": b"",
        "notes": b"",
        ".hidden.dcm": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "sub.dcm").mkdir()
    assert [path.name for path in series_files(tmp_path)] == ["B.DCM", "IM1", "IM2", "a.dcm"]
    places = ("", "a.dcm", "B.DCM", "IM1", "IM2", "1.2.3", "notes", "1.2.x", "none/1.2.3")
    assert [is_dicom_place(tmp_path / name) for name in places] == [*[True] * 4, False, True, *[False] * 3]


def test_several_frames_in_a_file_and_other_directions_are_refused() -> None:
    slices = headers_at(straight(3))[0]
    dicom._check_each(slices)
    dicom._check_alike(slices)
    with pytest.raises(ValueError, match=r"000.dcm holds 2 frames: convert it to a volume"):
        dicom._check_each([replace(slices[0], frames=2)])
    turned = np.array([[np.cos(0.01), np.sin(0.01), 0.0], [-np.sin(0.01), np.cos(0.01), 0.0]])
    with pytest.raises(ValueError, match=r"001.dcm differs from 000.dcm in size, pixel spacing or orientation"):
        dicom._check_alike([slices[0], replace(slices[1], rows=turned)])


def test_a_localizer_within_the_series_is_left_out_with_a_note(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    add_slice(folder, np.zeros((9, 9, 1), np.int16), 40.0, **{"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"})
    found = read_series(folder)
    assert found.notes == ("1 localizers left out",)
    np.testing.assert_array_equal(found.hu, make_volume(SHAPE))


def test_a_cut_file_without_a_suffix_is_missed_by_its_name(tmp_path: Path) -> None:
    """Also the last one, whose absence no distance shows."""
    folder = write_dicom_series(tmp_path / "s", make_volume(SHAPE), LPS)
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"IM{index:04d}")
    (folder / "README").write_text("exported", encoding="utf-8")
    assert read_series(folder).hu.shape == SHAPE
    (folder / "IM0005").write_bytes((folder / "IM0005").read_bytes()[:100])
    with pytest.raises(ValueError, match="IM0005 cannot be read as DICOM: copy it again"):
        read_series(folder)


def test_the_last_digits_of_directions_do_not_tell_slices_apart(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    for index in range(3):
        turn = 0.0005 + (index - 1) * 1e-7  # where rounding to three digits would differ
        noisy = f"1\\{turn:.9f}\\0\\{-turn:.9f}\\1\\0"
        part = write_dicom_series(
            tmp_path / "x", make_volume((8, 7, 1)), LPS @ shift(2, index), tags={"0020|0037": noisy}
        )
        folder.mkdir(exist_ok=True)
        shutil.move(next(part.iterdir()), folder / f"{index}.dcm")
    assert read_series(folder).hu.shape == (8, 7, 3)

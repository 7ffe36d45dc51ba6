# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks as DICOM lie where the series lies, and other programs read them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy.spatial.transform import Rotation

from c2f_monai.apps.outputs import OUTPUT_TYPES, check_type
from c2f_monai.data import read_image
from c2f_monai.data.writers import MaskOrigin, made_here
from c2f_monai.utils import MissingPackagesError
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from c2f_monai.data.dicom_masks import codes_of, dicom_problem  # noqa: E402
from c2f_monai.data.dicom_rtstruct import _polygons, write_rtstruct  # noqa: E402
from c2f_monai.data.dicom_seg import _mend_geometry, write_seg  # noqa: E402

ORIGIN = MaskOrigin({1: "pancreas", 2: "cyst", 5: "my own thing"}, "pancreas", {"model.pt": "ab" * 32}, "0123456789ab")
AXIAL = np.diag([-0.7, -0.8, 2.5, 1.0])
FLIPPED = np.diag([0.7, -0.8, -2.5, 1.0])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix() @ np.diag([-0.9, 0.8, 2.5])
OBLIQUE[:3, 3] = 12.5, -40.0, 300.0
WRITERS = {"dicom-seg": write_seg, "rtstruct": write_rtstruct}


@pytest.fixture(params=[AXIAL, FLIPPED, OBLIQUE], ids=["axial", "flipped", "oblique"])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Files whose names do not follow the positions."""
    folder = write_dicom_series(
        tmp_path / "ct", make_volume((24, 20, 9)), request.param, tags={"0010|0010": "Doe^Jane", "0010|0020": "17"}
    )
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{(index * 4) % 9}.dcm")
    return folder


def make_mask() -> np.ndarray:
    """A pancreas with a hole and a second part, a cyst in it, and pixels that touch by their corners alone."""
    mask = np.zeros((24, 20, 9), np.uint8)
    mask[3:15, 4:16, 2:7] = 1
    mask[6:9, 6:9, 2:7] = 0
    mask[10:13, 10:13, 3:5] = 2
    mask[18:22, 2:5, 3] = mask[0, 0, 3] = mask[1, 1, 3] = mask[23, 19, 4] = 1
    return mask


def seg_mask(path: Path, image: Any, number: int) -> np.ndarray:
    """A segment on the grid of an image, put there by the file's own positions."""
    seg = highdicom.seg.segread(path)
    directions = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    steps = np.array(directions, dtype=float).reshape(2, 3).T * [float(spacing[1]), float(spacing[0])]
    found = np.zeros(image.shape[1:], bool)
    for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, np.atleast_3d(seg.pixel_array), strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            ras = (position + np.argwhere(plane.T) @ steps.T) * [-1, -1, 1]
            voxels = np.linalg.inv(np.asarray(image.affine)) @ np.vstack([ras.T, np.ones(len(ras))])
            at = np.rint(voxels[:3]).astype(int)
            assert np.abs(voxels[:3] - at).max() < 0.01
            found[tuple(at)] = True
    return found


def rtstruct_mask(path: Path, image: Any, number: int) -> np.ndarray:
    """A structure on the grid of an image: the pixels whose centers its contours enclose."""
    rtstruct = pydicom.dcmread(path)
    roi = next(one for one in rtstruct.ROIContourSequence if one.ReferencedROINumber == number)
    found = np.zeros(image.shape[1:], bool)
    grid = np.stack(np.meshgrid(*map(np.arange, found.shape[:2]), indexing="ij"), axis=-1).reshape(-1, 2)
    for contour in roi.get("ContourSequence", []):
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) * [-1, -1, 1]
        voxels = np.linalg.inv(np.asarray(image.affine)) @ np.vstack([points.T, np.ones(len(points))])
        (index,) = {int(value) for value in np.rint(voxels[2])}
        assert np.abs(voxels[2] - index).max() < 0.01
        inside = Polygon(np.vstack([voxels[:2].T, voxels[:2, :1].T]), closed=True).contains_points(grid)
        found[:, :, index] ^= inside.reshape(found.shape[:2])
    return found


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_a_segmentation_lies_where_the_mask_lies(series: Path, tmp_path: Path) -> None:
    mask, image = make_mask(), read_image(series)
    write_seg(tmp_path / "seg.dcm", mask, series, ORIGIN)
    for number, value in ((1, 1), (2, 2)):
        assert dice(seg_mask(tmp_path / "seg.dcm", image, number), mask == value) == 1.0


def test_masks_of_a_tilted_series_lie_on_its_slices(tmp_path: Path) -> None:
    """Their files place each slice by the series; the image does by its affine."""
    tilted = AXIAL.copy()
    tilted[1, 2] = 0.1  # mm for each 2.5 mm, 2.3 degrees
    folder = write_dicom_series(tmp_path / "ct", make_volume((24, 20, 9)), tilted)
    mask, image = make_mask(), read_image(folder)
    write_seg(tmp_path / "seg.dcm", mask, folder, ORIGIN)
    write_rtstruct(tmp_path / "rt.dcm", mask, folder, ORIGIN)
    for number, value in ((1, 1), (2, 2)):
        assert np.array_equal(seg_mask(tmp_path / "seg.dcm", image, number), mask == value)
        assert dice(rtstruct_mask(tmp_path / "rt.dcm", image, number), mask == value) > 0.97


def volume_mask(path: Path, image: Any, number: int) -> np.ndarray:
    """A segment on the grid of an image, as highdicom puts the volume together; empty frames are not in the file."""
    segment = highdicom.seg.segread(path).get_volume(segment_numbers=[number], combine_segments=True)
    voxels = np.argwhere(segment.array)
    assert np.allclose(segment.spacing[0], image.pixdim[2])
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ segment.affine @ np.vstack([voxels.T, np.ones(len(voxels))])
    at = np.linalg.inv(np.asarray(image.affine)) @ ras
    assert np.abs(at - np.rint(at)).max() < 0.01
    found = np.zeros(image.shape[1:], bool)
    found[tuple(np.rint(at[:3]).astype(int))] = True
    return found


@pytest.mark.parametrize("gap", [False, True], ids=["joined", "gap"])
def test_highdicom_puts_the_volume_together(series: Path, tmp_path: Path, gap: bool) -> None:
    mask, image = make_mask(), read_image(series)
    if gap:
        mask[:, :, 4] = 0
    write_seg(tmp_path / "seg.dcm", mask, series, ORIGIN)
    for number, value in ((1, 1), (2, 2)):
        assert np.array_equal(volume_mask(tmp_path / "seg.dcm", image, number), mask == value)


def test_headers_that_contradict_the_positions_do_not_move_the_mask(series: Path, tmp_path: Path) -> None:
    for index, path in enumerate(sorted(series.iterdir())):
        header = pydicom.dcmread(path)
        header.SpacingBetweenSlices = "1"
        header.SliceThickness = None
        directions = [float(value) + 1e-6 * index for value in header.ImageOrientationPatient]
        header.ImageOrientationPatient = [f"{value:.8f}" for value in directions]
        header.save_as(path)
    mask, image = make_mask(), read_image(series)
    write_seg(tmp_path / "seg.dcm", mask, series, ORIGIN)
    assert np.array_equal(volume_mask(tmp_path / "seg.dcm", image, 1), mask == 1)


def test_a_series_of_one_slice_has_its_thickness(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", make_volume((24, 20, 1)), AXIAL)
    mask = make_mask()[:, :, 3:4]
    write_seg(tmp_path / "seg.dcm", mask, folder, ORIGIN)
    assert np.array_equal(volume_mask(tmp_path / "seg.dcm", read_image(folder), 1), mask == 1)


def test_masks_of_slices_without_the_mark_of_dicom_lie_on_them(tmp_path: Path) -> None:
    """Data sets alone, implicit VR, as old programs write them: no preamble, and no head of the file."""
    folder = write_dicom_series(tmp_path / "ct", make_volume((24, 20, 9)), AXIAL)
    for path in folder.iterdir():
        whole = pydicom.dcmread(path)
        del whole.file_meta, whole.preamble
        pydicom.dcmwrite(path, whole, implicit_vr=True, little_endian=True, force_encoding=True)
        assert path.read_bytes()[:4] == b"\x08\0\x16\0"  # begins with the SOP class
    mask, image = make_mask(), read_image(folder)
    assert dicom_problem(folder) == ""
    write_seg(tmp_path / "seg.dcm", mask, folder, ORIGIN)
    write_rtstruct(tmp_path / "rt.dcm", mask, folder, ORIGIN)
    assert np.array_equal(seg_mask(tmp_path / "seg.dcm", image, 1), mask == 1)
    assert dice(rtstruct_mask(tmp_path / "rt.dcm", image, 1), mask == 1) > 0.97


def test_a_series_that_pydicom_cannot_read_is_the_problem_of_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [write_dicom_series(tmp_path / name, make_volume((8, 7, 3)), AXIAL) for name in ("good", "odd")]
    read = pydicom.dcmread

    def refuse(path: Path, **options: Any) -> Any:
        if path.parent.name == "odd":
            raise pydicom.errors.InvalidDicomError("no DICM prefix")
        return read(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", refuse)
    cases = check_type([{"image": str(place)} for place in places], OUTPUT_TYPES["dicom-seg"])
    assert [case.get("problem") for case in cases] == [None, f"{tmp_path}/odd cannot be read as DICOM: no DICM prefix"]


def test_a_structure_set_lies_where_the_mask_lies(series: Path, tmp_path: Path) -> None:
    mask, image = make_mask(), read_image(series)
    write_rtstruct(tmp_path / "rt.dcm", mask, series, ORIGIN)
    for number, value in ((1, 1), (2, 2)):
        assert dice(rtstruct_mask(tmp_path / "rt.dcm", image, number), mask == value) > 0.97
    assert not rtstruct_mask(tmp_path / "rt.dcm", image, 3).any()


@pytest.mark.parametrize("signature", ["0123456789ab", ""])
def test_structures_say_what_they_are_and_contours_which_slice_they_are_of(tmp_path: Path, signature: str) -> None:
    folder = write_dicom_series(tmp_path / "ct", make_volume((24, 20, 9)), AXIAL)
    origin = MaskOrigin({5: "my own thing", 2: "cyst", 1: "pancreas"}, "pancreas", signature=signature)
    write_rtstruct(tmp_path / "rt.dcm", make_mask(), folder, origin)
    found = pydicom.dcmread(tmp_path / "rt.dcm")
    assert found.DeviceSerialNumber == (signature or "none")
    assert [one.ROIName for one in found.StructureSetROISequence] == ["pancreas", "cyst", "my own thing"]
    assert [one.RTROIInterpretedType for one in found.RTROIObservationsSequence] == ["ORGAN", "", ""]
    pancreas, cyst, empty = found.ROIContourSequence
    assert pancreas.ROIDisplayColor == [255, 0, 0] != cyst.ROIDisplayColor
    assert "ContourSequence" not in empty
    series = [pydicom.dcmread(path) for path in folder.iterdir()]
    heights = {header.SOPInstanceUID: float(header.ImagePositionPatient[2]) for header in series}
    for contour in pancreas.ContourSequence:
        (image,) = contour.ContourImageSequence
        assert image.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        z = np.array(contour.ContourData, dtype=float).reshape(-1, 3)[:, 2]
        assert z == pytest.approx(heights[image.ReferencedSOPInstanceUID], abs=1e-3)


def test_an_outline_runs_half_way_to_the_pixels_beside_it_and_does_not_repeat_its_begin() -> None:
    plane = np.zeros((6, 7), bool)
    plane[2, 3] = True
    (points,) = _polygons(plane)
    assert sorted(points.tolist()) == [[1.5, 3.0], [2.0, 2.5], [2.0, 3.5], [2.5, 3.0]]


def test_a_hole_is_cut_out_of_the_area() -> None:
    """3 x 3 pixels without their corners' corners, 9 - 4 / 8, less the half of a pixel in their middle."""
    plane = np.zeros((6, 7), bool)
    plane[1:4, 2:5] = True
    plane[2, 3] = False
    (points,) = _polygons(plane)
    x, y = points.T
    assert abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 == pytest.approx(8.5 - 0.5)
    assert _polygons(np.zeros((3, 3), bool)) == []


def test_the_spacing_of_two_slices_is_their_distance() -> None:
    slices = [pydicom.Dataset() for _ in range(2)]
    for index, header in enumerate(slices):
        header.ImagePositionPatient, header.ImageOrientationPatient = [3.0, 4.0, 2.5 * index], [1, 0, 0, 0, 1, 0]
        header.SliceThickness = 5.0
    _mend_geometry(slices)
    assert [(header.SpacingBetweenSlices, header.SliceThickness) for header in slices] == [(2.5, 5.0)] * 2


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("mask", [make_mask(), np.zeros((24, 20, 9), np.uint8)], ids=["found", "nothing"])
def test_dciodvfy_finds_no_error(series: Path, tmp_path: Path, kind: str, mask: np.ndarray) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not here")
    WRITERS[kind](tmp_path / "m.dcm", mask, series, ORIGIN)
    done = subprocess.run(["dciodvfy", str(tmp_path / "m.dcm")], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert {"Segmentation", "RTStructureSet"} & set(lines)
    # The series has no StudyID.
    known = "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study ID"
    assert [line for line in lines if line.startswith(("Error", "Warning")) and line != known] == []


def test_the_header_says_what_and_by_what(series: Path, tmp_path: Path) -> None:
    write_seg(tmp_path / "seg.dcm", make_mask(), series, ORIGIN)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    first, second, third = (seg.get_segment_description(number) for number in (1, 2, 3))
    assert (seg.PatientID, seg.StudyInstanceUID) == ("17", "1.2.3")
    assert [one.segment_label for one in (first, second, third)] == ["pancreas", "cyst", "my own thing"]
    assert (first.segmented_property_type.value, first.segmented_property_type.scheme_designator) == ("15776009", "SCT")
    assert first.segmented_property_category.meaning == "Anatomical Structure"
    assert second.segmented_property_type.value == "367643001"
    assert second.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    assert third.segmented_property_type.meaning == "Tissue"
    algorithm = first.algorithm_identification
    assert algorithm.name == "c2f_monai" and algorithm.version == seg.SoftwareVersions
    assert algorithm.parameters["sha256 of model.pt"] == "ab" * 32
    again = tmp_path / "again.dcm"
    write_seg(again, make_mask(), series, ORIGIN)
    other = highdicom.seg.segread(again)
    assert other.SOPInstanceUID != seg.SOPInstanceUID
    assert other.get_segment_description(1).tracking_uid == first.tracking_uid != second.tracking_uid


@pytest.mark.parametrize(
    ("name", "category", "meaning"),
    [
        *((organ, "Anatomical Structure", None) for organ in ("pancreas", "spleen", "portal vein", "skin", "bone")),
        *((organ, "Anatomical Structure", None) for organ in ("lymph node", "aorta", "bladder")),
        *((lesion, "Morphologically Abnormal Structure", None) for lesion in ("cyst", "tumor", "metastasis")),
        ("thrombus", "Morphologically Abnormal Structure", "Thrombus"),
        ("stent", "Physical object", "Stent"),
        ("urine", "Body Substance", "Urine"),
        ("left", "Tissue", "Left"),
        ("my own thing", "Tissue", "Tissue"),
    ],
)
def test_what_is_no_organ_is_not_called_one(name: str, category: str, meaning: str | None) -> None:
    found, kind = codes_of(name)
    assert found.meaning.lower() == category.lower()
    assert meaning is None or kind.meaning == meaning


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Ωμ^é"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (None, "Doe^Jane"),
    ],
    ids=["latin", "utf-8", "japanese", "plain"],
)
def test_names_of_patients_and_labels_are_kept(
    tmp_path: Path, kind: str, charset: str | list[str] | None, name: str
) -> None:
    folder = write_dicom_series(tmp_path / "ct", make_volume((24, 20, 9)), AXIAL)
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        if charset is None:
            header.pop("SpecificCharacterSet", None)
        else:
            header.SpecificCharacterSet = charset
        header.PatientName = name
        header.save_as(path)
        assert str(pydicom.dcmread(path).PatientName) == name
    labels = {1: "pancreas", 2: "Zyste größer", 5: "膵臓"}
    WRITERS[kind](tmp_path / "m.dcm", make_mask(), folder, MaskOrigin(labels, "pancreas"))
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert str(found.PatientName) == name
    parts = found.SegmentSequence if kind == "dicom-seg" else found.StructureSetROISequence
    assert [part.get("SegmentLabel") or part.ROIName for part in parts] == list(labels.values())


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_taken_out_of_a_series_is_empty_in_its_masks(series: Path, tmp_path: Path, kind: str) -> None:
    names = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime")
    names += ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
    for path in series.iterdir():
        header = pydicom.dcmread(path)
        for name in names:
            delattr(header, name)
        header.save_as(path)
    assert dicom_problem(series) == ""
    WRITERS[kind](tmp_path / "m.dcm", make_mask(), series, ORIGIN)
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert [str(found[name].value or "") for name in names] == [""] * 8
    assert found.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_no_date_time_or_sex_is_empty_in_the_masks_of_a_series(series: Path, tmp_path: Path, kind: str) -> None:
    wrong = {"StudyDate": "ANON", "StudyTime": "00:00:00", "PatientBirthDate": "1950", "PatientSex": "U"}
    kept = {"PatientID": "P-1", "AccessionNumber": "77"}
    for path in series.iterdir():
        header = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            for name, value in (wrong | kept).items():
                setattr(header, name, value)
            header.save_as(path)
    WRITERS[kind](tmp_path / "m.dcm", make_mask(), series, ORIGIN)
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert [str(found[name].value or "") for name in wrong] == [""] * 4
    assert {name: str(found[name].value) for name in kept} == kept


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_known_as_ones_own_and_whole_or_not_there(series: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.dcm"
    with pytest.raises(ValueError, match="masks hold values, of which the weights bring no name"):
        WRITERS[kind](path, np.zeros((24, 20, 9), np.uint8), series, MaskOrigin())
    for wrong, message in ((make_mask()[1:], "the mask has the shape"), (make_mask() * 3, "masks hold 3, 6, of which")):
        with pytest.raises(ValueError, match=message):
            WRITERS[kind](path, wrong, series, ORIGIN)
    assert not path.exists() and not made_here(path) and not made_here(next(series.iterdir()))
    WRITERS[kind](path, make_mask(), series, ORIGIN)
    assert made_here(path)


def test_what_dicom_cannot_refer_to_is_told(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", make_volume((4, 4, 4)))
    assert dicom_problem(tmp_path / "a.nii.gz") == (
        f"{tmp_path}/a.nii.gz is no DICOM series, which DICOM output refers to: write nifti."
    )
    folder = write_dicom_series(tmp_path / "ct", make_volume((8, 7, 3)), AXIAL)
    assert dicom_problem(folder) == ""
    path = sorted(folder.iterdir())[1]
    header = pydicom.dcmread(path)
    del header.FrameOfReferenceUID
    header.save_as(path)
    assert dicom_problem(folder).endswith("has no FrameOfReferenceUID, which DICOM output refers to: write nifti.")


@pytest.mark.parametrize("package", ["highdicom", "pydicom"])
def test_without_a_package_the_error_names_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackagesError, match=rf'DICOM output needs {package}: pip install "c2f-monai\[dicom\]"'):
        dicom_problem("ct")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of a DICOM series as DICOM: segmentations (SEG) by highdicom, structure sets (RTSTRUCT) by contourpy.

highdicom makes no structure sets. rt-utils 1.2.7 does, but writes coordinates longer than DICOM allows, which dciodvfy
calls errors, and needs OpenCV.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from contourpy import contour_generator
from monai.utils import optional_import

from ..utils import atomic_write, check_extra, package_version
from .dicom import slice_files
from .dicom_files import is_dicom_place
from .readers import is_image_file
from .writers import MADE_BY, MaskOrigin

pydicom, _ = optional_import("pydicom")
highdicom, _ = optional_import("highdicom")

__all__ = ["check_names", "dicom_problem", "write_rtstruct", "write_seg"]

_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
#: Colors of structures, the first one red.
_COLORS = ([255, 0, 0], [0, 160, 255], [0, 200, 80], [255, 190, 0], [200, 80, 255])


def check_names(values: Iterable[int], origin: MaskOrigin) -> None:
    """Refuse values of masks that DICOM would have no name for.

    Args:
        values: that masks may hold; 0 is background.
        origin: of the masks.

    Raises:
        ValueError: saying where to name them.

    Examples:
        >>> check_names([0, 1], MaskOrigin({1: "pancreas"}))
    """
    if not origin.labels:
        raise ValueError(
            "the model's metadata names no value of its masks: give channel_def of its output in metadata.json."
        )
    if unknown := sorted({*values} - {0, *origin.labels}):
        raise ValueError(
            f"masks hold {', '.join(map(str, unknown))}, of which the model's metadata has no name: name them in "
            "channel_def of its output in metadata.json, or write nifti."
        )


def dicom_problem(place: str | os.PathLike[str]) -> str:
    """Why no DICOM can be made for an image, by the headers of its series; empty where nothing is wrong.

    Raises:
        MissingPackagesError: without the packages of the extra ``dicom``.
    """
    check_extra("DICOM output", "dicom", "highdicom", "pydicom")
    if is_image_file(place) or not is_dicom_place(place):
        return f"{place} is no DICOM series, which DICOM output refers to: write nifti."
    try:
        slices = _read_headers(place)
    except ValueError as error:
        return str(error)
    for header in slices:
        if missing := [name for name in _NEEDED if not header.get(name)]:
            return f"{header.filename} has no {', '.join(missing)}, which DICOM output refers to: write nifti."
    return ""


def write_seg(
    path: str | os.PathLike[str], mask: np.ndarray, place: str | os.PathLike[str], origin: MaskOrigin
) -> None:
    """Write a binary DICOM segmentation of a series, one segment for each label, whole or not at all.

    Args:
        path: of the file.
        mask: (columns, rows, slices) integers on the grid of the series, as :func:`c2f_monai.data.read_image` gives it.
        place: of the series, see :func:`c2f_monai.data.dicom.read_series`.
        origin: of the mask.

    Raises:
        ValueError: when mask and series differ in shape, or a value has no name.
    """
    slices = _slices_of(mask, place, origin)
    _mend_geometry(slices)
    labels = sorted(origin.labels.items())
    planes = np.stack([mask.transpose(2, 1, 0) == value for value, _ in labels], axis=-1)
    segments = [_segment(number, value, name, origin, slices[0]) for number, (value, name) in enumerate(labels, 1)]
    series = highdicom.UID()
    seg = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=planes,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=series,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        content_label="SEGMENTATION",
        content_description=origin.description,
        device_serial_number=origin.signature or "none",
        **_equipment(slices[0]),
    )
    with atomic_write(path) as part:
        seg.save_as(part)


def write_rtstruct(
    path: str | os.PathLike[str], mask: np.ndarray, place: str | os.PathLike[str], origin: MaskOrigin
) -> None:
    """Write a DICOM structure set of a series, one structure for each label, whole or not at all.

    Contours run between the pixels of the mask and those beside it, so that the mask's pixels are those whose centers
    they enclose. A hole is joined to the contour around it by a cut of no width.

    Args:
        path: see :func:`write_seg`.
        mask: likewise.
        place: likewise.
        origin: likewise.

    Raises:
        ValueError: as :func:`write_seg`.
    """
    slices = _slices_of(mask, place, origin)
    first = slices[0]
    rtstruct = highdicom.base.SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=highdicom.UID(),
        sop_instance_uid=highdicom.UID(),
        sop_class_uid=_RTSTRUCT,
        instance_number=1,
        modality="RTSTRUCT",
        transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian,
        device_serial_number=origin.signature or "none",
        **_equipment(first),
    )
    rtstruct.copy_patient_and_study_information(first)
    rtstruct.OperatorsName = ""
    rtstruct.StructureSetLabel = MADE_BY
    rtstruct.StructureSetDescription = origin.description
    rtstruct.StructureSetDate, rtstruct.StructureSetTime = rtstruct.InstanceCreationDate, rtstruct.InstanceCreationTime
    rtstruct.ApprovalStatus = "UNAPPROVED"
    rtstruct.FrameOfReferenceUID = first.FrameOfReferenceUID
    rtstruct.PositionReferenceIndicator = first.get("PositionReferenceIndicator", "")
    rtstruct.ReferencedFrameOfReferenceSequence = [_referenced_frame(slices)]
    labels = list(enumerate(sorted(origin.labels.items()), 1))
    rtstruct.StructureSetROISequence = [_structure(number, name, first, origin) for number, (_, name) in labels]
    rtstruct.ROIContourSequence = [_contours(number, mask == value, slices) for number, (value, _) in labels]
    rtstruct.RTROIObservationsSequence = [_observation(number, name) for number, (_, name) in labels]
    with atomic_write(path) as part:
        rtstruct.save_as(part)


def _read_headers(place: str | os.PathLike[str]) -> list[Any]:
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in slice_files(place)]


def _slices_of(mask: np.ndarray, place: str | os.PathLike[str], origin: MaskOrigin) -> list[Any]:
    slices = _read_headers(place)
    shape = (slices[0].Columns, slices[0].Rows, len(slices))
    if mask.shape != shape:
        raise ValueError(f"the mask has the shape {mask.shape}, but the series {place} {shape}.")
    check_names(np.unique(mask).tolist(), origin)
    return slices


def _mend_geometry(slices: Sequence[Any]) -> None:
    """Let the headers, in memory, say what highdicom copies from them as the series' positions say it.

    Readers space the frames by SpacingBetweenSlices, which scanners and programs write as they like: where it does not
    fit the positions, highdicom's own reader refuses the file. It also asks for a SliceThickness, which may be empty,
    and for directions that are equal to the last digit.
    """
    first, last = slices[0], slices[-1]
    step = first.get("SliceThickness")
    if len(slices) > 1:
        ends = np.array([first.ImagePositionPatient, last.ImagePositionPatient], dtype=float)
        step = float(np.linalg.norm(ends[1] - ends[0])) / (len(slices) - 1)
    for header in slices:
        header.ImageOrientationPatient = first.ImageOrientationPatient
        header.SpacingBetweenSlices = pydicom.valuerep.DSfloat(step, auto_format=True)
        header.SliceThickness = header.get("SliceThickness") or header.SpacingBetweenSlices


def _equipment(header: Any) -> dict[str, Any]:
    """What both kinds say of the program, and of their place among the series of a study."""
    return {
        "series_number": 1000 + int(header.get("SeriesNumber") or 0),
        "manufacturer": MADE_BY,
        "manufacturer_model_name": MADE_BY,
        "software_versions": package_version(),
    }


def _codes(name: str) -> tuple[Any, Any]:
    """Category and type of what a label names."""
    codes = pydicom.sr.codedict.codes
    keyword = "".join(word.capitalize() for word in name.replace("_", " ").split())
    found = getattr(codes.SCT, keyword) if keyword in codes.SCT.dir() else None
    if found is None:
        return codes.SCT.Tissue, codes.SCT.Tissue
    lesions = {getattr(codes.cid7159, lesion) for lesion in codes.cid7159.dir()}
    return codes.SCT.MorphologicallyAbnormalStructure if found in lesions else codes.SCT.AnatomicalStructure, found


def _segment(number: int, value: int, name: str, origin: MaskOrigin, header: Any) -> Any:
    category, kind = _codes(name)
    # Of the same series, model and label the same one in every run.
    tracked = uuid5(NAMESPACE_OID, f"{header.SeriesInstanceUID} {origin.signature} {value}")
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=MADE_BY,
            family=pydicom.sr.codedict.codes.DCM.ArtificialIntelligence,
            version=package_version(),
            parameters={
                "model": origin.model,
                **{f"sha256 of {file}": digest for file, digest in origin.weights.items()},
                "signature": origin.signature,
            },
        ),
        tracking_uid=f"2.25.{tracked.int}",
        tracking_id=f"{name} {origin.signature}".strip(),
    )


def _referenced_frame(slices: Sequence[Any]) -> Any:
    series = pydicom.Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(header) for header in slices]
    study = pydicom.Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # retired, and yet what planning systems look for
    study.ReferencedSOPInstanceUID = slices[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = pydicom.Dataset()
    frame.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(header: Any) -> Any:
    image = pydicom.Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return image


def _structure(number: int, name: str, header: Any, origin: MaskOrigin) -> Any:
    structure = pydicom.Dataset()
    structure.ROINumber, structure.ROIName = number, name
    structure.ReferencedFrameOfReferenceUID = header.FrameOfReferenceUID
    structure.ROIGenerationAlgorithm = "AUTOMATIC"
    structure.ROIGenerationDescription = origin.description
    structure.ROIDescription = "; ".join(f"{file} {digest}" for file, digest in origin.weights.items())[:1024]
    return structure


def _observation(number: int, name: str) -> Any:
    observation = pydicom.Dataset()
    observation.ObservationNumber, observation.ReferencedROINumber = number, number
    category, kind = _codes(name)
    is_organ = category == pydicom.sr.codedict.codes.SCT.AnatomicalStructure
    observation.RTROIInterpretedType = "ORGAN" if is_organ else ""
    observation.ROIInterpreter = ""
    observation.RTROIIdentificationCodeSequence = [highdicom.sr.CodedConcept.from_code(kind)]
    return observation


def _contours(number: int, mask: np.ndarray, slices: Sequence[Any]) -> Any:
    roi = pydicom.Dataset()
    roi.ReferencedROINumber = number
    roi.ROIDisplayColor = _COLORS[(number - 1) % len(_COLORS)]
    contours = []
    for index, header in enumerate(slices):
        for polygon in _polygons(mask[:, :, index]):
            contour = pydicom.Dataset()
            contour.ContourImageSequence = [_reference(header)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            contour.ContourData = [f"{value:.4f}" for value in (_to_patient(polygon, header)).ravel()]
            contours.append(contour)
    if contours:  # an empty structure has no contours, and says so by their absence
        roi.ContourSequence = contours
    return roi


def _polygons(plane: np.ndarray) -> list[np.ndarray]:
    """Outlines of a (columns, rows) mask as (points, 2) positions in pixels, column first; holes are cut in."""
    if not plane.any():
        return []
    lines = contour_generator(z=np.pad(plane, 1).T.astype(float), fill_type="OuterOffset").filled(0.5, np.inf)
    polygons = []
    for points, offsets in zip(*lines, strict=True):
        outer, *holes = [points[begin:end] - 1 for begin, end in pairwise(offsets)]
        # Each ring ends where it begins; a hole is entered from the outline's begin, to which its end returns.
        polygons.append(np.concatenate([outer, *(part for hole in holes for part in (hole, outer[:1]))])[:-1])
    return polygons


def _to_patient(points: np.ndarray, header: Any) -> np.ndarray:
    """(points, 3) in mm of DICOM's patient."""
    between_rows, between_columns = map(float, header.PixelSpacing)
    directions = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    steps: np.ndarray = directions * [[between_columns], [between_rows]]
    first = np.array(header.ImagePositionPatient, dtype=float)
    places: np.ndarray = first + points @ steps
    return places

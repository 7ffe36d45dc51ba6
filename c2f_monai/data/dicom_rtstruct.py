# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of a DICOM series as DICOM structure sets (RTSTRUCT), by contourpy.

highdicom makes no structure sets. rt-utils 1.2.7 does, but writes coordinates longer than DICOM allows, which dciodvfy
calls errors, and needs OpenCV.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from contourpy import contour_generator
from monai.utils import optional_import

from ..utils import atomic_write
from .dicom_masks import UTF_8, codes_of, equipment, slices_of
from .writers import MADE_BY, MaskOrigin

pydicom, _ = optional_import("pydicom")
highdicom, _ = optional_import("highdicom")

__all__ = ["write_rtstruct"]

_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
#: Colors of structures, the first one red.
_COLORS = ([255, 0, 0], [0, 160, 255], [0, 200, 80], [255, 190, 0], [200, 80, 255])


def write_rtstruct(
    path: str | os.PathLike[str], mask: np.ndarray, place: str | os.PathLike[str], origin: MaskOrigin
) -> None:
    """Write a DICOM structure set of a series, one structure for each label, whole or not at all.

    Contours run between the pixels of the mask and those beside it, so that the mask's pixels are those whose centers
    they enclose. A hole is joined to the contour around it by a cut of no width.

    Args:
        path: of the file.
        mask: (columns, rows, slices) integers on the grid of the series, as :func:`c2f_monai.data.read_image` gives it.
        place: of the series, see :func:`c2f_monai.data.dicom.read_series`.
        origin: of the mask.

    Raises:
        ValueError: when mask and series differ in shape, or a value has no name.
    """
    slices = slices_of(mask, place, origin)
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
        **equipment(first),
    )
    rtstruct.SpecificCharacterSet = UTF_8
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
    category, kind = codes_of(name)
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

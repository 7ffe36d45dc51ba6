# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of a DICOM series as DICOM segmentations (SEG), by highdicom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from monai.utils import optional_import

from ..utils import atomic_write, package_version
from .dicom_masks import codes_of, equipment, slices_of
from .writers import MADE_BY, MaskOrigin

pydicom, _ = optional_import("pydicom")
highdicom, _ = optional_import("highdicom")

__all__ = ["write_seg"]


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
    slices = slices_of(mask, place, origin)
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
        **equipment(slices[0]),
    )
    with atomic_write(path) as part:
        seg.save_as(part)


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


def _segment(number: int, value: int, name: str, origin: MaskOrigin, header: Any) -> Any:
    category, kind = codes_of(name)
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

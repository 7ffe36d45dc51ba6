# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of a DICOM series as DICOM: what is refused, and what segmentations and structure sets have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from monai.utils import optional_import

from ..utils import check_extra, package_version
from .dicom import slice_files
from .dicom_files import is_dicom_place
from .readers import is_image_file
from .writers import MADE_BY, MaskOrigin

pydicom, _ = optional_import("pydicom")

__all__ = ["UTF_8", "check_names", "codes_of", "dicom_problem", "equipment", "slices_of"]

#: As DICOM names it.
UTF_8 = "ISO_IR 192"
#: Categories and DICOM's groups (CID) of what belongs to them; the first that has a code counts, and else it is tissue.
_CATEGORIES = {
    "MorphologicallyAbnormalStructure": (7194,),
    "AnatomicalStructure": (7192, 10044),
    "PhysicalObject": (7193,),
    "BodySubstance": (7197,),
}
#: Of words that are in no group, or in that of anatomy without being anatomy.
_CATEGORIES_OF_WORDS = {
    "Bone": "AnatomicalStructure",
    "Metastasis": "MorphologicallyAbnormalStructure",
    "Thrombus": "MorphologicallyAbnormalStructure",
}

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
#: Attributes that a series has, if empty; some programs that take names away take these away, and highdicom reads them.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber"),
)


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
    unknown = sorted({*values} - {0, *origin.labels})
    if unknown or not origin.labels:
        held = ", ".join(map(str, unknown)) or "values"
        raise ValueError(
            f"masks hold {held}, of which the weights bring no name: name each by the id output_names, such as "
            f"--option \"output_names={{{(unknown or [1])[0]}: 'liver'}}\" or in model.json beside model.pt, in a "
            "bundle of your own by channel_def in metadata.json; or write nifti."
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
    except (ValueError, pydicom.errors.InvalidDicomError) as error:
        return str(error) if str(place) in str(error) else f"{place} cannot be read as DICOM: {error}"
    for header in slices:
        if missing := [name for name in _NEEDED if not header.get(name)]:
            return f"{header.filename} has no {', '.join(missing)}, which DICOM output refers to: write nifti."
    return ""


def _read_headers(place: str | os.PathLike[str]) -> list[Any]:
    # Forced, as for files without the mark of DICOM: that they are slices was seen before.
    return [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in slice_files(place)]


def slices_of(mask: np.ndarray, place: str | os.PathLike[str], origin: MaskOrigin) -> list[Any]:
    """Headers of the slices that a mask lies on, their text in UTF-8, with what is absent or invalid and may be empty.

    Args:
        mask: (columns, rows, slices) integers on the grid of the series.
        place: of the series.
        origin: of the mask.

    Raises:
        ValueError: when mask and series differ in shape, or a value has no name.
    """
    slices = _read_headers(place)
    shape = (slices[0].Columns, slices[0].Rows, len(slices))
    if mask.shape != shape:
        raise ValueError(f"the mask has the shape {mask.shape}, but the series {place} {shape}.")
    check_names(np.unique(mask).tolist(), origin)
    for header in slices:
        # UTF-8 takes text of any alphabet, labels as well; highdicom refuses some of the character sets of a series.
        header.decode()
        header.SpecificCharacterSet = UTF_8
        for name in _MAY_BE_EMPTY:
            if name not in header or not _is_valid(header[name]):
                setattr(header, name, "")
    return slices


def _is_valid(element: Any) -> bool:
    """Whether highdicom takes a value: no text such as "ANON" for a date, which programs that take names away leave."""
    value = str(element.value or "")
    if element.keyword == "PatientSex":
        return value in ("", "M", "F", "O")
    try:
        {"DA": pydicom.valuerep.DA, "TM": pydicom.valuerep.TM}.get(element.VR, str)(value)
    except ValueError:
        return False
    return True


def equipment(header: Any) -> dict[str, Any]:
    """What both kinds say of the program, and of their place among the series of a study."""
    return {
        "series_number": 1000 + int(header.get("SeriesNumber") or 0),
        "manufacturer": MADE_BY,
        "manufacturer_model_name": MADE_BY,
        "software_versions": package_version(),
    }


def codes_of(name: str) -> tuple[Any, Any]:
    """Category and type of what a label names."""
    codes = pydicom.sr.codedict.codes
    keyword = "".join(word.capitalize() for word in name.replace("_", " ").split())
    found = getattr(codes.SCT, keyword) if keyword in codes.SCT.dir() else None
    if found is None:
        return codes.SCT.Tissue, codes.SCT.Tissue
    return getattr(codes.SCT, _category_of(keyword, found)), found


def _category_of(keyword: str, code: Any) -> str:
    if keyword in _CATEGORIES_OF_WORDS:
        return _CATEGORIES_OF_WORDS[keyword]
    return next((category for category, groups in _CATEGORIES.items() if code in _codes_in(groups)), "Tissue")


@cache
def _codes_in(groups: tuple[int, ...]) -> frozenset[Any]:
    found = [getattr(pydicom.sr.codedict.codes, f"cid{group}") for group in groups]
    return frozenset(getattr(group, keyword) for group in found for keyword in group.dir())

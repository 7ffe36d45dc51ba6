# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``report``: a page with all cases of a folder of masks, worst first."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment

from ..data import open_inputs, read_image
from ..data.readers import reason_of
from ..metrics.tables import CaseRow, read_rows
from ..utils import DEFAULT_WINDOW, atomic_write, case_name, voxel_volume
from ..visualize import CasePictures, case_pictures
from .evaluation import CASES_FILE

__all__ = ["REPORT_NAME", "ReportCase", "check_page", "images_by_case", "render_report", "run", "write_report"]

REPORT_NAME = "report.html"
_ENDING = "_seg.nii.gz"
_DICOM_ENDING = "_seg.dcm"
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass
class ReportCase:
    """A row of the page.

    Attributes:
        name: of the case.
        status: "done", "failed", "skipped" or what else cases.csv says.
        reason: why it is not done, or has no pictures.
        ml: volume of the target in milliliters.
        rounds: number of fine rounds.
        stop_reason: why they ended.
        agreement: DSC of the masks of the last two rounds.
        predicted: DSC that the signals of quality predict, and its lower bound.
        dsc: against a label.
        hd95: likewise, in mm.
        seconds: that the case took.
        flags: what a reader should look at.
        pictures: None where there are none.

    Examples:
        >>> found = [ReportCase("fine", ml=61.2), ReportCase("none", ml=0.0), ReportCase("cut", "failed")]
        >>> [case.name for case in sorted(found, key=lambda case: case.badness)]
        ['cut', 'none', 'fine']
    """

    name: str
    status: str = "done"
    reason: str = ""
    ml: float | None = None
    rounds: int | None = None
    stop_reason: str = ""
    agreement: float | None = None
    predicted: tuple[float, float] | None = None
    dsc: float | None = None
    hd95: float | None = None
    seconds: float | None = None
    flags: list[str] = field(default_factory=list)
    pictures: CasePictures | None = None

    @property
    def badness(self) -> tuple[Any, ...]:
        """Sorts the worst first: failed, nothing found, flagged, skipped, the rest; then by DSC and agreement."""
        if self.status == "done":
            kind = 1 if "nothing found" in self.flags or self.ml == 0 else 2 if self.flags else 4
        else:
            kind = 3 if self.status == "skipped" else 0
        quality = None if self.predicted is None else self.predicted[0]
        unknown = [1.0 if value is None else value for value in (self.dsc, quality, self.agreement)]
        return (kind, -len(self.flags), *unknown, self.name)


def run(args: argparse.Namespace) -> None:
    """Write the page.

    Raises:
        FileNotFoundError: when the images do not exist.
        ValueError: when the folder holds neither masks nor a table of cases, or masks as DICOM alone.
    """
    if args.images is None:
        print(write_report(args.folder, _images_of_manifest(args.folder)))
        return
    with open_inputs(args.images) as cases:  # what a zip holds is there for so long
        print(write_report(args.folder, images_by_case(cases)))


def images_by_case(cases: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    """Images of :func:`c2f_monai.data.open_inputs` by the names of their cases."""
    return {str(case.get("case") or case_name(case["image"])): Path(case["image"]) for case in cases}


def write_report(folder: Path, images: Mapping[str, Path], window: Any = DEFAULT_WINDOW) -> Path:
    """Write ``report.html`` of a folder of masks, whole or not at all.

    Args:
        folder: with ``<case>_seg.nii.gz``, and perhaps ``cases.csv``.
        images: files or folders of images by names of cases; others have no pictures.
        window: HU that become black and white.

    Returns:
        The file.

    Raises:
        ValueError: when there is no case, the table is none of cases, or all masks are DICOM.
        FileExistsError: when there is a page of this name that is none of these.
    """
    check_page(folder)
    table = folder / CASES_FILE
    known = read_rows(table) if table.is_file() else {}
    masks = {_name_of(path, folder, _ENDING): path for path in folder.rglob(f"*{_ENDING}")}
    dicom = {_name_of(path, folder, _DICOM_ENDING): path for path in sorted(folder.rglob(f"*{_DICOM_ENDING}"))}
    if dicom and not masks:
        raise ValueError(
            f"the report reads masks as nifti, and {next(iter(dicom.values()))} is DICOM: segment with --output-type "
            "nifti for a report."
        )
    masks = {**dicom, **masks}
    names = sorted({**known, **masks})
    if not names:
        raise ValueError(f"{folder} holds no masks (<case>{_ENDING}) and no cases.csv: give the folder of a run.")
    cases = [_case(known.get(name, CaseRow(name, "", {})), masks.get(name), images.get(name), window) for name in names]
    page = folder / REPORT_NAME
    with atomic_write(page) as part:
        part.write_text(render_report(folder.absolute().name, cases), encoding="utf-8")
    return page


def check_page(folder: Path) -> None:
    """Refuse a folder whose ``report.html`` is no page of this command.

    Raises:
        FileExistsError: naming it.
    """
    page = folder / REPORT_NAME
    if page.is_dir() or (page.is_file() and b"has-slices" not in page.read_bytes()):
        raise FileExistsError(f"{page} exists and was not written by c2f: move it.")


def render_report(title: str, cases: Iterable[ReportCase]) -> str:
    """The page: HTML that loads nothing."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    ordered = sorted(cases, key=lambda case: case.badness)
    optional = ("dsc", "hd95", "predicted", "seconds")
    shown = {f"with_{name}": any(getattr(case, name) is not None for case in ordered) for name in optional}
    return template.render(title=title, cases=ordered, **shown)


def _case(table: CaseRow, mask: Path | None, image: Path | None, window: Any) -> ReportCase:
    row = table.values
    agreements = sorted((int(key[2:]), key) for key in row if re.fullmatch("d_[0-9]+", key) and row[key])
    rounds = table.number("rounds")
    predicted, bound = table.number("predicted_dsc"), table.number("dsc_bound")
    case = ReportCase(
        table.case,
        status=row.get("status") or "done",
        reason=row.get("reason", ""),
        ml=table.number("ml"),
        rounds=None if rounds is None else int(rounds),
        stop_reason=row.get("stop_reason", ""),
        agreement=table.number(agreements[-1][1]) if agreements else None,
        predicted=None if predicted is None or bound is None else (predicted, bound),
        dsc=table.number("dsc"),
        hd95=table.number("hd95"),
        seconds=table.number("seconds"),
        flags=[flag for flag in row.get("flags", "").split("; ") if flag],
    )
    if case.status != "done":
        return case
    try:
        _add_mask(case, mask, image, window)
    except Exception as error:  # the page is for what went wrong, too: a file that is damaged is a reason
        case.reason = reason_of(error)
    return case


def _add_mask(case: ReportCase, mask: Path | None, image: Path | None, window: Any) -> None:
    """Volume and pictures of a case.

    Raises:
        ValueError: when a file cannot be read, or there is none.
    """
    if mask is None:
        raise ValueError("its mask is not in the folder.")
    if mask.name.endswith(_DICOM_ENDING):
        raise ValueError("its mask is DICOM, which the report does not read.")
    found: Any = read_image(mask, dtype=None)
    if found.dtype != torch.uint8:
        found = (found.float() > 0).to(torch.uint8)  # a cast alone makes 0 of 256
    if case.ml is None:
        case.ml = int((found > 0).sum()) * voxel_volume(found.affine) / 1000.0
    if image is None or not image.exists():
        raise ValueError("no pictures: its image is not known here; c2f report FOLDER --images INPUT says where it is.")
    case.pictures = case_pictures(read_image(image), found, window)


def _name_of(mask: Path, folder: Path, ending: str) -> str:
    return mask.relative_to(folder).as_posix().removesuffix(ending)


def _images_of_manifest(folder: Path) -> dict[str, Path]:
    """Images that a folder's manifest.json names; none without one.

    Raises:
        ValueError: when it is none of a folder of masks.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        cases = json.loads(path.read_text(encoding="utf-8")).get("cases", {})
        return {name: Path(entry["image"]) for name, entry in cases.items() if "image" in entry}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no record of a folder of masks ({error}): move it, or give --images.") from error

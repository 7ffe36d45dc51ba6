# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``prepare pseudo``: a model's own answers on unlabeled CTs as labels, where they can be trusted."""

from __future__ import annotations

import argparse
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import list_inputs
from ..data.datalist import cases_by_split, label_names, read_description
from ..data.description import Preparer, add_cases, check_output, describe_dataset, drop_description, write_description
from ..data.readers import is_image_file
from ..data.writers import write_nifti
from ..inferers import FLAGS, CaseRecord
from ..utils import case_name, link_or_copy, package_version, reason_of
from .cli.command import add_config, add_device, add_model, add_option
from .segmenter import Segmentation, Segmenter
from .training_config import parse_option

__all__ = ["PseudoPreparer", "reason_against"]

#: Headers that name the file of their voxels, which is not found beside a link to them.
_HEADERS = (".mhd", ".nhdr")


class PseudoPreparer(Preparer):
    """Unlabeled CTs with the answers of a model as labels."""

    help = "unlabeled CTs, with a model's answers as labels where their predicted DSC is high"
    has_folds = False

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--input``, ``--min-dsc``, ``--refuse``, ``--add-to``, and those of the model."""
        parser.add_argument("--input", type=Path, required=True, help="folder of unlabeled CTs, or one of them")
        least = "predicted DSC from 0 to 1 that an answer needs to be kept; 0 asks for none"
        parser.add_argument("--min-dsc", type=float, required=True, metavar="DSC", help=least)
        flag = 'leave out cases with this flag, such as "look at this one"; may be repeated'
        parser.add_argument("--refuse", action="append", default=[], metavar="FLAG", help=flag)
        labeled = "folder of a dataset.json whose labeled cases are listed, too: to validate and test on"
        parser.add_argument("--add-to", type=Path, metavar="FOLDER", help=labeled)
        add_model(parser)
        add_config(parser)
        add_option(parser, "an id of the model's configuration, such as output_value=10; may be repeated")
        add_device(parser)

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """See :class:`c2f_monai.data.Preparer`."""
        _check_flags(options.refuse)
        output = options.output.absolute()
        labeled = cases_by_split(options.add_to)
        _check_places(options.input, output, options.min_dsc)
        cases = _unlabeled(options.input, labeled, options.add_to)
        ids = dict(parse_option(text) for text in options.option)
        segmenter = Segmenter(options.model, options.device, configs=options.config, options=ids)
        _check_quality(segmenter, options.min_dsc)
        names = _names(segmenter, options.add_to)

        listed = [case for split in labeled.values() for case in split]
        alike, files = _are_alike([*cases, *listed]), _file_names(cases, listed)
        # What it lists is no work of this run, which would be lost.
        added_to = options.add_to is not None and options.add_to.resolve() == output.resolve()
        entries: list[dict[str, Any]] = []
        left_out: dict[str, str] = {}
        for case, name, result in zip(cases, files, segmenter.each_case(cases, keep_image=True), strict=True):
            reason = _reason(result, options.min_dsc, options.refuse)
            if reason or isinstance(result, Exception):
                left_out[case["case"]] = reason
            else:
                if not added_to:
                    drop_description(output)
                entries.append(_write_case(case, name, result, segmenter, output, alike))
            yield f"{case['case']}: {_judgement(result)}{f'left out, {reason}' if reason else 'kept'}"
        if not entries:
            raise ValueError(f"none of the {len(cases)} answers is kept: lower --min-dsc, or leave --refuse out.")

        further = _further(segmenter, options, left_out, read_description(output) if added_to else {})
        own = describe_dataset(output.name, names, entries, folds=None, further=further)
        content = add_cases(own, labeled)
        yield f"{len(entries)} of {len(cases)} answers kept as labels, trained on in every fold and never tested"
        if options.add_to is None:
            yield "no case to validate on: add them to labeled ones with --add-to, or train with --holdout 0"
        yield str(write_description(output, content))


def reason_against(record: CaseRecord, min_dsc: float, refused: Sequence[str] = ()) -> str:
    """Why an answer is no label; empty where it is one.

    Args:
        record: of the case.
        min_dsc: predicted DSC that it needs; 0 asks for no prediction.
        refused: flags that it must not have. "nothing found" is always refused.

    Examples:
        >>> answer = CaseRecord(voxels=20, predicted=(0.81, 0.7), touches_border=True)
        >>> reason_against(answer, 0.8), reason_against(answer, 0.9), reason_against(answer, 0.8, ["touches border"])
        ('', 'predicted DSC 0.810 below 0.9', 'touches border')
    """
    if found := [flag for flag in record.flags if flag in ("nothing found", *refused)]:
        return ", ".join(found)
    if min_dsc > 0 and record.predicted is None:
        return "no predicted DSC"
    if record.predicted is not None and record.predicted[0] < min_dsc:
        return f"predicted DSC {record.predicted[0]:.3f} below {min_dsc:g}"
    return ""


def _reason(result: Segmentation | Exception, min_dsc: float, refused: Sequence[str]) -> str:
    if isinstance(result, Exception):
        return reason_of(result)
    return reason_against(result.record, min_dsc, refused) or ("" if result.ml > 0 else "nothing found")


def _judgement(result: Segmentation | Exception) -> str:
    if isinstance(result, Exception):
        return ""
    predicted = result.record.predicted
    flags = "".join(f"{flag}, " for flag in result.record.flags)
    return f"{result.ml:.1f} ml, {'' if predicted is None else f'predicted DSC {predicted[0]:.3f}, '}{flags}"


def _check_places(place: Path, output: Path, min_dsc: float) -> None:
    """Refuse what no answer could be written to, or chosen by.

    Raises:
        FileExistsError: when the output folder holds another data set.
        ValueError: for a bad threshold, an output folder below the input, or an input among what is written.
    """
    if not 0.0 <= min_dsc <= 1.0:
        raise ValueError(f"--min-dsc must be a DSC from 0 to 1, got {min_dsc:g}.")
    if place.is_dir() and output.resolve().is_relative_to(place.resolve()):
        raise ValueError(f"--output {output} lies in the folder of the images, {place}: choose another one.")
    folder = (place if place.is_dir() else place.parent).resolve()
    for written in (output / "images", output / "labels"):
        if folder.is_relative_to(written.resolve()):  # answers would take the place of what they were made from
            raise ValueError(f"--input {place} lies in {written}, which is written to: choose another --output.")
    check_output(output, output.name, "pseudo_labels")


def _unlabeled(
    place: Path, labeled: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path | None
) -> list[dict[str, Any]]:
    """Cases to segment; what is labeled already, or no image, is none of them.

    Args:
        place: of the images.
        labeled: cases of the data set that is added to. One whose image was written anew has a "source".
        folder: of that data set, which a "source" below it is relative to.

    Raises:
        ValueError: when nothing is left.
    """
    listed = [case.get("source", case["image"]) for cases in labeled.values() for case in cases]
    known = {os.path.realpath(os.path.join(folder or "", image)) for image in listed}
    found = [case for case in list_inputs(place) if "skipped" not in case]
    cases = [case for case in found if os.path.realpath(case["image"]) not in known]
    if not cases:
        raise ValueError(f"{place} holds no image without a label: all {len(found)} are cases of --add-to.")
    return cases


def _check_flags(refused: Sequence[str]) -> None:
    """Refuse flags that no answer can have, for which all would be kept.

    Raises:
        ValueError: for such a flag.
    """
    if unknown := [flag for flag in refused if flag not in FLAGS]:
        raise ValueError(f"--refuse {unknown[0]!r}: there is no such flag, choose among {', '.join(FLAGS)}.")


def _check_quality(segmenter: Segmenter, min_dsc: float) -> None:
    """Refuse a threshold where nothing predicts a DSC.

    Raises:
        ValueError: where the weights have no quality model.
    """
    if min_dsc > 0 and getattr(segmenter.inferer, "quality", None) is None:
        raise ValueError(
            f"the model {segmenter.name} predicts no DSC: fit a prediction with c2f evaluate --calibrate, or choose by "
            "flags alone with --min-dsc 0."
        )


def _names(segmenter: Segmenter, folder: Path | None) -> dict[int, str]:
    """Names of label values.

    Raises:
        ValueError: when masks hold values that the labeled cases do not.
    """
    known = {} if folder is None else {value: name for value, name in label_names(folder).items() if value}
    strange = [value for value in segmenter.values if known and value not in known]
    if strange:
        told = ", ".join(f"{value} {name}" for value, name in known.items())
        raise ValueError(
            f"the model's masks hold {strange[0]}, but the labels of {folder} are {told}: say --option output_value=N."
        )
    given = segmenter.origin.labels
    return {value: given.get(value, f"label {value}") for value in segmenter.values} | known


def _are_alike(cases: Sequence[Mapping[str, Any]]) -> bool:
    """Whether files of several cases are called the same: results are named after them."""
    return len({case_name(case["image"]) for case in cases}) < len(cases)


def _file_names(cases: Sequence[Mapping[str, Any]], labeled: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name of each case's files in one folder; a checksum of its path tells those apart that would be called alike.

    Files of the labeled cases count, too, and letters that differ in case do not: some disks know no difference.
    """
    flat = [str(case["case"]).replace("/", "_") for case in cases]
    listed = [case_name(case[key]) for case in labeled for key in ("image", "label") if key in case]
    taken = Counter(name.casefold() for name in [*flat, *listed])
    # Of the whole path: below the folders of several calls, cases are called alike.
    sums = [zlib.crc32(os.path.realpath(case["image"]).encode()) for case in cases]
    return [name if taken[name.casefold()] == 1 else f"{name}_{own:08x}" for name, own in zip(flat, sums, strict=True)]


def _write_case(
    case: Mapping[str, Any], name: str, result: Segmentation, segmenter: Segmenter, output: Path, alike: bool
) -> dict[str, Any]:
    """Write a label, and an image where it is no file of a name of its own; entry of the data set."""
    image = Path(case["image"])
    source = {}
    no_file = not is_image_file(image)  # but a DICOM series
    if result.image is not None and (no_file or (alike and image.suffix in _HEADERS)):
        source = {"source": str(image)}
        image = output / "images" / f"{name}.nii.gz"
        write_nifti(image, result.image[0].numpy(), result.affine)
    elif alike:
        image = link_or_copy(image, output / "images" / f"{name}{image.name[len(case_name(image)) :]}")
    label = output / "labels" / f"{name}.nii.gz"
    result.save(label, segmenter.origin.description)
    predicted = result.record.predicted
    judged = {} if predicted is None else {"predicted_dsc": round(predicted[0], 4), "dsc_bound": round(predicted[1], 4)}
    return {
        "image": str(image),
        "label": str(label),
        **source,
        "fold": None,
        "label_origin": f"{segmenter.origin.description}, {segmenter.name}",
        **judged,
        "flags": ", ".join(result.record.flags),
    }


def _further(
    segmenter: Segmenter, options: argparse.Namespace, left_out: Mapping[str, str], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What made the labels, by what they were chosen, and what was left out; also by the runs that are added to."""
    origin = segmenter.origin
    made = {
        "version": package_version(),
        "model": origin.model,
        "weights": dict(origin.weights),
        "signature": origin.signature,
        "min_dsc": options.min_dsc,
        "refuse": list(options.refuse),
    }
    if "pseudo_labels" in before:
        last = dict(before["pseudo_labels"])
        made["earlier"] = [*last.pop("earlier", []), last]
    return {"pseudo_labels": made, "left_out": {**before.get("left_out", {}), **left_out}}

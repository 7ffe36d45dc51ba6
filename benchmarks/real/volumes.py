# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``volumes``: weights on whole CTs: a labeled one in several contrast phases, and unlabeled ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.chapter.parts import ROOT
from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.evaluate import run_inference
from c2f_monai.apps.evaluation import CASES_FILE
from c2f_monai.apps.training_config import parse_option
from c2f_monai.data.readers import read_image
from c2f_monai.data.writers import write_nifti
from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.metrics.scores import read_mask
from c2f_monai.metrics.tables import CaseRow, read_cases
from c2f_monai.utils import atomic_write, case_name, sha256_of, voxel_volume
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from .plan import METHODS, inference_files, inference_options

__all__ = ["add_parser", "component_ml", "pseudo_phase", "volume_lines"]

#: HU of what a contrast medium enhances.
SOFT_TISSUE = (-50.0, 200.0)


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser("volumes", help="segment whole CTs: DSC, ml, components", description=__doc__)
    parser.add_argument("method", choices=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--weights", type=Path, required=True, help="of the method")
    parser.add_argument("--labeled", nargs=2, type=Path, metavar=("CT", "LABEL"), help="a CT with a label")
    parser.add_argument("--phases", type=float, nargs="+", default=[0, 40, 80], help="HU added (default: 0 40 80)")
    parser.add_argument("--unlabeled", nargs="*", type=Path, default=[], help="further CTs")
    add_option(parser, "an id of the inference, such as label_value=1")
    parser.add_argument("--output", type=Path, required=True, help="folder of masks, pictures and table.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Segment, write ``table.md``, ``result.json`` and a picture of each volume, and print the table.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when there is nothing to segment, or inference fails.
    """
    method, output = METHODS[args.method], args.output.absolute()
    items = [{"image": str(path.absolute())} for path in args.unlabeled]
    if args.labeled:
        image, label = (path.absolute() for path in args.labeled)
        items += write_phases(image, label, args.phases, output / "phases")
    if not items:
        raise ValueError("there is nothing to segment: give --labeled or --unlabeled.")
    with atomic_write(output / "dataset.json") as part:
        part.write_text(json.dumps({"name": "volumes", "test": items}, indent=1) + "\n", encoding="utf-8")
    files = [ROOT / file for file in inference_files(method)]
    options: dict[str, Any] = {"dataset_dir": str(output), "output_dir": str(output), "split": "test", "fold": None}
    options |= {"ckpt_path": str(args.weights.absolute()), "keep_rounds": True, "overlays": True}
    options["bundle_root"] = str(ROOT / "bundle")
    options |= {"progress": False, "overwrite": True, "strict": True} | inference_options(
        method, dict(parse_option(text) for text in args.option)
    )
    run_inference(files, options)
    cases = read_cases(output / CASES_FILE, ["ml", "voxels"])
    parts = {name: component_ml(output / f"{name}_seg.nii.gz") for name in cases}
    text = "\n".join([f"# {method.title} on whole CTs", "", *volume_lines(cases, parts), ""])
    made = {"weights": sha256_of(args.weights), "source": describe_source(ROOT), "versions": describe_versions()}
    for name, content in (
        ("table.md", text),
        ("result.json", json.dumps(made | {"machine": describe_machine()}, indent=1) + "\n"),
    ):
        with atomic_write(output / name) as part:
            part.write_text(content, encoding="utf-8")
    print(text)


def pseudo_phase(hu: np.ndarray, shift: float) -> np.ndarray:
    """A CT as if soft tissue took up contrast medium: ``shift`` HU more where there are -50 to 200, any shape.

    Examples:
        >>> pseudo_phase(np.array([-1000, -100, -10, 60, 400]), 40).tolist()
        [-1000, -100, 30, 100, 400]
    """
    low, high = SOFT_TISSUE
    return np.where((hu >= low) & (hu <= high), hu + shift, hu).astype(hu.dtype)


def write_phases(image: Path, label: Path, shifts: Sequence[float], folder: Path) -> list[dict[str, str]]:
    """Write a CT in several pseudo-phases; cases with the CT's label."""
    volume = read_image(image)
    hu = np.rint(volume.numpy()[0]).astype(np.int16)
    found = []
    for shift in shifts:
        path = folder / f"{case_name(image)}_plus{shift:g}.nii.gz"
        write_nifti(path, pseudo_phase(hu, shift), volume.affine.numpy())
        found.append({"image": str(path), "label": str(label)})
    return found


def component_ml(path: Path) -> list[float]:
    """Milliliters of the 6-connected components of a mask file, the largest first."""
    mask, affine = read_mask(path)
    labels, count = ndimage.label(mask.numpy())  # scipy's default structure is the 6-connected one in 3D
    voxels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return sorted((voxels * voxel_volume(affine) / 1000).tolist(), reverse=True)


def volume_lines(cases: Mapping[str, CaseRow], parts: Mapping[str, Sequence[float]]) -> list[str]:
    """One row for each volume; the coarse answer's DSC is on the working grid.

    Args:
        cases: rows of the table of cases.
        parts: milliliters of the components of each answer, see :func:`component_ml`.
    """
    rows = []
    for name, case in cases.items():
        dsc, coarse = (case.number(column) for column in ("dsc", "dsc_round_0"))
        largest = parts[name][0] if parts[name] else 0.0
        rows.append(
            [
                name,
                "" if dsc is None else f"{100 * dsc:.2f}",
                "" if coarse is None else f"{100 * coarse:.2f}",
                f"{case.number('ml') or 0.0:.1f}",
                str(len(parts[name])),
                f"{largest:.1f}",
                case.values.get("rounds", ""),
                f"{case.number('seconds') or 0.0:.1f}",
                case.values.get("flags", ""),
            ]
        )
    header = ("volume", "DSC [%]", "coarse", "ml", "components", "largest [ml]", "rounds", "s", "flags")
    return markdown_table(header, rows)

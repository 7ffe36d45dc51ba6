# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``demo``: the bundle's inference with the phantom's weights on a few test cases of the phantom."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data.phantom.writer import DEFAULT_NAME, write_phantom
from ..metrics.tables import CaseRow, read_cases
from ..utils import bundle_root, cache_dir
from .evaluate import run_inference
from .evaluation import CASES_FILE
from .models import MODELS

__all__ = ["format_table", "run", "segment_phantom"]


def run(args: argparse.Namespace) -> None:
    """Make the cases on first use, segment them, and print the table.

    Raises:
        ValueError: When the number of cases is not possible, or the weights do not fit.
        FileNotFoundError: When the bundle has no weights.
    """
    dataset = cache_dir(args.cache) / f"{DEFAULT_NAME}-{args.cases}-cases"
    if not dataset.is_dir():
        write_phantom(dataset, {"test": args.cases})
    output = args.folder.absolute() / "results"
    cases = segment_phantom(args.bundle_root or bundle_root(), dataset, output)
    print(f"\n{format_table(list(cases.values()))}\n")
    print(f"Masks (<case>_seg.nii.gz), overlays (<case>_overlay.png) and cases.csv are in {output}")


def segment_phantom(bundle_root: Path, dataset: Path, output: Path) -> dict[str, CaseRow]:
    """Run the bundle's inference on the test split of a data set, as ``python -m monai.bundle run`` does.

    Args:
        bundle_root: folder of the bundle.
        dataset: Decathlon-style data set.
        output: folder of the masks, overlays and the table.

    Returns:
        The rows of the table by case.
    """
    options = {"bundle_root": str(bundle_root), "dataset_dir": str(dataset), "output_dir": str(output)}
    files = [bundle_root / "configs" / name for name in MODELS["phantom-rstn"].configs]
    run_inference(files, {**options, "overwrite": True, "keep_rounds": True, "overlays": True, "progress": False})
    return read_cases(output / CASES_FILE, ["rounds", "stop_reason", "dsc", "seconds"])


def format_table(rows: Sequence[CaseRow]) -> str:
    """Table of case, rounds, stop reason, DSC after each round (0 is the coarse result) and seconds."""
    lines = [("case", "rounds", "stop reason", "DSC", "s", "DSC after round 0 (coarse), 1, 2, ... on the working grid")]
    for row in rows:
        rounds = [row.number(f"dsc_round_{t}") for t in range(int(row.values["rounds"]) + 1)]
        dsc = row.number("dsc")
        lines.append(
            (
                row.case,
                row.values["rounds"],
                row.values["stop_reason"],
                "-" if dsc is None else f"{dsc:.4f}",
                f"{row.number('seconds') or 0.0:.1f}",
                " ".join("-" if value is None else f"{value:.4f}" for value in rounds),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``phantom make`` writes the embedded data set, ``phantom difficulty`` prints how hard it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data.phantom.difficulty import Difficulty, measure_difficulty
from ..data.phantom.writer import COHORTS, SPLITS, write_phantom

__all__ = ["add_parser", "difficulty_lines", "parse_size", "parse_splits"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``phantom`` with its two actions."""
    parser = subparsers.add_parser("phantom", help="make the phantom data set, print its difficulty")
    actions = parser.add_subparsers(required=True, metavar="action")
    make = actions.add_parser("make", help="write the data set, or some of its cases, to a new folder")
    make.add_argument("--output", type=Path, required=True, help="folder to make; must not exist")
    make.add_argument("--cohort", choices=COHORTS, default="pancreas", help="cysts: a large cyst in every case")
    whole = ",".join(f"{split}:{count}" for split, count in SPLITS.items())
    make.add_argument("--splits", type=parse_splits, help=f"first cases of each split (default {whole})")
    make.add_argument("--size", type=parse_size, help="voxels along R,A,S, e.g. 64,64,40 for coarse test cases")
    make.add_argument("--processes", type=int, default=2, help="worker processes (default 2)")
    make.set_defaults(run=_make)
    difficulty = actions.add_parser("difficulty", help="measure HU overlap, spread of place, histogram classifier")
    difficulty.add_argument("--dataset_dir", type=Path, required=True, help="folder with a dataset.json")
    difficulty.set_defaults(run=_difficulty)


def parse_splits(text: str) -> dict[str, int]:
    """Parse ``"test:4,validation:2"``.

    Raises:
        argparse.ArgumentTypeError: when a part is not ``name:number``.
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {name.strip(): int(count) for name, count in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"splits must look like test:4,validation:2, got {text!r}") from None


def parse_size(text: str) -> tuple[int, ...]:
    """Parse ``"64,64,40"``.

    Raises:
        argparse.ArgumentTypeError: when it is not three whole numbers.
    """
    try:
        size = tuple(int(part) for part in text.split(","))
    except ValueError:
        size = ()
    if len(size) != 3:
        raise argparse.ArgumentTypeError(f"size must be three whole numbers such as 64,64,40, got {text!r}")
    return size


def _make(args: argparse.Namespace) -> None:
    print(write_phantom(args.output, args.splits, args.size, args.processes, cohort=args.cohort))


def _difficulty(args: argparse.Namespace) -> None:
    print("\n".join(difficulty_lines(measure_difficulty(args.dataset_dir))))


def difficulty_lines(found: Difficulty) -> list[str]:
    """The measurements as lines of text, percentages of volume or side."""

    def percent(values: tuple[float, ...], separator: str = ", ") -> str:
        return separator.join(f"{100 * value:.2f}" for value in values) + " %"

    return [
        f"cases                                   training {found.cases[0]}, validation {found.cases[1]}",
        f"target's share of the volume            {percent(found.fraction, ' / ')} (lowest / mean / highest)",
        f"HU overlap with surroundings (20 mm)    {found.overlap:.3f} ({found.overlap_range[0]:.3f} to "
        f"{found.overlap_range[1]:.3f})",
        f"centroid, standard deviation R, A, S    {percent(found.centroid_std)} of the side",
        f"centroid, 5th to 95th percentile        {percent(found.centroid_range)} of the side",
        f"classifier from position and HU         DSC {found.classifier_dsc:.3f} on validation "
        f"({found.classifier_fit_dsc:.3f} on training)",
    ]

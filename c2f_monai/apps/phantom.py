# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``phantom make`` writes the embedded data set."""

from __future__ import annotations

import argparse
import sys

from ..data.phantom.case import voxel_size
from ..data.phantom.writer import select_entries, write_phantom
from ..transforms.volumes import SPACING_MM

__all__ = ["make"]


def make(args: argparse.Namespace) -> None:
    """Write the data set and print its folder.

    Raises:
        OSError: when the folder exists or cannot be written.
        ValueError: for a cohort, split, size or number that is not possible.
    """
    print(write_phantom(args.output, args.splits, args.size, args.processes, cohort=args.cohort))
    if args.size is not None and (coarse := _too_coarse(args)):
        print(
            f"{coarse} cases have voxels above {SPACING_MM[1]:g} mm, which segment and evaluate refuse: give a larger "
            "--size where they are to be segmented.",
            file=sys.stderr,
        )


def _too_coarse(args: argparse.Namespace) -> int:
    """How many cases have larger voxels than inference takes; drawn again, as the files are in many orientations."""
    entries = select_entries(args.splits, args.cohort)
    steps = [voxel_size(entry.seed, entry.group, args.size, entry.version) for entry in entries]
    return sum(max(step) > SPACING_MM[1] for step in steps)

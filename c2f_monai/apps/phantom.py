# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``phantom make`` writes the embedded data set."""

from __future__ import annotations

import argparse

from ..data.phantom.writer import write_phantom

__all__ = ["make"]


def make(args: argparse.Namespace) -> None:
    """Write the data set and print its folder.

    Raises:
        OSError: when the folder exists or cannot be written.
        ValueError: for a cohort, split, size or number that is not possible.
    """
    print(write_phantom(args.output, args.splits, args.size, args.processes, cohort=args.cohort))

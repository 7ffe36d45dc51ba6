# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``experiment``: the chapter's tables, by the program of the source tree that is this package's, or lies here."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from ..utils import bundle_root

__all__ = ["run"]

PROGRAM = "benchmarks.chapter"


def run(args: argparse.Namespace) -> None:
    """Hand the words to the program; its exit status is the command's.

    Raises:
        FileNotFoundError: outside of a source tree.
    """
    # As python -m does; the program's own processes get their path from it.
    sys.path.insert(0, str(_source_tree()))
    sys.argv = [PROGRAM, *args.words]
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)


def _source_tree() -> Path:
    program = Path(*PROGRAM.split("."), "__main__.py")
    for folder in (bundle_root().parent, Path.cwd()):
        if (folder / program).is_file():
            return folder
    raise FileNotFoundError(
        f"the experiments are part of the source tree ({program.parent.as_posix()}), which an installed package does "
        "not hold: unpack or clone the source of c2f_monai, and give the command in its folder."
    )

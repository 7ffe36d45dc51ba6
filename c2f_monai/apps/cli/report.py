# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f report``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, place, runs

__all__ = ["add_parser"]

DESCRIPTION = """Writes report.html into a folder of masks: one file that opens in a browser without network, with a row
for each case, the worst first: three views through the target, volume, rounds and flags, failures with their reason;
a click shows slices with the mask on and off. It shows patients' images: keep it where they are kept.

FOLDER is what c2f segment or the bundle's inference wrote; its cases.csv is read where there is one."""
EXAMPLES = ("c2f report masks --images archive", "c2f segment archive masks --html    # the same at the end of a run")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "report", "a page with all cases of a folder of masks", DESCRIPTION, EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of masks, where report.html is written")
    images = "what was segmented (default: what manifest.json in the folder says; without, rows have no pictures)"
    parser.add_argument("--images", type=place, metavar="INPUT", help=images)
    parser.set_defaults(run=runs("report"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f refine``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_config, add_device, add_model, place, runs

__all__ = ["add_parser"]

DESCRIPTION = """Refines the answer of any other model by the rounds, in the place of the coarse networks. MASK is its
mask, its probabilities (of several classes along the last axis), or with --label-value a label map; it may lie on
another grid than the image. The answer is the last round's, on the image's own grid. Not for clinical use."""
EXAMPLES = (
    "c2f refine ct.nii.gz coarse.nii.gz mask.nii.gz",
    "c2f refine dicom_folder totalsegmentator.nii.gz mask.nii.gz --label-value 7",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "refine", "refine another model's mask of a CT", DESCRIPTION, EXAMPLES)
    parser.add_argument("input", type=place, metavar="CT", help="image file or DICOM folder")
    parser.add_argument("mask", type=Path, metavar="MASK", help="what the other model says")
    output = "mask to write (default: <MASK>_refined.nii.gz beside it)"
    parser.add_argument("output", type=Path, nargs="?", metavar="OUTPUT", help=output)
    parser.add_argument(
        "--label-value", type=int, nargs="+", action="extend", help="values of MASK that are the target"
    )
    add_model(parser)
    add_config(parser)
    add_device(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that c2f did not write")
    parser.add_argument("--quiet", action="store_true", help="print errors alone")
    parser.set_defaults(run=runs("refine"))

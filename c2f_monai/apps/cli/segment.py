# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f segment``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ... import __version__
from .command import Commands, add_command, add_config, add_device, add_model, add_option, place, runs

__all__ = ["add_parser"]

DESCRIPTION = """Segments CT images; masks lie on the images' own grids. Not for clinical use.

INPUT is a file (NIfTI, NRRD, MHA), the folder of a DICOM series, a folder of such files or folders, searched in depth
where it holds none itself, a zip of any of these, or a study or series of an archive, as
dicomweb+https://HOST/studies/UID[/series/UID]. OUTPUT is a file for one image, or a folder, where masks are called
<case>_seg.nii.gz (DICOM: <case>_seg.dcm); for several images it must be a folder. PREVIEW, PROBABILITIES
and UNCERTAINTY likewise. A case that fails costs no other: cases.csv in the folder says what became of each, the exit
status is 1, and the same command does what is missing."""
EXAMPLES = (
    "c2f segment ct.nii.gz mask.nii.gz",
    "c2f segment dicom_folder mask.nii.gz --preview mask.png --statistics mask.json",
    "c2f segment dicom_folder seg.dcm --output-type dicom-seg",
    "c2f segment archive masks --report report.json",
    "c2f segment ct.nii.gz mask.nii.gz --model my_run/model.pt --config network/deeplab.json",
    "c2f segment ct.nii.gz mask.nii.gz --model cyst.pt --config task/organ_then_cyst.json "
    "--option organ_ckpt_path=organ.pt",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "segment", "segment CT images", DESCRIPTION, EXAMPLES)
    parser.add_argument("input", type=place, metavar="INPUT", help="what to segment")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="mask to write, or folder of masks")
    add_model(parser)
    add_config(parser)
    add_option(parser, "an id of the model's configuration, such as max_rounds=3; may be repeated")
    add_device(parser)
    shard = "the third of eight shares of the cases; the shares of a folder may run at once, on several machines"
    parser.add_argument("--shard", type=_shard, metavar="3/8", help=shard)
    parser.add_argument("--fast", action="store_true", help="bfloat16, where the device has it")
    engine = "what runs the networks; onnx: ONNX Runtime on the CPU, with the extra onnx (default: torch)"
    parser.add_argument("--engine", choices=("torch", "onnx"), default="torch", help=engine)
    form = "form of the masks; DICOM for DICOM series alone, with the extra dicom (default: nifti)"
    parser.add_argument("--output-type", choices=("nifti", "dicom-seg", "rtstruct"), default="nifti", help=form)
    store = "send each mask back to the archive that a dicomweb+ address names (STOW-RS)"
    parser.add_argument("--store", action="store_true", help=store)
    parser.add_argument("--preview", type=Path, metavar="PNG", help="picture of the mask in three views")
    parser.add_argument("--probabilities", type=Path, metavar="NIFTI", help="probabilities, float32")
    uncertainty = "entropy of the probabilities in bits, float32: where the answer is in doubt"
    parser.add_argument("--uncertainty", type=Path, metavar="NIFTI", help=uncertainty)
    parser.add_argument("--statistics", type=Path, metavar="JSON", help="ml, HU, box and cut by the field of each case")
    parser.add_argument("--report", type=Path, metavar="JSON", help="versions, weights, options, seconds and rounds")
    parser.add_argument(
        "--html", action="store_true", help="write report.html into the folder of masks, see c2f report"
    )
    overwrite = "segment again what is done, and replace files that c2f did not write"
    parser.add_argument("--overwrite", action="store_true", help=overwrite)
    parser.add_argument("--strict", action="store_true", help="stop at the first case that fails")
    # What a folder of masks always does; earlier versions asked for it.
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("--quiet", action="store_true", help="print errors alone")
    loud.add_argument("--verbose", action="store_true", help="print the rounds of each case")
    parser.add_argument("--version", action="version", version=f"c2f_monai {__version__}")
    parser.set_defaults(run=runs("segment"))


def _shard(word: str) -> tuple[int, int]:
    number, _, shares = word.partition("/")
    if not (number.isdecimal() and shares.isdecimal() and 1 <= int(number) <= int(shares)):
        raise argparse.ArgumentTypeError(f"must be a share such as 3/8, from 1/8 to 8/8, got {word!r}")
    return int(number), int(shares)

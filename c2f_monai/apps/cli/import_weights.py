# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f import-weights``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, runs

__all__ = ["add_parser"]

DESCRIPTION = """Turns published weights into files for the bundle. rstn: snapshots of the PyTorch port, one for each
of the planes X, Y and Z, become a model for inference (ckpt_path) that carries the orientation of the slices it was
trained on. fcn8s, vgg16 and lite0: weights of natural images become a start of training (init_weights). Every tensor
of a file is used or known to be left out; files are read without running code from them."""
PLANES = {"x": "first (coronal)", "y": "second (sagittal)", "z": "third (axial)"}
STARTS = {
    "fcn8s": "FCN-8s on PASCAL VOC in PyTorch, converted from Caffe, as a start of training",
    "vgg16": "VGG-16 on ImageNet from torchvision, whole or its features alone, as a start of training",
    "lite0": "EfficientNet-Lite0 on ImageNet in PyTorch, as a start of training of LiteUNet",
}


def add_parser(commands: Commands) -> None:
    """Add the command with its kinds of weights."""
    parser = add_command(commands, "import-weights", "turn published weights into files for the bundle", DESCRIPTION)
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")
    rstn = add_command(kinds, "rstn", "snapshots of RSTN's PyTorch port, as a model for inference")
    for plane, what in PLANES.items():
        rstn.add_argument(
            f"--{plane}", type=Path, help=f"snapshot of plane {plane.upper()}: slices along the {what} axis"
        )
    rstn.add_argument(
        "--axcodes",
        help="directions of the three axes of the arrays that the snapshots were trained on, out of R L A P S I "
        "(default: PLS, what the original code makes of NIH Pancreas-CT)",
    )
    for kind, text in STARTS.items():
        start = add_command(kinds, kind, text)
        start.add_argument("weights", type=Path, help="the state_dict")
        start.add_argument("--views", nargs="+", default=["sagittal", "coronal", "axial"], help="views (default: all)")
    for kind in ("fcn8s", "vgg16"):
        kinds.choices[kind].add_argument("--in-slices", type=int, default=3, help="slices of a slab (default: 3)")
    for one in kinds.choices.values():
        one.add_argument("--output", required=True, type=Path, help="file to write")
    parser.set_defaults(run=runs("import_weights"))

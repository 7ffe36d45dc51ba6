# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f export``."""

from __future__ import annotations

from pathlib import Path

from .command import Commands, add_command, add_config, add_model, runs

__all__ = ["add_parser"]

DESCRIPTION = """Writes a model for other programs into a folder: an ONNX graph for each view and each of the parts
coarse, saliency and fine, for any height and width, with manifest.json, and configs/inference.json, which runs them
through ONNX Runtime; and model.ts, TorchScript, which gives the coarse answer only unless the package's inferer runs
it. Each graph is compared with the network before the command ends. Needs pip install "c2f-monai[onnx]"."""
EXAMPLES = (
    "c2f export pancreas_onnx",
    "c2f segment ct.nii.gz mask.nii.gz --model pancreas_onnx",
    "c2f export exported --model my_run/model.pt --format torchscript",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "export", "write a model as ONNX graphs and TorchScript", DESCRIPTION, EXAMPLES)
    parser.add_argument("output", type=Path, metavar="FOLDER", help="where to write")
    add_model(parser)
    add_config(parser)
    parser.add_argument("--format", choices=("onnx", "torchscript"), help="write this alone (default: both)")
    parser.set_defaults(run=runs("export"))

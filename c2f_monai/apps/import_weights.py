# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``import-weights``: published weights as files for the bundle."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from ..handlers import save_weights
from ..networks.weights import (
    RSTN_AXCODES,
    RSTN_PLANES,
    import_fcn8s,
    import_lite0,
    import_rstn,
    import_vgg16,
    plain_state_dict,
)
from ..utils import View, read_weights_file
from .merge import views_of

__all__ = ["add_parser", "read_state_dict", "run"]

DESCRIPTION = """Turns published weights into files for the bundle. rstn: snapshots of the PyTorch port, one for each
of the planes X, Y and Z, become a model for inference (ckpt_path) that carries the orientation of the slices it was
trained on. fcn8s, vgg16 and lite0: weights of natural images become a start of training (init_weights). Every tensor
of a file is used or known to be left out; files are read without running code from them."""
STARTS: dict[str, tuple[str, Callable[..., dict[str, torch.Tensor]], str]] = {
    "fcn8s": (
        "FCN-8s on PASCAL VOC in PyTorch, converted from Caffe, as a start of training",
        import_fcn8s,
        "score and up-sampling layers (21 classes)",
    ),
    "vgg16": (
        "VGG-16 on ImageNet from torchvision, whole or its features alone, as a start of training",
        import_vgg16,
        "the last layer of the classifier (1000 classes)",
    ),
    "lite0": (
        "EfficientNet-Lite0 on ImageNet in PyTorch, as a start of training of LiteUNet",
        import_lite0,
        "the head and the classifier (1000 classes)",
    ),
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    summary = "turn published weights into files for the bundle"
    parser = subparsers.add_parser("import-weights", help=summary, description=DESCRIPTION)
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")
    rstn = kinds.add_parser("rstn", help="snapshots of RSTN's PyTorch port, as a model for inference")
    for plane, what in zip(RSTN_PLANES, ("first (coronal)", "second (sagittal)", "third (axial)"), strict=True):
        rstn.add_argument(
            f"--{plane.lower()}", type=Path, help=f"snapshot of plane {plane}: slices along the {what} axis"
        )
    rstn.add_argument(
        "--axcodes",
        default=RSTN_AXCODES,
        help="directions of the three axes of the arrays that the snapshots were trained on, out of R L A P S I "
        f"(default: {RSTN_AXCODES}, what the original code makes of NIH Pancreas-CT)",
    )
    for kind, (text, _, _) in STARTS.items():
        start = kinds.add_parser(kind, help=text)
        start.add_argument("weights", type=Path, help="the state_dict")
        start.add_argument("--views", nargs="+", default=[view.value for view in View], help="views (default: all)")
    kinds.choices["vgg16"].add_argument("--in-slices", type=int, default=3, help="slices of a slab (default: 3)")
    for one in kinds.choices.values():
        one.add_argument("--output", required=True, type=Path, help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read, check, write the file and print what is in it.

    Raises:
        FileNotFoundError: When a file does not exist.
        ValueError: When a file is not what it should be; nothing is written then.
    """
    if args.kind == "rstn":
        _run_rstn(args)
    else:
        _run_start(args)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights, see :py:func:`c2f_monai.networks.weights.plain_state_dict`.

    Raises:
        FileNotFoundError: When it does not exist.
        ValueError: When it cannot be read or is no flat state_dict.
    """
    content = read_weights_file(path)
    try:
        return plain_state_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _run_rstn(args: argparse.Namespace) -> None:
    paths = {plane: getattr(args, plane.lower()) for plane in RSTN_PLANES if getattr(args, plane.lower())}
    if not paths:
        raise ValueError("give at least one snapshot: --x, --y and --z.")
    imported = import_rstn({plane: read_state_dict(path) for plane, path in paths.items()}, args.axcodes)
    save_weights(imported, args.output)
    views = views_of(imported)
    print(f"{args.output}: {len(imported)} tensors of the views {', '.join(views)}, trained on {args.axcodes} arrays.")
    limited = "" if len(views) == len(View) else f''' --views "{views}"'''
    print("Segment with configs/network/imported_rstn.json after bundle/configs/inference.json, and with")
    print(f"    --ckpt_path {args.output}{limited}")


def _run_start(args: argparse.Namespace) -> None:
    _, convert, rest = STARTS[args.kind]
    source = read_state_dict(args.weights)
    options = {"in_slices": args.in_slices} if args.kind == "vgg16" else {}
    try:
        imported = convert(source, args.views, **options)
    except ValueError as error:
        raise ValueError(f"{args.weights}: {error}") from error
    save_weights(imported, args.output)
    print(
        f"{args.output}: {len(imported)} tensors for the coarse and fine networks of {', '.join(views_of(imported))}. "
        f"Left out: {rest}."
    )
    print(f"Start training from it with --init_weights {args.output}; the log names what does not fit your network.")

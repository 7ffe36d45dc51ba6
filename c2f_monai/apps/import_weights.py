# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``import-weights``: published weights as files for the bundle."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
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
from ..utils import View, read_weights_file, settings_file, views_of
from .weights_output import check_output

__all__ = ["read_state_dict", "run"]

#: What reads a kind of start, and what it leaves out.
STARTS: dict[str, tuple[Callable[..., dict[str, torch.Tensor]], str]] = {
    "fcn8s": (import_fcn8s, "score and up-sampling layers (21 classes)"),
    "vgg16": (import_vgg16, "the last layer of the classifier (1000 classes)"),
    "lite0": (import_lite0, "the head and the classifier (1000 classes)"),
}


def run(args: argparse.Namespace) -> None:
    """Read, check, write the file and print what is in it.

    Raises:
        FileNotFoundError: When a file does not exist.
        ValueError: When a file is not what it should be, or the output would take the place of one of them, or of what
            is no weights of views. Nothing is written then.
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
    check_output(args.output, list(paths.values()), "import")
    axcodes = args.axcodes or RSTN_AXCODES
    imported = import_rstn({plane: read_state_dict(path) for plane, path in paths.items()}, axcodes)
    _write(imported, args.output)
    views = views_of(imported)
    print(f"{args.output}: {len(imported)} tensors of the views {', '.join(views)}, trained on {axcodes} arrays.")
    limited = "" if len(views) == len(View) else f''' --views "{views}"'''
    print("Segment with configs/network/imported_rstn.json after bundle/configs/inference.json, and with")
    print(f"    --ckpt_path {args.output}{limited}")


def _run_start(args: argparse.Namespace) -> None:
    check_output(args.output, [args.weights], "import")
    convert, rest = STARTS[args.kind]
    source = read_state_dict(args.weights)
    options = {} if args.kind == "lite0" else {"in_slices": args.in_slices}  # LiteUNet takes a single slice as it is
    try:
        imported = convert(source, args.views, **options)
    except ValueError as error:
        raise ValueError(f"{args.weights}: {error}") from error
    _write(imported, args.output)
    print(
        f"{args.output}: {len(imported)} tensors for the coarse and fine networks of {', '.join(views_of(imported))}. "
        f"Left out: {rest}."
    )
    print(f"Start training from it with --init_weights {args.output}; the log names what does not fit your network.")


def _write(imported: Mapping[str, torch.Tensor], output: Path) -> None:
    save_weights(imported, output)
    settings_file(output).unlink(missing_ok=True)  # of the weights that were there

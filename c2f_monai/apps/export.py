# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``export``: a model as ONNX graphs and TorchScript, in a bundle that runs them."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.data import save_net_with_metadata

from .. import __version__
from ..inferers import CoarseToFineInferer, LogitsInferer, QualityModel, quality_path
from ..networks import CoarseToFineNet
from ..networks.onnx_export import export_onnx
from ..networks.onnx_network import MANIFEST
from ..utils import atomic_write, sha256_of
from .model_config import read_model
from .segmenter import Segmenter

__all__ = ["FORMATS", "SETTINGS", "run"]

SCRIPT = "model.ts"
COARSE_ONLY = (
    "called with a volume (B, 1, H, W, D) in [0, 1] it gives the coarse answer only; the rounds are those of "
    "CoarseToFineInferer, which calls it with a part and a view"
)
#: Ids that a program of one's own needs to do what the inferer does.
SETTINGS = (
    "pixdim",
    "window",
    "views",
    "margin",
    "crop_multiple",
    "min_size",
    "bridge",
    "fusion",
    "prior",
    "result",
    "component_fraction",
    "stop_dice",
    "max_rounds",
)
#: In the exported configuration in the place of the model's own.
GRAPHS = {
    "bundle_root": ".",
    "network_def": {"_target_": "c2f_monai.networks.OnnxNetwork", "_requires_": "@package", "folder": "@bundle_root"},
    "ckpt_path": f"$os.path.join(@bundle_root, '{MANIFEST}')",
    "load_weights": {
        "_target_": "c2f_monai.handlers.OnnxCheckpointLoader",
        "network": "@network",
        "manifest": "@ckpt_path",
    },
}
FORMATS = ("onnx", "torchscript")


def run(args: argparse.Namespace) -> None:
    """Load the model, write what was asked for and say what it is.

    Raises:
        FileExistsError: when the folder holds something that is no export.
        FileNotFoundError: when there is no such model.
        MissingPackagesError: without the packages of the extra ``onnx``.
        ValueError: when the model is not one coarse-to-fine network, or a graph differs from it.
    """
    output: Path = args.output
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file()):
        raise FileExistsError(f"{output} exists and is no export: give a new or empty folder.")
    segmenter = Segmenter(args.model, "cpu", configs=args.config)
    network: Any = segmenter.network
    if not isinstance(network, CoarseToFineNet):
        raise ValueError(f"{args.model} is no single network, but a {type(network).__name__}: export its models apart.")
    kinds = FORMATS if args.format is None else (args.format,)
    if "onnx" in kinds:
        _write_graphs(args, network, segmenter)
    if "torchscript" in kinds:
        _write_script(network, output / SCRIPT)


def _write_graphs(args: argparse.Namespace, network: CoarseToFineNet, segmenter: Segmenter) -> None:
    about = {
        "c2f_monai": __version__,
        "model": str(args.model),
        "weights": list(segmenter.weights.values()),
        "settings": _settings(segmenter),
    }
    manifest = export_onnx(network, args.output, about)
    _write_quality(segmenter, args.output / MANIFEST)
    config = read_model(args.model, args.config).get()
    config.pop("_meta_", None)
    config.update(GRAPHS)
    if names := segmenter.origin.labels:  # the folder has no metadata, which may have said them
        config["output_names"] = {str(value): name for value, name in names.items()}
    with atomic_write(args.output / "configs" / "inference.json") as part:
        part.write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
    for view, entry in manifest["views"].items():
        for name, graph in entry["parts"].items():
            size = (args.output / graph["file"]).stat().st_size / 1e6
            print(f"{graph['file']}: {name} of {view}, {size:.1f} MB, difference {graph['max_difference']:g}")
    print(f"segment with them: c2f segment CT MASK --model {args.output}")


def _settings(segmenter: Segmenter) -> dict[str, Any]:
    """:py:data:`SETTINGS` of the configuration; of an id that it does not have, what the inferer does."""
    known = segmenter.config.get()
    settings = {**_own_settings(segmenter.inferer), **{key: segmenter.config[key] for key in SETTINGS if key in known}}
    return {key: settings[key] for key in SETTINGS if key in settings}


def _own_settings(inferer: Any) -> dict[str, Any]:
    """An inferer's arguments by their ids: for ids that a bundle of an earlier version lacks, defaults apply."""
    inferer = inferer.inferer if isinstance(inferer, LogitsInferer) else inferer
    if not isinstance(inferer, CoarseToFineInferer):
        return {}
    rule, stopping = inferer.rule, inferer.stopping
    fusion = [str(inferer.coarse_fusion), str(inferer.fine_fusion)]
    return {
        "window": inferer.window,
        "views": None if inferer.views is None else [str(view) for view in inferer.views],
        "margin": rule.margin,
        "crop_multiple": rule.multiple,
        "min_size": rule.min_size,
        "bridge": rule.bridge,
        "fusion": fusion[0] if fusion[0] == fusion[1] else fusion,
        "prior": str(inferer.prior),
        "result": str(inferer.result),
        "component_fraction": inferer.component_fraction,
        "stop_dice": stopping.dice,
        "max_rounds": stopping.max_rounds,
    }


def _write_quality(segmenter: Segmenter, manifest: Path) -> None:
    """The model's prediction of the DSC, beside what stands in the place of its weights and for its hash.

    Graphs answer as the network does, so what was fitted on its signals holds for theirs.
    """
    quality = getattr(segmenter.inferer, "quality", None)
    if isinstance(quality, QualityModel):
        replace(quality, sha256=sha256_of(manifest)).write(quality_path(manifest))


def _write_script(network: CoarseToFineNet, path: Path) -> None:
    script = torch.jit.script(network)
    with atomic_write(path) as part:
        save_net_with_metadata(script, str(part), meta_values={"c2f_monai": __version__, "answer": COARSE_ONLY})
    print(f"{path.name}: {COARSE_ONLY}.")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``export``: a model as ONNX graphs and TorchScript, in a bundle that runs them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from .staging import move_files, staged

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
INFERENCE = Path("configs", "inference.json")


def run(args: argparse.Namespace) -> None:
    """Load the model, write what was asked for and say what it is.

    An earlier export in the folder is replaced when all of the new one is made and compared; what there is of another
    model in a format that was not asked for goes.

    Raises:
        FileExistsError: when the folder holds something that is no export.
        FileNotFoundError: when there is no such model.
        MissingPackagesError: without the packages of the extra ``onnx``.
        ValueError: when the model is not one coarse-to-fine network, or a graph differs from it.
    """
    output: Path = args.output.resolve()
    earlier = _earlier(output / MANIFEST)
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and earlier is None):
        raise FileExistsError(f"{args.output} exists and is no export: give a new or empty folder.")
    segmenter = Segmenter(args.model, "cpu", configs=args.config)
    network: Any = segmenter.network
    if not isinstance(network, CoarseToFineNet):
        raise ValueError(f"{args.model} is no single network, but a {type(network).__name__}: export its models apart.")
    kinds = FORMATS if args.format is None else (args.format,)
    with staged(output) as part:
        if "onnx" in kinds:
            _write_graphs(args, network, segmenter, part)
        if "torchscript" in kinds:
            _write_script(network, part / SCRIPT)
        same = earlier is not None and earlier.weights == list(segmenter.weights.values())
        outdated = [] if earlier is None else _outdated(earlier, kinds, same)
        move_files(part, output, [output / name for name in outdated], last=MANIFEST)
    if "onnx" in kinds:
        print(f"segment with them: c2f segment CT MASK --model {args.output}")


@dataclass(frozen=True)
class _Export:
    """What the manifest of an export says.

    Attributes:
        graphs: names of their files.
        weights: hashes of those that they were made of.
    """

    graphs: tuple[str, ...]
    weights: list[str]


def _earlier(manifest: Path) -> _Export | None:
    """The export that a manifest is of; None where there is none, or another one, as segment writes it beside masks."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        parts = [part for view in content["views"].values() for part in view["parts"].values()]
        graphs = tuple(Path(part["file"]).name for part in parts)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return _Export(graphs, content.get("weights", []))


def _outdated(earlier: _Export, kinds: Sequence[str], same: bool) -> list[Path]:
    """Files of an earlier export that must not stay beside the new one, unless they are replaced.

    Args:
        earlier: the export.
        kinds: formats of the new one.
        same: whether both are of the same weights.
    """
    manifest = Path(MANIFEST)
    graphs = [*map(Path, earlier.graphs), quality_path(manifest), INFERENCE, manifest]
    return (graphs if "onnx" in kinds or not same else []) + ([] if same else [Path(SCRIPT)])


def _write_graphs(args: argparse.Namespace, network: CoarseToFineNet, segmenter: Segmenter, folder: Path) -> None:
    about = {
        "c2f_monai": __version__,
        "model": str(args.model),
        "weights": list(segmenter.weights.values()),
        "settings": _settings(segmenter),
    }
    manifest = export_onnx(network, folder, about)
    _write_quality(segmenter, folder / MANIFEST)
    config = read_model(args.model, args.config).get()
    config.pop("_meta_", None)
    config.update(GRAPHS)
    if names := segmenter.origin.labels:  # the folder has no metadata, which may have said them
        config["output_names"] = {str(value): name for value, name in names.items()}
    with atomic_write(folder / INFERENCE) as part:
        part.write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
    for view, entry in manifest["views"].items():
        for name, graph in entry["parts"].items():
            size = (folder / graph["file"]).stat().st_size / 1e6
            print(f"{graph['file']}: {name} of {view}, {size:.1f} MB, difference {graph['max_difference']:g}")


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

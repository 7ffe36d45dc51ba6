# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs in the place of a network: what inferers call is run by ONNX Runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from monai.utils import optional_import

from ..utils import Part, SlabSpec, check_extra, pad_to_multiple, sha256_of

__all__ = ["INPUT", "MANIFEST", "OUTPUT", "OnnxNetwork"]

onnxruntime, _ = optional_import("onnxruntime")
#: Name of the file that says what the graphs of a folder are.
MANIFEST = "manifest.json"
#: Names of a graph's input and output.
INPUT, OUTPUT = "input", "output"
#: Pixels of crops in one run: the maps of more leave the processor's caches (28 crops of 192x192 took a fifth longer).
CROP_PIXELS = 2**18


class OnnxNetwork(nn.Module):
    """
    The network that ``c2f export`` wrote, run by ONNX Runtime: inferers take it as they take a
    :py:class:`CoarseToFineNet`.

    Graphs run in float32; where the inputs are on a GPU and ONNX Runtime's provider is not, maps are copied to and fro.

    Args:
        folder: with the manifest and the graphs.
        providers: ONNX Runtime's execution providers in the order of preference, such as
            ``["CUDAExecutionProvider"]``, or pairs of a name and its options. Defaults to None: all that the installed
            package has, but for TensorRT, which builds an engine for each new size of its input.
        threads: of the processor. Defaults to None, torch's number.

    Raises:
        MissingPackagesError: without onnxruntime.
        FileNotFoundError: without a manifest or a graph that it names.
        ValueError: when a graph is not the one that the manifest was written for.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        providers: Sequence[str | Sequence[Any]] | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        check_extra("an ONNX graph", "onnx", "onnxruntime")
        self.manifest = path = Path(folder) / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: give a folder that c2f export wrote.")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        self.out_channels, self.saliency_reach = int(manifest["out_channels"]), int(manifest["saliency_reach"])
        self.in_slices, self.out_slices = int(manifest["in_slices"]), int(manifest["out_slices"])
        self.multiples: dict[str, int] = manifest["multiples"]
        entries = manifest["views"]
        self.view_names = list(entries)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        # Threads that spin between two calls take the processor from torch, which does what lies between them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        chosen = _default_providers() if providers is None else [_provider(one) for one in providers]
        self.views = nn.ModuleDict({name: _OnnxView(entry["slice_axes"]) for name, entry in entries.items()})
        self.sessions: dict[tuple[str, str], Any] = {}
        for name, entry in entries.items():
            for part, graph in entry["parts"].items():
                file = str(_graph_file(path.parent, graph))
                self.sessions[name, part] = onnxruntime.InferenceSession(file, options, providers=chosen)
        self.has_coarse, self.has_saliency, self.has_fine = (
            all((name, part.value) in self.sessions for name in self.view_names)
            for part in (Part.COARSE, Part.SALIENCY, Part.FINE)
        )
        self.eval()

    @property
    def slab(self) -> SlabSpec:
        """How many slices go in and come out."""
        return SlabSpec(self.in_slices, self.out_slices)

    def check_manifest(self, path: str | os.PathLike[str]) -> None:
        """Refuse a file in the place of weights that is not this network's manifest.

        Raises:
            ValueError: for another file.
        """
        if Path(path).absolute() != self.manifest.absolute():
            raise ValueError(f"ONNX graphs hold their weights: ckpt_path must be {self.manifest}, got {path}.")

    @torch.no_grad()
    def forward(self, inputs: torch.Tensor, part: str = "", view: str = "") -> torch.Tensor:
        """
        Args:
            inputs: slabs or crops (B, in_slices, h, w) in [0, 1]; for "saliency" probabilities
                (B, K * out_slices, h, w). What is no multiple of a graph's sizes is padded with zeros at its end.
            part: "coarse", "saliency" or "fine".
            view: name of one of the views.

        Returns:
            (B, K * out_slices, h, w) logits; for "saliency" (B, in_slices, h, w) weights; float32, on the device of
            the inputs.

        Raises:
            ValueError: for a part or view that there is no graph of; graphs know no volume.
        """
        session = self.sessions.get((view, part))
        if session is None:
            raise ValueError(
                f"there is no graph of part {part!r} and view {view!r}, but {sorted(self.sessions)}: "
                "run them in CoarseToFineInferer, which cuts volumes into slabs."
            )
        padded = pad_to_multiple(inputs, self.multiples[part])
        values = padded.detach().to("cpu", torch.float32).contiguous().numpy()
        count = max(len(values), 1)
        if part == Part.FINE and session.get_providers()[0] == "CPUExecutionProvider":
            count = max(CROP_PIXELS // (values.shape[2] * values.shape[3]), 1)
        pieces = [values[start : start + count] for start in range(0, max(len(values), 1), count)]
        output = np.concatenate([session.run([OUTPUT], {INPUT: piece})[0] for piece in pieces])
        return torch.from_numpy(output)[..., : inputs.shape[2], : inputs.shape[3]].to(inputs.device)


class _OnnxView(nn.Module):
    """What inferers ask of a view: signed axes of its slices, None for those of a RAS volume."""

    def __init__(self, slice_axes: list[int] | None) -> None:
        super().__init__()
        self.slice_axes = slice_axes


def _provider(given: str | Sequence[Any]) -> Any:
    """A provider as ONNX Runtime takes it: configurations have lists where it asks for tuples."""
    return given if isinstance(given, str) else tuple(given)


def _default_providers() -> list[str]:
    return [name for name in onnxruntime.get_available_providers() if not name.startswith("Tensorrt")]


def _graph_file(folder: Path, graph: dict[str, Any]) -> Path:
    """A graph's file, which must be the one of the manifest."""
    file: Path = folder / graph["file"]
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}, which {folder / MANIFEST} names: export the model again.")
    if sha256_of(file) != graph["sha256"]:
        raise ValueError(f"{file} is not the graph that {MANIFEST} was written for: export the model again.")
    return file

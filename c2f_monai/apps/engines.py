# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs the networks of a model: torch, or ONNX Runtime on the CPU, by graphs that are made once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import torch
import torch.nn as nn

from .. import __version__
from ..networks import CoarseToFineNet, OnnxNetwork
from ..networks.onnx_export import export_onnx
from ..utils import cache_dir, check_extra

__all__ = ["ENGINES", "check_engine", "graphs_of"]

ENGINES = ("torch", "onnx")


def check_engine(engine: str, device: torch.device, fast: bool) -> None:
    """Refuse an engine that cannot do what is asked for.

    Args:
        engine: one of :data:`ENGINES`.
        device: where the networks are to run.
        fast: whether in bfloat16.

    Raises:
        ValueError: for an unknown engine, and for graphs on another device than the CPU or in bfloat16.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "onnx" and device.type != "cpu":
        raise ValueError(f"engine onnx runs on the CPU, and the device is {device}: give cpu, or the engine torch.")
    if engine == "onnx" and fast:
        raise ValueError("engine onnx computes in float32: leave out fast, or give the engine torch.")


def graphs_of(network: nn.Module, name: str, signature: str) -> OnnxNetwork:
    """The graphs of a network, from the cache; they are made, and compared with the network, where it has none.

    Args:
        network: with its weights.
        name: of the model.
        signature: of configuration and weights; the graphs of another one are others.

    Raises:
        MissingPackagesError: without the packages of the extra ``onnx``.
        ValueError: for anything but one coarse-to-fine network, or when a graph differs from it.
    """
    if isinstance(network, OnnxNetwork):
        return network
    if not isinstance(network, CoarseToFineNet):
        raise ValueError(
            f"engine onnx runs one network, and {name} is a {type(network).__name__}: give the engine torch."
        )
    check_extra("the engine onnx", "onnx", "onnxruntime")  # else its absence would read as a damaged folder
    folder = cache_dir() / "engines" / f"{Path(name).stem}-{__version__}-{signature}"
    try:
        return OnnxNetwork(folder)
    except (FileNotFoundError, ValueError):  # not there, or damaged
        shutil.rmtree(folder, ignore_errors=True)
    _export(network, folder, name)
    return OnnxNetwork(folder)


def _export(network: CoarseToFineNet, folder: Path, name: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        export_onnx(network, Path(made) / "graphs", {"c2f_monai": __version__, "model": name})
        if not folder.exists():  # else another process was faster
            os.replace(Path(made) / "graphs", folder)

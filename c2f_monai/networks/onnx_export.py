# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a network as ONNX graphs of any height and width, and a manifest that says what they are."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from ..utils import Part, atomic_write, check_extra, sha256_of
from .coarse_to_fine import CoarseToFineNet
from .one_view import CoarseToFineView
from .onnx_network import INPUT, MANIFEST, OUTPUT, OnnxNetwork

__all__ = ["TOLERANCE", "export_onnx", "prepare_for_export"]

#: Largest difference from the network that a graph may have, as a share of the largest logit or weight (at least 1).
TOLERANCE = 1e-4
#: Sides of the slabs that a graph is traced with and checked with, in multiples of what it takes; batch first.
TRACED, CHECKED = (2, 3, 2), ((1, 2, 1), (3, 1, 3))
LARGEST_SIDE = 8192
#: Output channels up to which a convolution becomes a transposed one.
NARROW = 4


def prepare_for_export(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode without what a graph of any size cannot hold.

    Batch norms become part of their convolutions, modules with a method ``for_export``, whose computation depends on
    the size of their input, are replaced by what it returns, and convolutions to a few channels by transposed ones.

    Args:
        network: it is not changed.
    """
    prepared = copy.deepcopy(network).eval()
    for_inference = getattr(prepared, "for_inference", None)
    prepared = prepared if for_inference is None else for_inference()
    for module in list(prepared.modules()):
        for name, child in list(module.named_children()):
            replace = getattr(child, "for_export", None)
            if replace is not None:
                setattr(module, name, replace())
            elif _is_narrow(child):
                setattr(module, name, _transposed(child))
    return prepared


def _is_narrow(module: nn.Module) -> bool:
    """Whether a convolution has so few output channels that ONNX Runtime computes mostly what nobody needs."""
    return (
        type(module) is nn.Conv2d
        and module.out_channels <= NARROW
        and module.in_channels >= 2 * NARROW
        and module.stride == module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(0 <= margin < side for margin, side in zip(module.padding, module.kernel_size, strict=True))
        and max(module.kernel_size) > 1
    )


def _transposed(convolution: Any) -> nn.ConvTranspose2d:
    """The same convolution as a transposed one, which ONNX Runtime runs as a matrix product.

    Its convolutions work in blocks of sixteen output channels, and so would all that follows in the graph, such as the
    interpolation of coarse logits: of a single channel fifteen sixteenths for nothing.
    """
    margin = [side - 1 - own for side, own in zip(convolution.kernel_size, convolution.padding, strict=True)]
    transposed = nn.ConvTranspose2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        padding=tuple(margin),
        bias=convolution.bias is not None,
    )
    transposed.weight = nn.Parameter(convolution.weight.detach().transpose(0, 1).flip(2, 3).contiguous())
    transposed.bias = convolution.bias
    return transposed.eval()


def export_onnx(network: CoarseToFineNet, folder: Path, about: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write a graph for each view and part, and :data:`MANIFEST`; each is run and compared with the network.

    A graph takes (B, channels, h, w) float32 for any B, and h and w that are multiples of what the manifest says for
    its part: cutting and padding belong to who calls it, :py:class:`OnnxNetwork` among them.

    Args:
        network: its weights are not changed.
        folder: for the files; it is made. One of its own: after an error it holds what is not whole.
        about: further entries of the manifest. Defaults to none.

    Returns:
        The manifest, with the largest difference of each graph.

    Raises:
        MissingPackagesError: without the packages of the extra ``onnx``.
        ValueError: when a graph differs from the network.
    """
    # torch asks for onnxscript only after it has traced the network.
    check_extra("an ONNX graph", "onnx", "onnx", "onnxruntime", "onnxscript")
    prepared: Any = prepare_for_export(network)
    folder.mkdir(parents=True, exist_ok=True)
    views: dict[str, dict[str, Any]] = {}
    for name, view in prepared.views.items():
        axes = view.slice_axes
        views[name] = {"slice_axes": None if axes is None else [int(axis) for axis in axes], "parts": {}}
        for part in (part for part in Part if getattr(view, part.value) is not None):
            file = f"{name}_{part.value}.onnx"
            with atomic_write(folder / file) as written:
                _export(view, part, _channels(network, part), _multiple(network, part), written)
            views[name]["parts"][part.value] = {"file": file, "sha256": sha256_of(folder / file)}
    manifest = {
        **(about or {}),
        "out_channels": network.out_channels,
        "in_slices": network.in_slices,
        "out_slices": network.out_slices,
        "saliency_reach": network.saliency_reach,
        "multiples": {part.value: _multiple(network, part) for part in Part},
        "input": f"{INPUT}: (B, channels, h, w) float32; slabs in [0, 1], of saliency probabilities",
        "output": f"{OUTPUT}: (B, channels, h, w) float32; logits, of saliency weights of the slab's pixels",
        "views": views,
    }
    _write_manifest(folder, manifest)
    _check(network, folder, manifest)
    _write_manifest(folder, manifest)
    return manifest


class _PartOfView(nn.Module):
    """One part of a view as a function of one tensor."""

    def __init__(self, view: CoarseToFineView, part: Part) -> None:
        super().__init__()
        self.view, self.part = view, part.value

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.view(inputs, self.part)
        return output


def _channels(network: CoarseToFineNet, part: Part) -> int:
    """Channels that go into a part."""
    return network.out_channels * network.out_slices if part == Part.SALIENCY else network.in_slices


def _multiple(network: CoarseToFineNet, part: Part) -> int:
    """What the sides of a part's input are multiples of: then no layer pads, and all depends on the sizes linearly."""
    if part == Part.SALIENCY:
        return 1
    down = max(int(view.coarse_downsample) for view in network.views.values()) if part == Part.COARSE else 1  # type: ignore[arg-type]
    return network.size_divisor * down


def _export(view: CoarseToFineView, part: Part, channels: int, multiple: int, path: Path) -> None:
    batch, rows, columns = TRACED
    # Small maps would become constants: saliency takes any size.
    side = max(multiple, 16)
    example = torch.rand(batch, channels, rows * side, columns * side)
    dimension = torch.export.Dim
    height, width = (dimension(name, min=1, max=LARGEST_SIDE // multiple) for name in ("rows", "columns"))
    shapes = {0: dimension("batch"), 2: multiple * height, 3: multiple * width}
    with torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            _PartOfView(view, part).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
        program.save(str(path), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's words about packages that it does not need."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@torch.no_grad()
def _check(network: CoarseToFineNet, folder: Path, manifest: dict[str, Any]) -> None:
    """Run every graph at other sizes than the traced one, and note the largest difference from the network."""
    graphs = OnnxNetwork(folder, providers=["CPUExecutionProvider"])
    reference = copy.deepcopy(network).cpu().float().eval()
    random = torch.Generator().manual_seed(0)
    for view, entry in manifest["views"].items():
        for part, graph in entry["parts"].items():
            side = max(manifest["multiples"][part], 16)
            found = 0.0
            for batch, rows, columns in CHECKED:
                shape = (batch, _channels(network, Part(part)), rows * side, columns * side)
                inputs = torch.rand(shape, generator=random)
                own, theirs = (one(inputs, part, view) for one in (graphs, reference))
                found = max(found, float((own - theirs).abs().max() / theirs.abs().max().clamp_min(1.0)))
            if not found <= TOLERANCE:
                raise ValueError(
                    f"{graph['file']} differs from the network by {found:g}, more than {TOLERANCE:g}: a layer of it "
                    "does not become a graph of any size; give it a method for_export that returns one that does."
                )
            graph["max_difference"] = float(f"{found:.1e}")


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    with atomic_write(folder / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

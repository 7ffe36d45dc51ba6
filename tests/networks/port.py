# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The original PyTorch port as the parity data describes it: names, shapes and weights of its snapshots."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch

CONVOLUTIONS = (
    "conv1_1 3 64 3, conv1_2 64 64 3, conv2_1 64 128 3, conv2_2 128 128 3, conv3_1 128 256 3, conv3_2 256 256 3, "
    "conv3_3 256 256 3, conv4_1 256 512 3, conv4_2 512 512 3, conv4_3 512 512 3, conv5_1 512 512 3, conv5_2 512 512 3, "
    "conv5_3 512 512 3, fc6 512 4096 7, fc7 4096 4096 1, score_fr 4096 N 1, score_pool3 256 N 1, score_pool4 512 N 1"
)
UPSAMPLINGS = {"upscore2": 4, "upscore8": 16, "upscore_pool4": 4}


def fcn_shapes(classes: int = 3, divisor: int = 1) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an FCN's state_dict; all but the classes and the input are divided by ``divisor``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for line in CONVOLUTIONS.split(", "):
        layer, *numbers = line.split()
        inputs, outputs = (classes if n == "N" else int(n) if n == "3" else int(n) // divisor for n in numbers[:2])
        shapes[f"{layer}.weight"] = (outputs, inputs, int(numbers[2]), int(numbers[2]))
        shapes[f"{layer}.bias"] = (outputs,)
    return shapes | {f"{layer}.weight": (classes, classes, n, n) for layer, n in UPSAMPLINGS.items()}


def rstn_shapes(divisor: int = 1) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a snapshot's state_dict."""
    shapes = {f"coarse_model.{key}": shape for key, shape in fcn_shapes(divisor=divisor).items()}
    for layer, kernel in (("saliency1", 3), ("saliency2", 5)):
        shapes |= {f"{layer}.weight": (3, 3, kernel, kernel), f"{layer}.bias": (3,)}
    return shapes | {f"fine_model.{key}": shape for key, shape in fcn_shapes(divisor=divisor).items()}


def rstn_snapshot(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The snapshot of full size that the parity data was computed with."""
    return {key: torch.from_numpy(_tensor(key, shape, arrays)) for key, shape in rstn_shapes().items()}


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights that keep activations in range, and a little bias, with random values off the diagonals too."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes.items():
        scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.05
        tensors[key] = torch.randn(shape, generator=generator) * scale
    return tensors


def _tensor(key: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    layer = key.rsplit(".", 1)[0]
    if f"cal/{layer}.bias" in arrays and key.endswith(".bias"):
        return arrays[f"cal/{layer}.bias"]
    if key == "saliency2.bias":
        return np.array([1.0, 1.5, 2.0], dtype=np.float32)
    draw = np.random.default_rng(zlib.crc32(f"dev{key}".encode())).standard_normal(shape, dtype=np.float32)
    if key.endswith(".bias"):
        return draw * np.float32(0.05)
    if "upscore" in key:
        draw *= np.float32(0.01)
        n = shape[-1]
        f = (n + 1) // 2
        line = 1 - np.abs(np.arange(n) - (f - 1 if n % 2 else f - 0.5)) / f
        draw[np.arange(shape[0]), np.arange(shape[0])] = np.outer(line, line)
        return draw
    draw *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
    if key == "saliency2.weight":
        return draw * np.float32(0.3)
    return draw * arrays[f"cal/{layer}.scale"] if f"cal/{layer}.scale" in arrays else draw

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``release-weights``: put weights into the bundle, under a version and a hash."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.utils import version_leq

from ..handlers import save_weights
from ..utils import atomic_write, read_state_dict, sha256_of

__all__ = ["half_precision", "run"]


def half_precision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state_dict with its convolutions in float16; biases, normalization and counters stay as they are.

    Args:
        state: flat state_dict.

    Raises:
        ValueError: When a weight is beyond float16's range.

    Example:
        >>> state = half_precision({"conv.weight": torch.ones(2, 3, 1, 1), "conv.bias": torch.ones(2)})
        >>> state["conv.weight"].dtype, state["conv.bias"].dtype
        (torch.float16, torch.float32)
    """
    halved = {
        key: value.half() if value.dtype == torch.float32 and value.dim() > 1 else value for key, value in state.items()
    }
    if lost := [key for key, value in halved.items() if not torch.isfinite(value).all()]:
        raise ValueError(
            f"{lost[0]} holds values that float16 cannot: these weights cannot be stored in half precision."
        )
    return halved


def run(args: argparse.Namespace) -> None:
    """Write the file, then the metadata, and print both.

    Raises:
        ValueError: When the name is a path or does not end in .pt, the weights are no flat state_dict, the version is
            not in the changelog, or weights were released in the file's place under it or a later one. Nothing is
            written then.
    """
    if Path(args.name).name != args.name or not args.name.endswith(".pt"):
        raise ValueError(f"--name must be a file name such as model.pt, in the bundle's models, got {args.name}.")
    path = args.bundle_root / "configs" / "metadata.json"
    metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if args.version not in metadata["changelog"]:
        known = ", ".join(metadata["changelog"])
        raise ValueError(f"--version {args.version} is not in the changelog of {path}, which has {known}: add a line.")
    state = read_state_dict(args.weights)
    target = args.bundle_root / "models" / args.name
    released = metadata.setdefault("weights", {})
    present = released.get(args.name, {}).get("version")
    if present == args.version:
        raise ValueError(f"{target} was released as {args.version} already: give its successor another version.")
    if present is not None and version_leq(args.version, present):
        raise ValueError(
            f"{target} was released as {present}: its successor needs a later version, not {args.version}."
        )
    save_weights(half_precision(state) if args.half else state, target)
    released[args.name] = {"version": args.version, "sha256": sha256_of(target)}
    with atomic_write(path) as part:
        part.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, version {args.version}, {released[args.name]['sha256']}")

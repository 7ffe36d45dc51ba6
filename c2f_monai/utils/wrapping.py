# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks behind wrappers, and rows of several processes."""

from __future__ import annotations

from typing import Any, TypeVar

import ignite.distributed as idist
import torch.distributed as dist
import torch.nn as nn

__all__ = ["gather_rows", "unwrap"]

T = TypeVar("T")


def unwrap(network: Any) -> nn.Module:
    """The network inside DistributedDataParallel, which hides attributes and changes the names of a checkpoint."""
    module = getattr(network, "module", network)
    return module if isinstance(module, nn.Module) else network


def gather_rows(rows: list[T]) -> list[T]:
    """What all processes have, process by process, in each of them; ``rows`` where there is only one.

    Args:
        rows: of this process, of any type that can be pickled.
    """
    parts: list[list[T]] = [rows]
    if idist.get_world_size() > 1:
        parts = [[] for _ in range(idist.get_world_size())]
        dist.all_gather_object(parts, rows)
    return [row for part in parts for row in part]

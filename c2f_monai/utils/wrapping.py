# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks behind wrappers."""

from __future__ import annotations

from typing import Any

import torch.nn as nn

__all__ = ["unwrap"]


def unwrap(network: Any) -> nn.Module:
    """The network inside DistributedDataParallel, which hides attributes and changes the names of a checkpoint."""
    module = getattr(network, "module", network)
    return module if isinstance(module, nn.Module) else network

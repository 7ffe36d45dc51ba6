# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What stays as it is while another part of the network is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["frozen_shared_encoder"]


@contextmanager
def frozen_shared_encoder(network: Any, view: str) -> Iterator[None]:
    """An encoder that f_F has from f_C neither learns nor moves the statistics of its batch norms.

    Args:
        network: :py:class:`c2f_monai.networks.CoarseToFineNet`, not wrapped; one without such an encoder is left alone.
        view: name of the view whose networks are run.
    """
    parts: Any = network.views[view] if hasattr(network, "views") else None
    place = getattr(parts, "shared", "")
    if not place:
        yield
        return
    encoder = parts.fine.get_submodule(place)
    learning = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    training = [module for module in encoder.modules() if module.training]
    encoder.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)

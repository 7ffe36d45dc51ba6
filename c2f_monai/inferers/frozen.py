# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What stays as it is while another part of the network is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn import Parameter

from ..utils import TrainingStage

__all__ = ["frozen_shared_encoder", "idle_parameters"]

#: Parts that a stage trains, where it is not all of them.
_TRAINED = {
    TrainingStage.COARSE: ("coarse",),
    TrainingStage.FINE: ("fine",),
    TrainingStage.SEPARATE: ("coarse", "fine"),
}


def idle_parameters(network: Any, stage: str) -> list[Parameter]:
    """Parameters that a stage does not train.

    Args:
        network: :py:class:`c2f_monai.networks.CoarseToFineNet`, not wrapped; of another one it is none.
        stage: "coarse", "fine", "separate", "individual" or "joint".
    """
    trained = _TRAINED.get(TrainingStage(stage))
    if trained is None or not hasattr(network, "views"):
        return []
    idle = []
    for parts in network.views.values():
        learning = {id(one) for name in trained for one in _parameters(parts, name)}
        if stage == TrainingStage.FINE:  # an encoder that f_F has from f_C is f_C's
            learning -= {id(one) for one in _parameters(parts, "coarse")}
        idle += [one for one in parts.parameters() if id(one) not in learning]
    return idle


def _parameters(parts: Any, name: str) -> Iterator[Parameter]:
    part = getattr(parts, name)
    yield from () if part is None else part.parameters()


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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of a released model into a network: all of its views' tensors, or an error."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
import torch.nn as nn
from ignite.engine import Engine, Events

from ..utils import describe_mismatch, read_state_dict, unwrap, view_of, views_of

__all__ = ["StrictCheckpointLoader", "load_weights"]

logger = logging.getLogger(__name__)


def load_weights(network: nn.Module, path: str, map_location: torch.device | str | None = "cpu") -> list[str]:
    """Fill a network from a flat state_dict, which may hold views that the network does not have.

    Args:
        network: network to fill, bare or wrapped for several processes.
        path: the file.
        map_location: device the file's tensors are read to.

    Returns:
        The views that were left out.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is damaged, no flat state_dict of finite values, or does not fit the network key by key and
            shape by shape.
    """
    state = read_state_dict(path, map_location)
    module = unwrap(network)
    own = module.state_dict()
    left = [view for view in views_of(state) if view not in views_of(own)] if views_of(own) else []
    state = {key: value for key, value in state.items() if view_of(key) not in left}
    problems = describe_mismatch({key: value.shape for key, value in own.items()}, state)
    if problems:
        raise ValueError(f"{path} does not fit the network: {problems}; check views and network_def.")
    module.load_state_dict(state)
    return sorted(left)


class StrictCheckpointLoader:
    """Handler that fills the network before an engine starts, see :func:`load_weights`.

    MONAI's ``CheckpointLoader`` does the same with an error of one line for each key. Its name is part of this one's,
    because consumers that bring their own weights, such as ``MonaiAlgo``, disable handlers by it.

    Args:
        network: network to fill; a ``torch.nn.ModuleDict`` of networks where there are several files.
        path: flat state_dict, or one for each network by its name.
        map_location: device the file's tensors are read to.

    Raises:
        ValueError: When the names of files and networks differ.
    """

    def __init__(
        self, network: nn.Module, path: str | Mapping[str, str], map_location: torch.device | str | None = "cpu"
    ) -> None:
        if isinstance(path, Mapping) and (
            not isinstance(network, nn.ModuleDict) or sorted(path) != sorted(network.keys())
        ):
            names = sorted(network.keys()) if isinstance(network, nn.ModuleDict) else "one network"
            raise ValueError(f"there are weights for {sorted(path)}, but {names} to fill.")
        self.network = network
        self.path = path
        self.map_location = map_location

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine | None = None) -> None:
        """Load; without an engine where there is none."""
        files = {"": self.path} if isinstance(self.path, str) else dict(self.path)
        for name, path in files.items():
            network = self.network[name] if name else self.network  # type: ignore[index]
            left = load_weights(network, path, self.map_location)
            without = f", without the views {', '.join(left)}" if left else ""
            logger.info(f"weights: {f'{name}: ' if name else ''}{path}{without}")

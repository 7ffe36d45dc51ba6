# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading of a model's weights: all of them, or an error that says what does not fit."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
import torch.nn as nn
from ignite.engine import Engine, Events

__all__ = ["LoadWeights", "load_weights"]

logger = logging.getLogger(__name__)
_SHOWN = 5


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill a network from a flat state_dict, on whatever device the network is.

    Args:
        network: also wrapped for distributed training.
        path: file of ``torch.save(state_dict)``, loaded with ``weights_only=True``.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is no flat state_dict, or keys or shapes do not fit; the message names them.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"weights {Path(path).absolute()} do not exist: train first, or set ckpt_path.")
    try:
        source = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever the unpickler met
        raise ValueError(f"weights {path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(source, dict) or not all(isinstance(value, torch.Tensor) for value in source.values()):
        raise ValueError(f"weights {path} are not a flat state_dict of tensors.")
    module = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    target = module.state_dict()
    missing = sorted(target.keys() - source.keys())
    unexpected = sorted(source.keys() - target.keys())
    reshaped = sorted(
        f"{key} {tuple(source[key].shape)} for {tuple(target[key].shape)}"
        for key in target.keys() & source.keys()
        if source[key].shape != target[key].shape
    )
    problems = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    found = [f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{', …' * (len(keys) > _SHOWN)})" for what, keys in problems if keys]
    if found:
        raise ValueError(f"weights {path} do not fit the network: {'; '.join(found)}: check network_def and views.")
    module.load_state_dict(source)
    logger.info(f"weights: {len(source)} tensors from {path}")


class LoadWeights:
    """Fill a network with ``load_weights`` when the engine starts; a missing file is an error at once.

    Args:
        network: network to fill.
        path: flat state_dict.

    Raises:
        FileNotFoundError: when the file does not exist.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"weights {Path(path).absolute()} do not exist: train first, or set ckpt_path.")
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load."""
        load_weights(self.network, self.path)

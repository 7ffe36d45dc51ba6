# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights that training starts from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import torch.nn as nn
from ignite.engine import Engine, Events
from monai.networks.utils import copy_model_state

from ..utils import check_weights_file, read_state_dict, unwrap
from .fine_copies import copy_to_fine

__all__ = ["InitialWeights"]

logger = logging.getLogger(__name__)

#: Names that the log lists; of more it tells the modules, as far as so many parts of their names.
MOST, DEPTH = 8, 5


class InitialWeights:
    """
    Starts training from another model's weights, and names the parts that do not fit. Where the file has no fine
    networks, they start as copies of the coarse ones.

    Args:
        network: network to fill.
        path: flat state_dict.

    Raises:
        FileNotFoundError: when ``path`` does not exist.
        ValueError: when the file is damaged or no state_dict of finite values, when no part fits, or the weights expect
            slices of another orientation than the network's.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        check_weights_file(path)
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; attach the checkpoint's handler after this one."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Copy what fits by name and shape."""
        network = unwrap(self.network)
        source = read_state_dict(self.path)
        own = network.state_dict()
        # Axes that the network has would be replaced by the file's, but the data set goes on by slice_axcodes.
        axes = {key: value.tolist() for key, value in source.items() if key.endswith(".slice_axes")}
        views = {key.split(".")[1] for key in own if key.startswith("views.")}
        turned = [
            key
            for key, codes in axes.items()
            if key.split(".")[1] in views and (key not in own or own[key].tolist() != codes)
        ]
        if turned:
            raise ValueError(
                f"init_weights: {self.path} was trained on slices of another orientation ({turned[0]}): "
                "set slice_axcodes to theirs, as configs/network/imported_rstn.json does."
            )
        _, copied, left = copy_model_state(network, source)
        if not copied:
            raise ValueError(f"init_weights: nothing in {self.path} fits this network: check views and network_def.")
        if not any(".fine." in key for key in source):
            copy_to_fine(network)
        unused = sorted(set(source) - set(copied))
        logger.info(f"{self.path}: {len(copied)} tensors copied, {len(left)} keep their start, {len(unused)} not used")
        if left or unused:
            logger.warning(f"init_weights: not filled: {_summary(left)}; not used: {_summary(unused)}")


def _summary(names: Sequence[str]) -> str:
    """Names of tensors; where they are many, the modules that they belong to and how many of each."""
    if len(names) <= MOST:
        return ", ".join(names) or "none"
    modules = Counter(".".join(name.split(".")[:-1][:DEPTH]) for name in names)
    return ", ".join(f"{module} ({count})" for module, count in modules.items())

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the place of a loader of weights where the network is made of ONNX graphs."""

from __future__ import annotations

from ignite.engine import Engine, Events

from ..networks import OnnxNetwork

__all__ = ["OnnxCheckpointLoader"]


class OnnxCheckpointLoader:
    """Handler that checks the weights of ONNX graphs before an engine starts: they hold them, and it loads nothing.

    Args:
        network: the graphs.
        manifest: their manifest, which says by its hashes what they are.

    Raises:
        ValueError: when called, for another file.
    """

    def __init__(self, network: OnnxNetwork, manifest: str) -> None:
        self.network = network
        self.path = manifest

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine | None = None) -> None:
        """Check; without an engine where there is none."""
        self.network.check_manifest(self.path)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An evaluator's iteration in which a case that fails costs no other."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine

from ..data.manifest import Manifest

__all__ = ["EachCase"]


class EachCase:
    """
    The ``iteration_update`` of MONAI's ``SupervisedEvaluator`` for batches of one: an exception becomes a failed case.

    Reading, the inferer and the postprocessing run inside it. After a case that failed the engine's batch and output
    are empty, and the next case begins.

    Args:
        manifest: where the failure is noted; it raises the exception again where the run is to stop.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def __call__(self, engine: Engine, batch: Any) -> Any:
        """Run the evaluator's own iteration."""
        try:
            if "problem" in batch:
                raise ValueError(batch["problem"][0])
            return engine._iteration(engine, batch)  # type: ignore[attr-defined]
        except Exception as error:
            self.manifest.fail(batch["case"][0], error)
            engine.state.batch = []  # type: ignore[assignment]
            return []

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An evaluator's iteration in which a case that fails costs no other, and its run by several processes."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from ..data.manifest import Manifest

__all__ = ["EachCase", "run_share"]


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


def run_share(evaluator: Evaluator) -> None:
    """Run an evaluator on a process's share of the cases, which may be empty where processes outnumber cases.

    MONAI passes over an empty run, and the other processes would wait for this one at its end; here its handlers begin
    and end all the same.
    """
    if evaluator.state.epoch_length:
        evaluator.run()
        return
    for event in (Events.STARTED, Events.COMPLETED):
        evaluator.fire_event(event)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of cases for several targets of one evaluation: organ and neoplasm, several organs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine

from ..data.manifest import Manifest
from .case_report import CaseReport
from .write_in_background import WriteInBackground

__all__ = ["TargetReports"]

Values = int | Sequence[int]


class TargetReports:
    """
    One :class:`CaseReport` for each target of a label map: ``cases_<target>.csv`` and ``summary_<target>.json``.

    Args:
        inferer: the inferer whose record tells of every target as one of its classes, in order; or a list of inferers,
            one for each target.
        label_value: for each target its label value, or values that are joined, in label files.
        pred_value: the same in the prediction, a label map.
        targets: names of the targets. Defaults to their values in the prediction.
        path: CSV file whose name the targets' are made of; None logs only.
        channels: for each target its class in its inferer's records. Defaults to 0, 1, ... with one inferer and to 0
            with several.
        manifest: see :class:`CaseReport`.
        writing: see :class:`CaseReport`.

    Attributes:
        reports: by target.

    Raises:
        ValueError: When the lists differ in length or two targets have one name.
    """

    def __init__(
        self,
        inferer: Any,
        label_value: Sequence[Values],
        pred_value: Sequence[Values],
        targets: Sequence[str] | None = None,
        path: str | None = None,
        channels: Sequence[int] | None = None,
        manifest: Manifest | None = None,
        writing: WriteInBackground | None = None,
    ) -> None:
        count = len(label_value)
        several = isinstance(inferer, Sequence)
        inferers = list(inferer) if several else [inferer] * count
        classes = list(channels) if channels is not None else [0] * count if several else list(range(count))
        names = [_name(values) for values in pred_value] if targets is None else list(targets)
        lengths = {
            "inferer": len(inferers),
            "label_value": count,
            "pred_value": len(pred_value),
            "targets": len(names),
            "channels": len(classes),
        }
        if count == 0 or len(set(lengths.values())) > 1:
            raise ValueError(f"every target needs one entry in each list, got {lengths}.")
        if len(set(names)) < count:
            raise ValueError(f"targets must have different names, got {names}.")
        self.reports = {
            name: CaseReport(
                one, path, label, pred_value=pred, channel=channel, target=name, manifest=manifest, writing=writing
            )
            for name, one, label, pred, channel in zip(names, inferers, label_value, pred_value, classes, strict=True)
        }

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with post-processing."""
        for report in self.reports.values():
            report.attach(engine)


def _name(values: Values) -> str:
    return str(values) if isinstance(values, int) else "_".join(str(value) for value in values)

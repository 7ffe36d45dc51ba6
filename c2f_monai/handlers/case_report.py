# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of cases that an evaluation or inference writes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import ResampleToMatch

from ..data.manifest import Manifest
from ..data.readers import read_image
from ..transforms import check_whole_values
from ..transforms.label_maps import class_values, select_label
from ..utils import CASES_LOGGER, SLICES_KEY, Status, case_name
from .case_rows import Row, case_row, describe_row, summarize_rows
from .case_table import CaseTable, write_table, write_whole
from .write_in_background import WriteInBackground

__all__ = ["CaseReport"]

logger = logging.getLogger(CASES_LOGGER)


class CaseReport:
    """
    Logs a line for each case and, with a path, writes the table of cases and a ``summary.json`` beside it at the end.
    With a manifest the table is one of all cases of the folder, with their status, and grows as they end.

    It reads the inferer's records, the post-processed ``pred`` on the image's own grid, and the truth if there is one:
    ``label``, a binary tensor on the image's own grid or the path of a label file, and ``label_grid``, a binary tensor
    on the working grid (else the label is resampled to the grid of ``image``). Several processes send their rows to the
    first, which drops what the sampler has repeated. Stacks of single slices have no HD95. It is about one target;
    :class:`TargetReports` is one such report for each of several.

    Args:
        inferer: :py:class:`c2f_monai.inferers.CoarseToFineInferer` of the evaluator.
        path: CSV file, replaced as a whole; None logs only.
        label_value: label value, or values, of the target in label files.
        grid_key: key of the label on the working grid.
        pred_value: value, or values, of the target in the prediction where that is a label map of several; None: what
            is above 0. Defaults to None.
        channel: the target's class, where record, prediction or truth have several. Defaults to 0.
        target: name of the target, for the log and the files (``cases_<target>.csv``). Defaults to none.
        manifest: of the folder of masks. Defaults to None, a table of this run's cases.
        writing: writes the masks; a case is done when its mask is written. Defaults to None, it is at once.

    Attributes:
        rows: of the latest run, all processes together, see :func:`case_row`.
        summary: of the latest run, by group, see :func:`summarize_rows`.

    Raises:
        ValueError: for label values of several classes.
    """

    def __init__(
        self,
        inferer: Any,
        path: str | None = None,
        label_value: int | Sequence[int] = 1,
        grid_key: str = "label_grid",
        pred_value: int | Sequence[int] | None = None,
        channel: int = 0,
        target: str = "",
        manifest: Manifest | None = None,
        writing: WriteInBackground | None = None,
    ) -> None:
        if class_values(label_value) is not None:
            raise ValueError(f"a CaseReport is about one target, got label_value {label_value}: use TargetReports.")
        self.inferer = inferer
        self.path = None if path is None else _named(Path(path), target)
        self.label_value = label_value
        self.grid_key = grid_key
        self.pred_value = pred_value
        self.channel = channel
        self.target = target
        self.manifest = manifest
        self.writing = writing
        self.rows: list[Row] = []
        self.summary: dict[str, Any] = {}
        if manifest is not None and self.path is not None:
            manifest.tables.append(CaseTable(self.path, manifest, target))

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator with post-processing."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.rows = []
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path.parent, os.W_OK):
                raise PermissionError(f"{self.path.parent} cannot be written to.")
        if self.manifest is not None:
            self.manifest.begin()

    def _add(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        if not batch:  # a case that failed
            return
        for item, output, record in zip(batch, outputs, self.inferer.records, strict=True):
            on_grid = bool(record.masks) or record.region is not None
            label, label_grid = self._truth(item, output, on_grid)
            group = str(item.get("group", ""))
            row = case_row(record, self._prediction(output["pred"]), label, label_grid, group, self.channel)
            if item.get(SLICES_KEY):
                row["hd95"] = None  # neighbors in the stack are none in the body: there are no distances
            # The file tells cases apart that two folders name alike; it is no column of the table.
            row["image"] = str(output["pred"].meta.get("filename_or_obj", record.name))
            row["case"] = row["case"] or case_name(row["image"])
            self._note(row)
            logger.info(f"{self.target}: {describe_row(row)}" if self.target else describe_row(row))

    def _note(self, row: Row) -> None:
        """Add a row, with a manifest as soon as the mask is written."""
        self.rows.append(row)
        manifest = self.manifest
        if manifest is None:
            return
        name, shown = row["case"], {key: value for key, value in row.items() if key != "image"}

        def ended(error: Exception | None) -> None:
            if error is None:
                manifest.done(name, shown, self.target)
            else:
                manifest.fail(name, error)

        if self.writing is None:
            ended(None)
        else:
            self.writing.then(ended)

    def _prediction(self, pred: torch.Tensor) -> torch.Tensor:
        return self._class_of(pred) if self.pred_value is None else select_label(pred, self.pred_value)

    def _class_of(self, masks: torch.Tensor) -> torch.Tensor:
        """The target's channel, (1, H, W, D), where there are several."""
        return masks[self.channel : self.channel + 1] if masks.shape[0] > 1 else masks

    def _truth(
        self, item: Mapping[str, Any], output: Mapping[str, Any], on_grid: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        label = item.get("label") if output.get("label") is None else output["label"]
        if isinstance(label, str):
            stored = read_image(label)
            check_whole_values(stored)
            label = select_label(stored, self.label_value)
        if label is None:
            return None, None
        label = self._class_of(label)
        if not on_grid:
            return label, None
        if self.grid_key in item:
            return label, self._class_of(item[self.grid_key])
        return label, ResampleToMatch(mode="nearest", dtype=np.float32)(label, output["image"].cpu())

    def _finish(self, engine: Engine) -> None:
        if self.writing is not None:
            self.writing.wait()
        parts: Any = idist.all_gather(self.rows)
        unique = {row["image"]: row for part in parts for row in part}
        self.rows = sorted(unique.values(), key=lambda row: row["case"])
        if self.manifest is not None:
            known = [row for row in self.manifest.rows(self.target) if row["status"] == Status.DONE]
            self.rows = [row for row in known if "voxels" in row]
        groups = sorted({row["group"] for row in self.rows if row["group"]})
        self.summary = {"all": summarize_rows(self.rows)}
        if len(groups) > 1:
            self.summary |= {name: summarize_rows([r for r in self.rows if r["group"] == name]) for name in groups}
        if idist.get_rank() != 0:
            return
        for name, part in self.summary.items():
            for key, unit in (("dsc", ""), ("hd95", " mm")):
                if key in part:
                    about = f"{self.target}, {name}" if self.target else name
                    engine.logger.info(f"{about}: {key.upper()} {_shown(part[key], unit)}")
        if self.path is not None:
            if self.manifest is None:
                write_table(self.path, self.rows)
            else:
                CaseTable(self.path, self.manifest, self.target)()
            write_whole(
                _named(self.path.with_name("summary.json"), self.target), json.dumps(self.summary, indent=1) + "\n"
            )
            engine.logger.info(f"{len(self.rows)} cases: {self.path}")


def _named(path: Path, target: str) -> Path:
    return path.with_name(f"{path.stem}_{target}{path.suffix}") if target else path


def _shown(numbers: Mapping[str, Any], unit: str) -> str:
    return (
        f"{numbers['mean']:.4f}±{numbers['std']:.4f}{unit} "
        f"(max {numbers['max']:.4f}, min {numbers['min']:.4f}, {numbers['count']} cases)"
    )

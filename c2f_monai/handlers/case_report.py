# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One row for each case: rounds, why they ended, what was found, and scores where there is a label."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from ..inferers import CaseRecord
from ..metrics.scores import score_masks
from ..metrics.statistics import summarise
from ..utils import dice_coefficient

__all__ = ["CaseReport", "case_row", "summary_lines", "write_rows"]


class CaseReport:
    """
    Prints a line for each case and, with a path, writes the per-case CSV and prints a summary at the end.

    Columns: case, group, dsc (on the label's own grid), dsc_round_0 .. dsc_round_T (on the working grid), d_1 .. d_T,
    rounds, stop_reason, seconds, voxels (working grid), ml, flags, hd95 (mm). Scores stay empty without a label, and
    ``dsc`` also where label and prediction are both empty.

    Args:
        inferer: its ``records`` are read; :py:class:`c2f_monai.inferers.CoarseToFineInferer`.
        path: CSV file, replaced as a whole at the end; None prints only.
        grid_key: key of the label on the working grid, for the scores of the rounds.

    Attributes:
        rows: of the latest run, all processes together.
    """

    def __init__(self, inferer: Any, path: str | None = None, grid_key: str = "label_grid") -> None:
        self.inferer = inferer
        self.path = path
        self.grid_key = grid_key
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, whose output is decollated and post-processed."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _reset(self, engine: Engine) -> None:
        self.rows = []

    def _add(self, engine: Engine) -> None:
        cases, outputs = engine.state.batch, engine.state.output
        for record, case, output in zip(self.inferer.records, cases, outputs, strict=True):  # type: ignore[arg-type]
            row = case_row(record, case, output, self.grid_key)
            self.rows.append(row)
            shown = [
                f"{row['rounds']} rounds, {row['stop_reason']}",
                f"{row['voxels']} voxels" + ("" if row["ml"] is None else f" = {row['ml']:.1f} ml"),
                f"{row['seconds']:.1f} s",
            ]
            if row.get("dsc") is not None:
                shown.append(f"DSC {row['dsc']:.4f}")
            print(f"{row['case']}: {'; '.join(shown)}{' [' + row['flags'] + ']' if row['flags'] else ''}", flush=True)

    def _finish(self, engine: Engine) -> None:
        if dist.is_available() and dist.is_initialized():
            gathered: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(gathered, self.rows)
            # A sampler that pads repeats cases; one row each is kept, in the order of their names.
            self.rows = sorted({row["case"]: row for rows in gathered for row in rows}.values(), key=lambda r: r["case"])
            if dist.get_rank() != 0:
                return
        if self.path is not None and self.rows:
            write_rows(self.path, self.rows)
            print("\n".join([*summary_lines(self.rows), f"cases: {os.path.abspath(self.path)}"]), flush=True)


def case_row(
    record: CaseRecord, case: Mapping[str, Any], output: Mapping[str, Any], grid_key: str = "label_grid"
) -> dict[str, Any]:
    """Row of one case.

    Args:
        record: what the inferer noted.
        case: the decollated batch; "group" and ``grid_key`` are used where present.
        output: the post-processed output; "pred" and "label" (1, H, W, D) on the file's grid where present.
        grid_key: key of the label on the working grid.
    """
    last = record.rounds[-1]
    row: dict[str, Any] = {"case": record.name, "group": str(case.get("group", "")), "dsc": None}
    if grid_key in case and record.masks:
        label = torch.as_tensor(case[grid_key]).cpu() > 0.5
        row |= {f"dsc_round_{r.index}": dice_coefficient(m, label) for r, m in zip(record.rounds, record.masks, strict=True)}
    row |= {f"d_{r.index}": r.dsc for r in record.rounds[1:]}
    row |= {"rounds": record.fine_rounds, "stop_reason": str(record.stop_reason or ""), "seconds": record.seconds}
    row |= {"voxels": last.voxels, "ml": last.ml, "flags": "; ".join(record.flags), "hd95": None}
    if output.get("label") is not None and output.get("pred") is not None:
        pred, label = (torch.as_tensor(output[key])[0].cpu() > 0.5 for key in ("pred", "label"))
        affine = output["label"].affine if isinstance(output["label"], MetaTensor) else torch.eye(4)
        score = score_masks(pred, label, affine[:3, :3].norm(dim=0).tolist())
        row |= {"dsc": score.dsc, "hd95": score.hd95}
    return row


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file beside and rename it into place; columns in a fixed order whatever the rows' lengths."""
    columns = ["case", "group", "dsc"]
    for prefix in ("dsc_round_", "d_"):
        numbers = {int(k[len(prefix) :]) for row in rows for k in row if k.startswith(prefix) and k[len(prefix) :].isdigit()}
        columns += [f"{prefix}{number}" for number in sorted(numbers)]
    columns += ["rounds", "stop_reason", "seconds", "voxels", "ml", "flags", "hd95"]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for row in rows:
                writer.writerow({k: _text(v) for k, v in row.items()})
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _text(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value


def summary_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean ± std, max and min of DSC and HD95 over all cases and for each group."""
    groups = sorted({row["group"] for row in rows})
    parts = [("all", list(rows))] + [(g or "ungrouped", [r for r in rows if r["group"] == g]) for g in groups if len(groups) > 1]
    lines = []
    for name, members in parts:
        line = f"{name}: {len(members)} cases"
        for key, title, scale in (("dsc", "DSC %", 100.0), ("hd95", "HD95 mm", 1.0), ("rounds", "rounds", 1.0)):
            values = [scale * row[key] for row in members if row.get(key) is not None]
            if values:
                s = summarise(values)
                line += f"; {title} {s.mean:.2f}±{s.std:.2f} (max {s.max:.2f}, min {s.min:.2f})"
        lines.append(line)
    return lines

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of cases: what one says, the line of the log about it, the summary of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor

from ..inferers import CaseRecord
from ..metrics.scores import score_masks
from ..metrics.statistics import summarize
from ..utils import StopReason, dice_coefficient, voxel_volume
from .case_table import columns_of

__all__ = ["Row", "case_row", "describe_row", "grid_dsc", "summarize_rows"]

Row = dict[str, Any]


def case_row(
    record: CaseRecord,
    pred: torch.Tensor,
    label: torch.Tensor | None = None,
    label_grid: torch.Tensor | None = None,
    group: str = "",
    channel: int = 0,
) -> Row:
    """One case as a row of the table.

    Args:
        record: what the inferer noted.
        pred: (1, H, W, D) mask on the image's own grid, foreground above 0, with its affine.
        label: (1, H, W, D) truth on the same grid.
        label_grid: (1, h, w, d) truth on the working grid, for the DSC after each round where the record has masks.
        group: group that the case is reported in.
        channel: class of the record's masks that the row is about.

    Returns:
        case, group, dsc and hd95 (mm) on the image's own grid, dsc_round_<t> on the working grid (0 is coarse),
        region_recall where a region near the organ hides the rest (the share of the truth in it, on the working grid),
        d_<t>, rounds, stop_reason, seconds, voxels, label_voxels, ml, the signals of quality, predicted_dsc and
        dsc_bound where a quality model predicts them, flags. What does not exist is None.
    """
    mask = torch.as_tensor(pred)[0] > 0
    spacing, volume = [1.0, 1.0, 1.0], None
    if isinstance(pred, MetaTensor):
        spacing, volume = pred.pixdim.tolist(), voxel_volume(pred.affine.cpu())
    truth = torch.zeros_like(mask) if label is None else torch.as_tensor(label)[0].to(mask.device) > 0
    score = score_masks(mask, truth, spacing, volume)
    flags = list(record.flags)
    if label is not None and score.label_voxels == 0:
        flags.append("empty truth")
    row: Row = {
        "case": record.name,
        "group": group,
        "dsc": None if label is None else score.dsc,
        "hd95": None if label is None else score.hd95,
    }
    if label_grid is not None:
        grid = torch.as_tensor(label_grid)[0].cpu() > 0
        row |= {
            f"dsc_round_{t}": grid_dsc(found[channel], grid, score.label_voxels) for t, found in enumerate(record.masks)
        }
        if record.region is not None:
            row["region_recall"] = float(record.region[grid].float().mean()) if grid.any() else None
    row |= {f"d_{entry.index}": entry.dsc for entry in record.rounds[1:]}
    return row | {
        "rounds": record.fine_rounds,
        "stop_reason": str(record.stop_reason or ""),
        "seconds": record.seconds,
        "voxels": score.voxels,
        "label_voxels": None if label is None else score.label_voxels,
        "ml": score.ml,
        **record.quality,
        "flags": "; ".join(flags),
    }


def grid_dsc(mask: torch.Tensor, truth: torch.Tensor, label_voxels: int) -> float | None:
    """DSC on the working grid; where both are empty, 0 for a target that the resampling lost, None without a target.

    Args:
        mask: bool.
        truth: bool, of the same shape.
        label_voxels: of the target on the image's own grid.
    """
    if not (mask.any() or truth.any()):
        return 0.0 if label_voxels else None
    return dice_coefficient(mask, truth)


def describe_row(row: Mapping[str, Any]) -> str:
    """One line about a case for the log."""
    end = row["stop_reason"] or "coarse only"
    text = f"{row['case']}: {row['rounds']} rounds, {end}, {row['ml']:.1f} ml, {row['seconds']:.1f} s"
    if row.get("dsc") is not None:
        text += f", DSC {row['dsc']:.4f}"
    if row.get("predicted_dsc") is not None:
        text += f", predicted DSC {row['predicted_dsc']:.2f} (at least {row['dsc_bound']:.2f})"
    return text + (f" [{row['flags']}]" if row["flags"] else "")


def summarize_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts, and mean, std, max and min of DSC, HD95 (mm), region_recall, rounds, seconds, DSC and d(t) of each round.

    Cases in which prediction and truth are both empty have no DSC; they are counted as ``both_empty``.
    """
    summary: dict[str, Any] = {
        "cases": len(rows),
        "converged": sum(row["stop_reason"] == StopReason.CONVERGED for row in rows),
        "both_empty": sum(row.get("label_voxels") == 0 and row["voxels"] == 0 for row in rows),
    }
    known = ("dsc", "hd95", "region_recall", "rounds", "seconds")
    numbers = [key for key in columns_of(rows) if key in known or key.startswith(("dsc_round_", "d_"))]
    for key in numbers:
        values = [row[key] for row in rows if row.get(key) is not None]
        if values:
            found = summarize(values)
            summary[key] = {
                "mean": found.mean,
                "std": found.std,
                "max": found.max,
                "min": found.min,
                "count": found.count,
            }
    return summary

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of other targets than the pancreas: several organs, and the cyst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from c2f_monai.metrics.rounds import after_rounds, stopped_at

from .methods import CYST, RSTN, STEPWISE, near_organ_training, organ_training
from .plan import Evaluation, Row, RowPair, Table, rounds_of

__all__ = ["cyst_table", "organ_table"]

# Coarse and fine of the step-wise approach, coarse and fine of RSTN; 200 CTs.
_ORGAN_NUMBERS = {
    "adrenal gland": ("57.38", "61.65", "60.70", "63.76"),
    "duodenum": ("67.42", "69.39", "71.40", "73.42"),
    "gallbladder": ("82.57", "82.12", "87.08", "87.10"),
    "inferior vena cava": ("71.77", "71.15", "79.12", "79.69"),
    "kidney l.": ("92.56", "92.78", "96.08", "96.21"),
    "kidney r.": ("94.98", "95.39", "95.80", "95.97"),
    "pancreas": ("83.68", "85.79", "86.09", "87.60"),
}


def organ_table(organs: Mapping[str, Sequence[int]]) -> Table:
    """Coarse and fine stage of both methods for each organ, by the label values of the data set [3.6]."""
    rows: list[Row] = []
    for organ, values in organs.items():
        numbers = iter(_ORGAN_NUMBERS.get(organ, ("",) * 4))
        for method, base in (("step-wise", STEPWISE), ("RSTN", RSTN)):
            run = rounds_of(organ_training(base, organ, values))
            stop = stopped_at(0.95 if base is STEPWISE else 0.99)
            rows.append(Row(f"{organ}, {method}, coarse", run, after_rounds(0), next(numbers)))
            rows.append(Row(f"{organ}, {method}, fine", run, stop, next(numbers)))
    pairs = [RowPair(f"{organ}, RSTN, {s}", f"{organ}, step-wise, {s}") for organ in organs for s in ("coarse", "fine")]
    return Table("organs", "Table 3.4: several organs, each trained alone", tuple(rows), tuple(pairs))


def cyst_table(distance: float | None = None) -> Table:
    """The cyst alone, near the predicted organ in four stages and near the true organ, for both methods [3.7].

    Args:
        distance: how near, mm; None for the configuration's.
    """
    numbers = {
        "step-wise": ("79.23±9.72 (93.82, 69.54)", "60.46±31.37 (95.67, 0)", "63.44±27.71 (95.55, 0)"),
        "RSTN": ("83.81±10.51 (94.34, 20.77)", "60.73±32.46 (96.50, 0)", "67.19±27.91 (96.05, 0)"),
    }
    rows: list[Row] = []
    for method, organ in (("step-wise", STEPWISE), ("RSTN", RSTN)):
        alone = organ_training(organ, "cyst", CYST)
        near = near_organ_training(organ, distance)
        four = Evaluation(
            f"{near.name}_four_stages",
            near,
            (*organ.overlays, "configs/task/organ_then_cyst.json"),
            {"keep_rounds": True},
            base="inference",
            further={"organ_ckpt_path": organ},
            cases="cases_cyst.csv",
        )
        pancreas, without, with_organ = numbers[method]
        rows += [
            Row(f"pancreas, {method}", Evaluation(f"{organ.name}_final", organ), chapter=pancreas),
            Row(f"cyst without organ, {method}", Evaluation(f"{alone.name}_final", alone), chapter=without),
            Row(f"cyst with organ, {method}", four, chapter=with_organ),
            Row(f"cyst with the true organ, {method}", Evaluation(f"{near.name}_final", near)),
        ]
    pairs = [RowPair(f"cyst with organ, {m}", f"cyst without organ, {m}") for m in numbers]
    pairs += [RowPair(f"{what}, RSTN", f"{what}, step-wise") for what in ("cyst with organ", "cyst without organ")]
    return Table("cyst", "Table 3.5: organ, then cyst (131 CTs in the chapter)", tuple(rows), tuple(pairs))

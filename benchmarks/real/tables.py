# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the cross-validation, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from c2f_monai.metrics.markdown import (
    CHANGE_HEADER,
    COMPARISON_HEADER,
    SCORE_HEADER,
    change_cells,
    comparison_cells,
    markdown_table,
    score_cells,
)
from c2f_monai.metrics.rounds import RoundCurve, curves_of, inter_round_rows, mean_picked, round_picks, score_row
from c2f_monai.metrics.statistics import bootstrap_interval, compare_paired, summarize
from c2f_monai.metrics.tables import CaseRow

from .plan import METHODS

__all__ = [
    "chapter_lines",
    "comparison_lines",
    "curves_of_rows",
    "method_lines",
    "patient_scores",
    "round_lines",
    "table_lines",
]

#: What the chapter prints of 82 cases: row, DSC in %, and how it was scored.
_CHAPTER = (
    ("coarse, axial view alone", "73.08±9.60", "whole volumes, one view"),
    ("coarse, vote of three views", "75.74±10.47 (88.12, 39.99)", "whole volumes, fused"),
    ("step-wise", "82.37±5.68 (90.85, 62.43)", "whole volumes, fused"),
    ("RSTN", "84.50±4.97 (91.02, 62.81)", "whole volumes, fused"),
    ("RSTN, oracle box", "86.37", "whole volumes, fused, the true box"),
)
_PAIRED = """Patient by patient, DSC in %: difference, bootstrap interval of its mean, Wilcoxon's signed-rank test, of
these weights: what other trainings would change is in the claims (`python -m benchmarks.real claims`)."""

_COMPARABLE = """Comparable is the data set, the split by patient into four folds, and the score of a patient. Not
comparable: here a patient is 6 to 26 chosen slices that all show pancreas, so that nothing can be found where there is
none, which a whole volume punishes; pictures have 256 gray levels with JPEG noise; there are 49 of the 82 patients, one
view of single slices, an encoder pretrained on ImageNet instead of FCN-8s on PASCAL VOC, and minutes of training. The
chapter's axial coarse row is the nearest: one view, not fused."""


def patient_scores(rows: pd.DataFrame, method: str, column: str = "dsc") -> pd.Series:
    """DSC of a method by patient, in %, the mean over the training seeds."""
    return 100 * rows[rows["method"] == method].groupby("patient")[column].mean()


def table_lines(rows: pd.DataFrame) -> list[str]:
    """All tables of some rows, see :func:`benchmarks.real.rows.join_cases`."""
    lines = ["# Cross-validation on slices of NIH Pancreas-CT", "", *method_lines(rows), "", *comparison_lines(rows)]
    for method in _present(rows):
        if METHODS[method].rounds:
            lines += ["", *round_lines(rows, method)]
    return [*lines, "", *chapter_lines(rows)]


def method_lines(rows: pd.DataFrame) -> list[str]:
    """One row for each method and its coarse answer."""
    found = []
    for method in _present(rows):
        own = rows[rows["method"] == method]
        title, scored = METHODS[method].title, [("", "dsc")]
        if METHODS[method].rounds:
            scored = [(", coarse answer", "dsc_coarse"), (", last round alone", "dsc_last"), ("", "dsc")]
            scored += [(", true box", "dsc_oracle")]
        found += [[title + what, *_method_cells(own, method, column)] for what, column in scored]
    header = ("", "patients", "DSC", "95 % interval", "mean of each fold", "rounds", "training seconds")
    return [
        "DSC in % of a patient's slices, all of which show pancreas, on the pixels of the pictures: mean ± std (max,",
        "min) over the patients, who are tested by weights that have not seen them. Seconds are those of a fold.",
        "",
        *markdown_table(header, found),
    ]


def comparison_lines(rows: pd.DataFrame) -> list[str]:
    """Methods of two stages against their own coarse answer and the methods that follow, patient by patient."""
    present = _present(rows)
    two_stages = [m for m in present if METHODS[m].rounds]
    pairs = [(f"{METHODS[m].title} - its coarse answer", m, m) for m in two_stages]
    pairs += [
        (f"{METHODS[first].title} - {METHODS[second].title}", first, second)
        for first, second in combinations(present, 2)
        if first in two_stages
    ]
    found = []
    for title, first, second in pairs:
        a = patient_scores(rows, first)
        b = patient_scores(rows, second, "dsc_coarse" if first == second else "dsc")
        common = a.index.intersection(b.index)
        if len(common):
            compared = compare_paired(a[common].to_numpy(), b[common].to_numpy())
            found.append([title, str(len(common)), *comparison_cells(compared)])
    header = ("", "n", *COMPARISON_HEADER, "p")
    return [_PAIRED, "", *markdown_table(header, found)]


def round_lines(rows: pd.DataFrame, method: str) -> list[str]:
    """What fixed rounds and thresholds give, and the DSC between rounds."""
    curves = curves_of_rows(rows, method)
    by_patient: dict[str, list[RoundCurve]] = {}
    for curve in curves:
        by_patient.setdefault(curve.case, []).append(curve)
    scored = []
    for name, pick in round_picks().items():
        picked = [mean_picked([pick(curve) for curve in own]) for own in by_patient.values()]
        scored.append([name, *score_cells(score_row(name, picked))])
    title = METHODS[method].title
    return [
        f"{title}, from ten rounds without stopping, DSC in % on the working grid:",
        "",
        *markdown_table(("", *SCORE_HEADER), scored),
        "",
        f"Inter-round DSC d(t), {title}:",
        "",
        *markdown_table(CHANGE_HEADER, [change_cells(row) for row in inter_round_rows(curves)]),
    ]


def chapter_lines(rows: pd.DataFrame) -> list[str]:
    """The chapter's numbers beside, and what is comparable."""
    own = {
        "coarse, axial view alone": ("rstn", "dsc_coarse"),
        "step-wise": ("stepwise", "dsc"),
        "RSTN": ("rstn", "dsc"),
        "RSTN, oracle box": ("rstn", "dsc_oracle"),
    }
    present, found = _present(rows), []
    for title, printed, how in _CHAPTER:
        here = ""
        if title in own and own[title][0] in present:
            here = _spread(patient_scores(rows, *own[title]).tolist())
        found.append([title, printed, how, here])
    header = ("", "chapter, 82 cases", "scored on", "here, slices with pancreas, axial")
    return [*markdown_table(header, found), "", _COMPARABLE]


def _present(rows: pd.DataFrame) -> list[str]:
    """Methods of the rows, in the plan's order."""
    known = set(rows["method"])
    return [name for name in METHODS if name in known]


def _method_cells(own: pd.DataFrame, method: str, column: str) -> list[str]:
    scores = patient_scores(own, method, column)
    low, high = bootstrap_interval(scores.to_numpy())
    folds = own.groupby("fold")[column].mean()
    means = ", ".join(f"{fold}: {100 * mean:.2f}" for fold, mean in folds.items())
    seeds = own["seed"].nunique()
    spread = _spread(scores.tolist())
    if seeds > 1:
        spread += f"; {seeds} seeds, std of their means {100 * own.groupby('seed')[column].mean().std(ddof=0):.2f}"
    rounds = f"{own['rounds'].mean():.2f}" if column == "dsc" and METHODS[method].rounds else ""
    seconds = own.drop_duplicates(["fold", "seed"])["train_seconds"].mean()
    return [str(len(scores)), spread, f"{low:.2f} .. {high:.2f}", means, rounds, f"{seconds:.0f}"]


def _spread(scores: Sequence[float]) -> str:
    found = summarize(scores)
    return f"{found.mean:.2f}±{found.std:.2f} ({found.max:.2f}, {found.min:.2f})"


def curves_of_rows(rows: pd.DataFrame, method: str) -> list[RoundCurve]:
    """Curves of all seeds of a method."""
    own = rows[rows["method"] == method]
    curves: list[RoundCurve] = []
    for _, each in own.groupby("seed"):
        texts = each.astype(object).where(each.notna(), "").astype(str)
        cases = {
            row["patient"]: CaseRow(row["patient"], "", row | {"stop_reason": row["rounds_stop_reason"]})
            for row in texts.to_dict("records")
        }
        curves += curves_of(cases)
    return curves

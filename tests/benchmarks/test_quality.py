# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the volume's interval, by hand-made rows."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.quality import figures, table, volume_figures


def _row(low: float | None, high: float | None, true: float) -> dict[str, Any]:
    scores = {"dsc": 0.8, "predicted_dsc": 0.75, "dsc_bound": 0.6}
    return {**scores, "voxels_low": low, "voxels_high": high, "label_voxels": true}


FOUND, MISSED = _row(10.0, 30.0, 20.0), _row(0.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("rows", "coverage", "ratio"),
    [
        ([FOUND, _row(10.0, 20.0, 40.0), _row(None, None, 5.0)], 0.5, 2.5),
        ([FOUND, MISSED], 0.5, 3.0),
        ([FOUND, _row(0.0, 0.0, 0.0)], 1.0, 3.0),
        ([MISSED], 0.0, None),
        ([_row(None, None, 5.0)], None, None),
    ],
)
def test_a_case_with_nothing_found_counts_in_the_coverage_alone(
    rows: list[dict[str, Any]], coverage: float | None, ratio: float | None
) -> None:
    assert volume_figures(rows) == {"volume_coverage": coverage, "volume_ratio": ratio}


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_the_table_leaves_out_what_is_not_known() -> None:
    lines = [table({"all": figures(rows)}).splitlines()[2] for rows in ([FOUND, FOUND], [MISSED, MISSED])]
    assert [[cell.strip() for cell in line.strip("|").split("|")][-2:] for line in lines] == [
        ["100.0", "3.00"],
        ["0.0", ""],
    ]

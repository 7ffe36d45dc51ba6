# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from c2f_monai.apps.demo import format_table
from c2f_monai.metrics.tables import CaseRow


def row(case: str, **values: str) -> CaseRow:
    return CaseRow(case, "", {"case": case, **values})


def test_the_table_shows_each_round_of_each_case() -> None:
    rows = [
        row(
            "phantom_a",
            rounds="2",
            stop_reason="converged",
            dsc="0.81",
            seconds="3.21",
            dsc_round_0="0.7",
            dsc_round_1="0.8",
            dsc_round_2="0.815",
        ),
        row("b", rounds="0", stop_reason="empty", dsc="", seconds="1", dsc_round_0="0"),
    ]
    lines = format_table(rows).splitlines()
    assert lines[0].split()[:5] == ["case", "rounds", "stop", "reason", "DSC"]
    assert lines[1].split() == ["phantom_a", "2", "converged", "0.8100", "3.2", "0.7000", "0.8000", "0.8150"]
    assert lines[2].split() == ["b", "0", "empty", "-", "1.0", "0.0000"]

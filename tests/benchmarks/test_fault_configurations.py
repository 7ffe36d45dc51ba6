# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes in configurations and command lines: one of each kind here, all of them in ``make faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.command_lines import Mistake, answer
from benchmarks.faults.configurations import MISTAKES
from benchmarks.faults.fault import UnexpectedError
from c2f_monai.config import IDS
from c2f_monai.config.schema import GROUPS

ALL = [mistake for mistakes in MISTAKES.values() for mistake in mistakes]


@pytest.mark.parametrize("part", [part for part in MISTAKES if part != "as commands of their own"])
def test_a_mistake_of_each_kind_is_answered_as_expected(part: str, tmp_path: Path) -> None:
    mistake = MISTAKES[part][0]
    assert mistake.told in answer(mistake, tmp_path)


@pytest.mark.parametrize(
    ("mistake", "seen"),
    [
        (Mistake("inference --margin abc", "pixdim must be"), "status 1: error: margin must be a whole number"),
        (Mistake("inference --margin abc", "margin must be", status=0), "status 1: error: margin must be"),
        (Mistake("inference+no.json", "no.json"), "a traceback that ends in FileNotFoundError: Cannot find"),
        (Mistake("c2f phantom", "required", status=0), "status 2: c2f phantom: error: "),
    ],
)
def test_another_answer_is_not_as_expected(mistake: Mistake, seen: str, tmp_path: Path) -> None:
    with pytest.raises(UnexpectedError, match=f"^{seen}"):
        answer(mistake, tmp_path)


def test_there_are_typing_errors_of_every_group_and_values_of_nearly_every_id() -> None:
    assert len({mistake.words for mistake in ALL}) >= 130
    meant = {mistake.told.removeprefix("did you mean ") for mistake in MISTAKES["ids that no configuration has"]}
    assert all(meant & set(group) for group in GROUPS.values())
    wrong = {mistake.words.split()[1][2:] for mistake in MISTAKES["values of another kind or range"]}
    checked = {name for name, entry in IDS.items() if entry.kind.checked}
    assert wrong <= {*IDS, "run"} and len(wrong & checked) > 0.6 * len(checked)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of training: for which of them an epoch is left."""

from __future__ import annotations

from typing import Any

import pytest

from c2f_monai.config.stage_kinds import left_out

LONG: list[dict[str, Any]] = [
    {"stage": "coarse", "length": 2},
    {"stage": "fine", "length": 1},
    {"stage": "joint", "length": 1},
]


@pytest.mark.parametrize(
    ("stages", "epochs", "message"),
    [
        (LONG, 4, ""),
        (LONG, 3, "epochs 3 leaves no epoch for stage 2 (fine): it is left out; from 4 on each stage has one"),
        (
            [*LONG[:2], {**LONG[2], "keep_as": "model_joint.pt"}],
            2,
            "epochs 2 leaves no epoch for stage 3 (joint): it is left out, and model_joint.pt not written; from 4 on "
            "each stage has one",
        ),
        (
            [{"stage": "coarse", "length": 1}, {"stage": "fine", "length": 8}, {"stage": "joint", "length": 1}],
            1,
            "epochs 1 leaves no epoch for stages 1 (coarse), 3 (joint): they are left out, and the coarse networks are "
            "not trained; from 10 on each stage has one",
        ),
    ],
)
def test_stages_without_an_epoch_are_named(stages: list[dict[str, Any]], epochs: int, message: str) -> None:
    assert left_out(stages, epochs) == message

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One rule ends the loop and is asked by the tables over rounds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.metrics.rounds import Picked, RoundCurve, stopped_at
from c2f_monai.utils import StopReason
from tests.inferers.test_coarse_to_fine import NOTHING, WHOLE, Z0, Z1, Z2, Scripted, numbered

GO_ON = None
D1, D2 = 96 / 112, 72 / 84


@pytest.mark.parametrize(
    ("rule", "changes", "state", "expected"),
    [
        (StopRule(), [], {}, GO_ON),
        (StopRule(), [0.94], {}, GO_ON),
        (StopRule(), [0.95], {}, "converged"),  # reaching it is enough
        (StopRule(), [0.99, 0.94], {}, GO_ON),  # the last change counts
        (StopRule(), [0.99], {"empty": True}, "empty"),
        (StopRule(max_rounds=2), [0.5, 0.6], {}, "max rounds"),
        (StopRule(max_rounds=2), [0.5, 0.96], {}, "converged"),
        (StopRule(max_rounds=2), [0.5, 0.6], {"cycle": True}, "cycle of two"),
        (StopRule(), [0.5, 0.6], {"cycle": True}, GO_ON),
        (StopRule(stop_on_cycle=True), [0.5, 0.6], {"cycle": True}, "cycle of two"),
        (StopRule(stop_on_cycle=True), [0.5, 0.97], {"cycle": True}, "converged"),
        (StopRule(max_rounds=0), [], {}, "fixed rounds"),
        (StopRule(None, 2), [1.0], {}, GO_ON),
        (StopRule(None, 2), [1.0, 1.0], {}, "fixed rounds"),
        (StopRule(None, 2), [0.5, 0.5], {"cycle": True}, "fixed rounds"),
        (StopRule(1.01, 2), [1.0, 1.0], {}, "max rounds"),
        (StopRule(), [0.5], {"over": True}, "max rounds"),
        (StopRule(), [0.5] * 9, {}, GO_ON),
        (StopRule(), [0.5] * 10, {}, "max rounds"),  # T = 10 [3.3.2]
        (StopRule(None), [0.5], {"over": True}, "fixed rounds"),
    ],
)
def test_reasons_by_hand(rule, changes, state, expected) -> None:
    assert rule.reason(changes, **state) == expected


def test_replay_of_a_run_that_went_on() -> None:
    changes = [0.5, 0.9, 0.96, 0.99]
    assert [StopRule(dice).replay(changes) for dice in (0.5, 0.9, 0.97, 1.0, None)] == [1, 2, 4, 4, 4]
    assert StopRule(None, 2).replay(changes) == 2
    assert StopRule(0.9).replay([]) == 0


def test_bad_rules() -> None:
    with pytest.raises(ValueError, match="max_rounds must be at least 0, got -1"):
        StopRule(max_rounds=-1)
    with pytest.raises(TypeError, match=r"stopping must be a StopRule, such as .* got 0.95"):
        CoarseToFineInferer(stopping=0.95)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("masks", "rule", "rounds", "reason", "flags"),
    [
        # Z(4) = Z(2) = Z2, Z(3) = Z1: to and fro until the rounds are over.
        ([Z0, Z1, Z2, Z1, Z2], StopRule(max_rounds=4), 4, "cycle of two", ["cycle of two"]),
        ([Z0, Z1, Z2, Z1, Z2], StopRule(max_rounds=4, stop_on_cycle=True), 3, "cycle of two", ["cycle of two"]),
        # The coarse result may be one of the two.
        ([Z0, Z1, Z0], StopRule(max_rounds=2), 2, "cycle of two", ["cycle of two"]),
        # It left the cycle: to a third mask, or to rest.
        ([Z0, Z1, Z0, Z1, Z2], StopRule(max_rounds=4), 4, "max rounds", ["not converged"]),
        ([Z0, Z1, Z0, Z0], StopRule(max_rounds=4), 3, "converged", []),
        ([Z0, Z1, Z0, Z0], StopRule(1.01, max_rounds=3), 3, "max rounds", ["not converged"]),
        # All rounds were asked for: nothing was to converge.
        ([Z0, Z1, Z0], StopRule(None, 2), 2, "fixed rounds", []),
        ([Z0, Z1, NOTHING], StopRule(max_rounds=4), 2, "empty", ["nothing found"]),
    ],
)
def test_a_cycle_of_two_masks_is_named(masks, rule, rounds, reason, flags) -> None:
    inferer = CoarseToFineInferer(**WHOLE, stopping=rule)
    answer = inferer(numbered(), Scripted(masks))
    record = inferer.records[0]
    assert (record.fine_rounds, record.stop_reason, record.flags) == (rounds, reason, flags)
    assert torch.equal(answer[0, 0] >= 0.5, masks[rounds])


@dataclass(frozen=True)
class Twice(StopRule):
    """The mask rests when two changes in a row reach the threshold: another rule in one class."""

    def reason(self, changes, cycle=False, empty=False, over=False):
        """See StopRule; one round at the threshold is not enough."""
        found = super().reason(changes, cycle, empty, over)
        if found != StopReason.CONVERGED or (len(changes) > 1 and changes[-2] >= self.dice):
            return found
        return StopReason.MAX_ROUNDS if len(changes) >= self.max_rounds or over else None


def test_another_rule_serves_the_loop_and_the_tables() -> None:
    masks = [Z0, Z1, Z2, Z2, Z2, Z2]
    inferer = CoarseToFineInferer(**WHOLE, stopping=Twice(0.95))
    inferer(numbered(), Scripted(masks))
    assert (inferer.records[0].fine_rounds, inferer.records[0].stop_reason) == (4, "converged")
    curve = RoundCurve("a", (0.5, 0.6, 0.7, 0.8, 0.9, 0.9), (D1, D2, 1.0, 1.0, 1.0))
    assert stopped_at(Twice(0.95))(curve) == Picked(0.9, 4, True)
    assert stopped_at(StopRule(0.95))(curve) == stopped_at(0.95)(curve) == Picked(0.8, 3, True)
    assert stopped_at(StopRule(0.95, max_rounds=2))(curve) == Picked(0.7, 2, False)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""When the coarse-to-fine loop ends: the one rule of the loop and of the tables over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..utils import StopReason

__all__ = ["DEFAULT_STOPPING", "StopRule"]


@dataclass(frozen=True)
class StopRule:
    """
    The loop ends when the mask rests, d(t) = DSC(Z(t-1), Z(t)) >= threshold, or after T rounds [3.3.2, 3.4].

    A mask may also go to and fro between two for ever: Z(t) = Z(t-2), but not Z(t-1). The reason at the end says so. By
    default the loop goes on all the same, since under another P(t) it may leave such a cycle.

    Another rule is a subclass with a :py:meth:`reason` of its own, given to the inferer in the place of this one; the
    tables over rounds take it too.

    Args:
        dice: d(t) at and above which the mask rests; None or above 1: the loop ends after ``max_rounds`` only.
        max_rounds: T; 0 gives the coarse result.
        stop_on_cycle: end the loop as soon as it is in a cycle of two masks.

    Raises:
        ValueError: for a negative ``max_rounds``.

    Example:
        >>> from c2f_monai.inferers import StopRule
        >>> rule = StopRule(dice=0.95, max_rounds=3)
        >>> print(rule.reason([0.90]))
        None
        >>> print(rule.reason([0.90, 0.97]))
        converged
        >>> print(rule.reason([0.90, 0.91, 0.92]), "or", rule.reason([0.90, 0.91, 0.92], cycle=True))
        max rounds or cycle of two
        >>> rule.replay([0.90, 0.97, 0.99])
        2
    """

    dice: float | None = 0.95
    max_rounds: int = 10
    stop_on_cycle: bool = False

    def __post_init__(self) -> None:
        if self.max_rounds < 0:
            raise ValueError(f"max_rounds must be at least 0, got {self.max_rounds}.")

    def reason(
        self, changes: Sequence[float], cycle: bool = False, empty: bool = False, over: bool = False
    ) -> StopReason | None:
        """Why the loop ends here.

        Args:
            changes: d(1) .. d(t) of the rounds so far; none after the coarse result.
            cycle: whether Z(t) is Z(t-2), but not Z(t-1).
            empty: whether there is nothing to look at: no foreground in Z(t).
            over: whether the loop has ended, whatever the rule says.

        Returns:
            None where it goes on.
        """
        if empty:
            return StopReason.EMPTY
        if changes and self.dice is not None and changes[-1] >= self.dice:
            return StopReason.CONVERGED
        if cycle and self.stop_on_cycle:
            return StopReason.CYCLE
        if len(changes) < self.max_rounds and not over:
            return None
        if self.dice is None or not self.max_rounds:
            return StopReason.FIXED_ROUNDS
        return StopReason.CYCLE if cycle else StopReason.MAX_ROUNDS

    def replay(self, changes: Sequence[float]) -> int:
        """Rounds after which this rule ends a run that went on: d(1) .. d(t) tell all but cycles.

        Args:
            changes: d(1) .. d(t) of a run whose own rule did not end it; the mask is empty where they are few.
        """
        return next((t for t in range(len(changes)) if self.reason(changes[:t]) is not None), len(changes))


#: d(t) >= 0.95 or ten rounds, as in the paper.
DEFAULT_STOPPING = StopRule()

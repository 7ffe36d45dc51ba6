# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folds of a cross-validation: which cases are tested together."""

from __future__ import annotations

import numpy as np

__all__ = ["assign_folds", "check_folds", "fold_sizes"]


def check_folds(folds: int | None, seed: int | None = None) -> None:
    """Refuse folds that no cases can be divided into; asked before anything is read.

    Args:
        folds: number of folds; None for none.
        seed: of the shuffle; None for none.

    Raises:
        ValueError: for fewer than 2 folds, or a seed below 0.
    """
    if folds is not None and folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}.")
    if seed is not None and seed < 0:
        raise ValueError(f"the seed of the folds must be at least 0, got {seed}.")


def fold_sizes(cases: int, folds: int = 4) -> list[int]:
    """Cases in each fold, as in the original code: the last folds take one more where the cases do not divide evenly.

    Args:
        cases: number of cases, at least ``folds``.
        folds: number of folds, at least 2. Defaults to 4, with which 82 cases give 20, 20, 21, 21.

    Raises:
        ValueError: for fewer than 2 folds, or fewer cases than folds.
    """
    check_folds(folds)
    if cases < folds:
        raise ValueError(f"{folds} folds need at least as many cases, got {cases}.")
    return [(cases + i) // folds for i in range(folds)]


def assign_folds(cases: int, folds: int = 4, seed: int | None = None) -> list[int]:
    """The fold, from 0, in which each case is tested.

    Args:
        cases: number of cases.
        folds: number of folds. Defaults to 4.
        seed: None takes consecutive cases together, as the original code does; a number shuffles the cases first (the
            paper's split for several organs is random [3.6]). Defaults to None.

    Raises:
        ValueError: see :func:`fold_sizes`, and for a seed below 0.

    Examples:
        >>> assign_folds(6, folds=4)
        [0, 1, 2, 2, 3, 3]
    """
    check_folds(folds, seed)
    assigned = np.repeat(np.arange(folds), fold_sizes(cases, folds))
    if seed is not None:
        assigned = np.random.default_rng(seed).permutation(assigned)
    return [int(fold) for fold in assigned]

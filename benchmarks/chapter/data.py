# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The data of an experiment: a data set as it is, in folds of a cross-validation, or a few cases of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from c2f_monai.data.datalist import list_entries
from c2f_monai.data.folds import assign_folds
from c2f_monai.utils import atomic_write

__all__ = ["SMALL_CASES", "derive_dataset", "derived_lists"]

#: Cases of each split in the small version of a table.
SMALL_CASES = {"training": 8, "validation": 4, "test": 4}


def derive_dataset(dataset: Path, output: Path, folds: int | None, seed: int | None, small: bool) -> Path:
    """Folder with the ``dataset.json`` of an experiment: the data set's own where nothing changes.

    Args:
        dataset: folder of a data set.
        output: folder of the experiment.
        folds: number of folds of a cross-validation over the training cases; None for the data set's splits. Those that
            the data set holds, as it was prepared, are used.
        seed: draws other folds at random, see :func:`c2f_monai.data.folds.assign_folds`; None draws none.
        small: the first cases of each split only.

    Raises:
        OSError: When the data set has no ``dataset.json``.
        ValueError: When ``output`` holds an experiment with other data, there are fewer cases than folds, or the data
            set holds another number of folds.
    """
    if folds is None and not small:
        return dataset
    content = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    found = derived_lists(content, dataset.absolute(), folds, seed, small)
    path = output / "data" / "dataset.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != found:
        raise ValueError(f"{output} holds an experiment with other data or folds: choose another --output.")
    with atomic_write(path) as part:
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return path.parent


def derived_lists(
    content: dict[str, Any], folder: Path, folds: int | None, seed: int | None, small: bool
) -> dict[str, list[dict[str, Any]]]:
    """Lists of cases by split with absolute paths; with folds all cases are ``training``, each with its ``fold``.

    Raises:
        ValueError: When the data set holds other folds than are asked for, or some of its cases none.
    """
    used = [split for split in SMALL_CASES if content.get(split) and (folds is None or split == "training")]
    lists = {split: list_entries(content, split, folder) for split in used}
    if folds is not None:
        lists["training"] = _with_folds(lists["training"], folds, seed)
    if not small:
        return lists
    if folds is not None:  # some of each fold
        each = max(1, SMALL_CASES["training"] // folds)
        by_fold = [[case for case in lists["training"] if case["fold"] == fold] for fold in range(folds)]
        return {"training": [case for cases in by_fold for case in cases[:each]]}
    return {split: entries[: SMALL_CASES[split]] for split, entries in lists.items()}


def _with_folds(cases: list[dict[str, Any]], folds: int, seed: int | None) -> list[dict[str, Any]]:
    """The cases with their folds: as prepared, else consecutive ones together; those of the fold None stay in all."""
    held = {case["fold"] for case in cases if case.get("fold") is not None}
    if not held or seed is not None:
        counted = [case for case in cases if case.get("fold", 0) is not None]
        assigned = iter(assign_folds(len(counted), folds, seed))
        return [{**case, "fold": next(assigned) if case.get("fold", 0) is not None else None} for case in cases]
    if any("fold" not in case for case in cases) or held != set(range(folds)):
        raise ValueError(
            f"the data set holds the folds {sorted(held)}, --folds asks for {folds}: give --folds {len(held)}, or "
            "--fold-seed to draw others."
        )
    return cases

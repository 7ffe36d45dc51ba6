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
        folds: number of folds of a cross-validation over the training cases; None for the data set's splits.
        seed: see :func:`c2f_monai.data.folds.assign_folds`.
        small: the first cases of each split only.

    Raises:
        OSError: When the data set has no ``dataset.json``.
        ValueError: When ``output`` holds an experiment with other data, or there are fewer cases than folds.
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
    """Lists of cases by split with absolute paths; with folds all cases are ``training``, each with its ``fold``."""
    used = [split for split in SMALL_CASES if content.get(split) and (folds is None or split == "training")]
    lists = {split: list_entries(content, split, folder) for split in used}
    if small:
        lists = {split: entries[: SMALL_CASES[split]] for split, entries in lists.items()}
    if folds is None:
        return lists
    cases = lists["training"]
    assigned = assign_folds(len(cases), folds, seed)
    return {"training": [{**case, "fold": fold} for case, fold in zip(cases, assigned, strict=True)]}

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose scan a case is: all scans of a patient are trained on, held back or tested together."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from ..utils import open_table, some_names

__all__ = ["PATIENT", "patient_of", "patients_in_order", "read_patients"]

#: Key of an entry of ``dataset.json``.
PATIENT = "patient"
_COLUMNS = ("case", PATIENT)


def patient_of(entry: Mapping[str, Any]) -> Hashable:
    """What tells the patient of an entry from all others: its key "patient"; without one, each image is a patient.

    Examples:
        >>> patient_of({"image": "b.nii", "patient": 7}) == patient_of({"image": "a.nii", "patient": "7"})
        True
    """
    named = entry.get(PATIENT)
    return (PATIENT, str(named)) if named is not None else ("image", str(entry["image"]))


def patients_in_order(entries: Iterable[Mapping[str, Any]]) -> list[Hashable]:
    """All patients of entries, each once, in the order of their first ones."""
    return list(dict.fromkeys(map(patient_of, entries)))


def read_patients(path: str | os.PathLike[str], cases: Collection[str]) -> dict[str, str]:
    """The patient of each case, from a table.

    Args:
        path: table (CSV) with the columns ``case`` and ``patient``.
        cases: names that must be in it; rows of others do not count.

    Raises:
        FileNotFoundError: when there is no table.
        ValueError: for missing columns, a row without a patient, a case of two patients, or cases without a row.
    """
    with open_table(path) as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} must have the columns {' and '.join(_COLUMNS)}; without: {', '.join(missing)}.")
        rows = [((row["case"] or "").strip(), (row[PATIENT] or "").strip()) for row in reader]
    found: dict[str, str] = {}
    for case, patient in rows:
        if not patient:
            raise ValueError(f"{path} names no patient of the case {case!r}.")
        if found.setdefault(case, patient) != patient:
            raise ValueError(f"{path}: the case {case!r} is of two patients, {found[case]!r} and {patient!r}.")
    if unknown := sorted(set(cases) - set(found)):
        raise ValueError(f"{path} has no row of {len(unknown)} cases: {some_names(unknown)}.")
    return {case: found[case] for case in cases}

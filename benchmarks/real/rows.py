# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One row for a patient, from the tables of cases of a method's evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from c2f_monai.metrics.tables import CaseRow, read_cases
from c2f_monai.utils import atomic_write

from .plan import MethodRun, evaluations_of

__all__ = ["KEY", "join_cases", "read_rows", "write_rows"]

#: What tells rows apart.
KEY = ["method", "fold", "seed", "patient"]
_ROWS = "rows"


def join_cases(run: MethodRun, tables: Mapping[str, Mapping[str, CaseRow]], train_seconds: float) -> pd.DataFrame:
    """Rows of a run.

    Args:
        run: the method, fold and seed.
        tables: rows of the tables of cases, see :func:`benchmarks.real.plan.evaluations_of`.
        train_seconds: that its training took.

    Returns:
        columns of :data:`KEY`; ``dsc``, and of methods with rounds ``dsc_coarse``, ``dsc_last`` (the last round alone)
        and ``dsc_oracle`` (the true box), all in [0, 1] on the pixels of the pictures; ``rounds``, ``stop_reason`` and
        ``seconds`` of the answer; ``dsc_round_<t>`` and ``d_<t>`` of ten rounds on the working grid;
        ``train_seconds``.

    Raises:
        ValueError: when the tables are not about the same patients, or one has no DSC.
    """
    final = tables["final"]
    for name, table in tables.items():
        if table.keys() != final.keys():
            raise ValueError(f"{run.method.name}, fold {run.fold}: {name} is not about the same patients as final.")
    rows = []
    for patient, case in final.items():
        row: dict[str, object] = {
            "method": run.method.name,
            "fold": run.fold,
            "seed": run.seed,
            "patient": patient,
            "dsc": _score(case, "dsc"),
        }
        if run.method.rounds:
            row |= {f"dsc_{name}": _score(tables[name][patient], "dsc") for name in ("coarse", "last", "oracle")}
            every = tables["rounds"][patient]
            row |= {key: every.number(key) for key in every.values if key.startswith(("dsc_round_", "d_"))}
            row["rounds_stop_reason"] = every.values["stop_reason"]
        row |= {"rounds": case.number("rounds"), "stop_reason": case.values["stop_reason"]}
        rows.append(row | {"seconds": case.number("seconds"), "train_seconds": train_seconds})
    return pd.DataFrame(rows)


def write_rows(run: MethodRun, training: Path, folders: Mapping[str, Path]) -> Path:
    """Write the rows of a run.

    Args:
        run: whose parts are done.
        training: ``result.json`` of its training.
        folders: of the evaluations, by what they tell.

    Returns:
        ``<output>/rows/<method>_fold<fold>_seed<seed>.csv``.
    """
    evaluations = evaluations_of(run.method)
    tables = {name: read_cases(folders[name] / evaluations[name].cases, ["dsc"]) for name in evaluations}
    frame = join_cases(run, tables, json.loads(training.read_text(encoding="utf-8"))["seconds"])
    path = run.output / _ROWS / f"{run.method.name}_fold{run.fold}_seed{run.seed}.csv"
    with atomic_write(path) as part:
        frame.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")
    return path


def read_rows(output: Path) -> pd.DataFrame:
    """Rows of all runs that are there.

    Args:
        output: folder of the runs, or a CSV file of rows.

    Raises:
        ValueError: when there are none, or a patient is tested twice with a method and seed.
    """
    paths = [output] if output.is_file() else sorted((output / _ROWS).glob("*.csv"))
    if not paths:
        raise ValueError(f"there are no rows in {output / _ROWS}: run train and evaluate first.")
    frame = pd.concat([pd.read_csv(path, dtype={"patient": str}) for path in paths], ignore_index=True)
    if (twice := frame.duplicated(["method", "seed", "patient"])).any():
        row = frame[twice].iloc[0]
        raise ValueError(f"{row['method']} with seed {row['seed']} has the patient {row['patient']} in two folds.")
    return frame


def _score(case: CaseRow, column: str) -> float:
    value = case.number(column)
    if value is None:
        raise ValueError(f"the patient {case.case} has no {column}: its slices have no target.")
    return value

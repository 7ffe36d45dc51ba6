# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How well the predicted DSC and its lower bound hold: coverage, rank correlation, and the DSC of the cases kept.

Takes tables of cases of `c2f evaluate`. Some fit and others test; or each table is tested by what the others fit,
such as the folds of a cross-validation:

    python benchmarks/quality.py --fit val/cases.csv --test test/cases.csv --output docs/results/quality --name phantom
    python benchmarks/quality.py --folds fold0/cases.csv fold1/cases.csv --output docs/results/quality --name real

`--weights` writes what all tables but those of `--test` fit beside a file of weights, which then predicts.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from c2f_monai.apps.evaluate import fit_rows, signals_in
from c2f_monai.inferers import SIGNALS, quality_path
from c2f_monai.metrics.tables import CaseRow, read_cases
from c2f_monai.utils import sha256_of
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

KEPT = (1.0, 0.9, 0.75, 0.5)


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, nargs="*", default=[], help="tables that the prediction is fitted on")
    parser.add_argument("--test", type=Path, nargs="*", default=[], help="tables that it is tested on")
    parser.add_argument("--folds", type=Path, nargs="*", default=[], help="tables tested by what the others fit")
    parser.add_argument("--output", type=Path, required=True, help="folder of rows, figures and plot")
    parser.add_argument("--name", required=True, help="name of the files")
    parser.add_argument("--weights", type=Path, help="write the prediction beside these weights")
    parser.add_argument("--about", default="", help="what it was fitted on, a line of that file")
    return parser.parse_args()


def rows_of(paths: Sequence[Path]) -> list[CaseRow]:
    """Scored cases with signals, of all tables."""
    rows = [row for path in paths for row in read_cases(path, ["dsc"]).values()]
    return [row for row in rows if signals_in(row) and row.number("dsc") is not None]


def tested(fit: Sequence[CaseRow], test: Sequence[CaseRow]) -> list[dict]:
    """Rows of the cases that are tested: signals, prediction, bound, true DSC."""
    model = fit_rows(fit)
    found = []
    for row in test:
        signals = signals_in(row)
        predicted = model.predict(signals)
        if predicted is not None:
            values = {"predicted_dsc": predicted[0], "dsc_bound": predicted[1], "dsc": row.number("dsc")}
            volume, true = row.number("voxels") or 0.0, row.number("label_voxels")
            low, high = model.interval(volume, predicted[0]) or (None, None)
            volumes = {"voxels": volume, "voxels_low": low, "voxels_high": high, "label_voxels": true}
            found.append({"case": row.case, "group": row.group, **signals, **values, **volumes})
    return found


def figures(rows: Sequence[dict]) -> dict:
    """Coverage of the bound, error of the prediction, correlations, and the mean DSC of the most trusted cases."""
    dsc, predicted, bound = (np.array([row[key] for row in rows]) for key in ("dsc", "predicted_dsc", "dsc_bound"))
    names = [name for name in SIGNALS if name in rows[0]]
    return {
        "cases": len(rows),
        "coverage": float(np.mean(dsc >= bound)),
        "mean_dsc": float(dsc.mean()),
        "mean_bound": float(bound.mean()),
        **volume_figures(rows),
        "absolute_error": float(np.abs(predicted - dsc).mean()),
        "spearman": float(spearmanr(predicted, dsc).statistic),
        "spearman_signals": {name: float(spearmanr([r[name] for r in rows], dsc).statistic) for name in names},
        "kept": {str(share): kept_mean(predicted, dsc, share) for share in KEPT},
        "kept_oracle": {str(share): kept_mean(dsc, dsc, share) for share in KEPT},
    }


def volume_figures(rows: Sequence[dict]) -> dict:
    """Coverage of the volume's interval, and the median of its upper over its lower end where that is above 0.

    Where nothing was found the interval is (0, 0): such a case is covered or not, and has no ratio.
    """
    known = [row for row in rows if row["voxels_low"] is not None]
    if not known:
        return {"volume_coverage": None, "volume_ratio": None}
    inside = [row["voxels_low"] <= row["label_voxels"] <= row["voxels_high"] for row in known]
    ratios = [row["voxels_high"] / row["voxels_low"] for row in known if row["voxels_low"] > 0]
    return {"volume_coverage": float(np.mean(inside)), "volume_ratio": float(np.median(ratios)) if ratios else None}


def kept_mean(trust: np.ndarray, dsc: np.ndarray, share: float) -> float:
    """Mean DSC of the share of the cases that are trusted most."""
    order = np.argsort(-trust, kind="stable")
    return float(dsc[order[: max(round(share * len(dsc)), 1)]].mean())


def draw(rows: Sequence[dict], path: Path) -> None:
    """Prediction against truth, and the mean DSC over the share of the cases kept."""
    dsc, predicted, bound = (
        100 * np.array([row[key] for row in rows]) for key in ("dsc", "predicted_dsc", "dsc_bound")
    )
    figure = Figure(figsize=(10, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    low = min(dsc.min(), bound.min()) - 2
    left.plot([low, 100], [low, 100], color="gray", linewidth=1)
    left.scatter(predicted, dsc, s=16, label="predicted DSC")
    left.scatter(bound, dsc, s=12, marker="|", label="lower bound")
    left.set(xlabel="predicted DSC and bound [%]", ylabel="true DSC [%]")
    shares = np.arange(1, len(dsc) + 1) / len(dsc)
    for name, trust in (("by the prediction", predicted), ("by the true DSC", dsc)):
        order = np.argsort(-trust, kind="stable")
        right.plot(100 * shares, np.cumsum(dsc[order]) / np.arange(1, len(dsc) + 1), label=name)
    right.axhline(dsc.mean(), color="gray", linewidth=1, label="all cases")
    right.set(xlabel="cases kept [%]", ylabel="mean DSC [%]")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main() -> None:
    """Test, print and write."""
    args = parse_args()
    if bool(args.folds) == bool(args.test):
        raise SystemExit("give --fit and --test, or --folds.")
    if args.folds:
        parts = [([p for p in args.folds if p != path], [path]) for path in args.folds]
    else:
        parts = [(args.fit, args.test)]
    rows = [row for fit, test in parts for row in tested(rows_of(fit), rows_of(test))]
    groups = sorted({row["group"] for row in rows if row["group"]})
    found = {"all": figures(rows)} | {name: figures([r for r in rows if r["group"] == name]) for name in groups}
    about = {
        "command": shlex.join(["benchmarks/quality.py", *sys.argv[1:]]),
        **describe_source(),
        **describe_versions(),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**about, **describe_machine(), "results": found}, indent=1)
    (args.output / f"{args.name}.json").write_text(text + "\n", encoding="utf-8")
    with (args.output / f"{args.name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()})
    draw(rows, args.output / f"{args.name}.png")
    print(table(found))
    if args.weights is not None:
        model = fit_rows(rows_of([*args.fit, *args.folds]), sha256_of(args.weights))
        replace(model, about=args.about).write(quality_path(args.weights))


def table(found: dict[str, dict]) -> str:
    """Markdown."""
    heads = ["cases", "count", "mean DSC", "coverage of the bound", "mean bound", "error", "Spearman"]
    heads += ["kept 75 %", "kept 50 %", "volume in its interval", "upper / lower end"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, f in found.items():
        cells = [100 * f[key] for key in ("mean_dsc", "coverage", "mean_bound", "absolute_error")]
        kept = [100 * f["kept"][key] for key in ("0.75", "0.5")]
        values = [*(f"{value:.1f}" for value in cells), f"{f['spearman']:.2f}", *(f"{value:.1f}" for value in kept)]
        covered, ratio = f["volume_coverage"], f["volume_ratio"]
        volume = ["" if covered is None else f"{100 * covered:.1f}", "" if ratio is None else f"{ratio:.2f}"]
        lines.append(f"| {name} | {f['cases']} | " + " | ".join([*values, *volume]) + " |")
    lines += ["", "Spearman's correlation of each signal with the DSC:", ""]
    lines += [
        "- " + name + ": " + ", ".join(f"{k} {v:.2f}" for k, v in f["spearman_signals"].items())
        for name, f in found.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

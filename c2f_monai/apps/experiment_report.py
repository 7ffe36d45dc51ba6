# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From tables of cases to a table of the experiment: CSV, Markdown with the chapter's numbers beside, figures."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from c2f_monai.metrics.rounds import Picked, RoundCurve, curves_of, inter_round_rows, mean_picked, score_row
from c2f_monai.metrics.statistics import bootstrap_interval, compare_paired
from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import written_whole
from c2f_monai.visualize.charts import box_figure, convergence_figure, scatter_figure

from .experiment_parts import Part, Settings, cases_file
from .experiment_plan import Comparison, Evaluation, Pick, Table

__all__ = ["Curves", "case_scores", "gather", "scored_row", "write_report"]

#: Curves of an evaluation, of all folds together, by training seed.
Curves = Mapping[int, Sequence[RoundCurve]]
Scores = Mapping[str, Picked]


def gather(evaluation: Evaluation, settings: Settings) -> Curves:
    """Curves of all cases of an evaluation.

    Raises:
        ValueError: When a table of cases is missing, or two folds have the same case.
    """
    found: dict[int, list[RoundCurve]] = {}
    for seed in settings.seeds:
        cases: dict[str, Any] = {}
        for fold in settings.folds:
            more = read_cases(cases_file(evaluation, settings, fold, seed), ["dsc_round_0"])
            if twice := sorted(cases.keys() & more.keys()):
                raise ValueError(f"{evaluation.name}: the case {twice[0]} is tested in two folds.")
            cases |= more
        found[seed] = curves_of(cases)
    return found


def case_scores(curves: Curves, pick: Pick) -> dict[str, Picked]:
    """What a rule of stopping makes of each case, the mean over the training seeds."""
    by_case: dict[str, list[Picked]] = {}
    for cases in curves.values():
        for curve in cases:
            by_case.setdefault(curve.case, []).append(pick(curve))
    return {case: mean_picked(picked) for case, picked in by_case.items()}


def scored_row(label: str, curves: Curves, pick: Pick) -> dict[str, Any]:
    """A row of numbers, see :func:`c2f_monai.metrics.rounds.score_row`; ``seeds``, and ``seed_std`` of their means."""
    picked = list(case_scores(curves, pick).values())
    row = score_row(label, picked)
    low, high = bootstrap_interval([one.dsc for one in picked])
    means = [float(np.mean([pick(curve).dsc for curve in cases])) for cases in curves.values()]
    return {**row, "low": low, "high": high, "seeds": len(means), "seed_std": float(np.std(means))}


def write_report(table: Table, settings: Settings, parts: Sequence[Part], command: str) -> Path:
    """Write ``<output>/tables/<name>/``: table.md, rows.csv, cases.csv, results.json and figures.

    Args:
        table: whose parts are done.
        settings: of the experiment.
        parts: of the table, whose results say how the numbers were made.
        command: that printed the table.

    Returns:
        The Markdown file.
    """
    folder = settings.output / "tables" / table.name
    curves = {evaluation.name: gather(evaluation, settings) for evaluation in table.evaluations}
    named = [(row, curves[row.evaluation.name]) for row in table.rows if row.evaluation is not None]
    rows = {row.label: scored_row(row.label, found, row.pick) for row, found in named}
    scores = {row.label: case_scores(found, row.pick) for row, found in named}
    results = [json.loads(part.result.read_text(encoding="utf-8")) for part in parts]
    _write_csv(folder / "rows.csv", [{**row, "chapter": _chapter(table, name)} for name, row in rows.items()])
    _write_csv(folder / "cases.csv", _case_rows(scores))
    with written_whole(folder / "results.json") as file:
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    _write_figures(folder, table, settings, scores, curves)
    lines = [f"# {table.title}", "", *_table_lines(table, rows), *_comparison_lines(table.comparisons, scores)]
    lines += _convergence_lines(table, curves)
    lines += ["", *_provenance(command, results, settings), ""]
    path = folder / "table.md"
    with written_whole(path) as file:
        file.write_text("\n".join(lines), encoding="utf-8")
    return path


def _chapter(table: Table, label: str) -> str:
    return next(row.chapter for row in table.rows if row.label == label)


def _case_rows(scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    cases = sorted({case for found in scores.values() for case in found})
    picked = {case: {label: found[case].dsc for label, found in scores.items() if case in found} for case in cases}
    return [{"case": case, **{label: picked[case].get(label) for label in scores}} for case in cases]


def _table_lines(table: Table, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        "DSC in % on the working grid, mean ± std (max, min) over the cases; last, what the chapter prints.",
        "",
        "| | DSC | 95 % interval | rounds | converged | chapter |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        cells = _cells(rows[row.label]) if row.evaluation is not None else ["", "", "", ""]
        lines.append(_line([row.label, *cells, row.chapter]))
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    mean, std, high, low = (f"{100 * row[key]:.2f}" for key in ("mean", "std", "max", "min"))
    seeds = f"; {row['seeds']} seeds, std of their means {100 * row['seed_std']:.2f}" if row["seeds"] > 1 else ""
    converged = "" if row["converged"] is None else f"{row['converged']:g} of {row['cases']}"
    interval = f"{100 * row['low']:.2f} .. {100 * row['high']:.2f}"
    rounds = f"{row['rounds_mean']:.2f}±{row['rounds_std']:.2f}"
    return [f"{mean}±{std} ({high}, {low}){seeds}", interval, rounds, converged]


def _comparison_lines(pairs: Sequence[Comparison], scores: Mapping[str, Scores]) -> list[str]:
    """Paired differences of the cases that both rows have."""
    if not pairs:
        return []
    lines = [
        "",
        "Case by case, DSC in %: difference, bootstrap interval of its mean, Wilcoxon's signed-rank test.",
        "",
        "| | n | difference | 95 % interval | from .. to | wins/losses/ties | p | chapter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair in pairs:
        a, b = _paired(pair, scores)
        found = compare_paired(100 * a, 100 * b)
        d, (low, high) = found.difference, found.interval
        cells = [
            f"{pair.first} - {pair.second}",
            str(d.count),
            f"{d.mean:+.2f}±{d.std:.2f}",
            f"{low:+.2f} .. {high:+.2f}",
            f"{d.min:+.2f} .. {d.max:+.2f}",
            f"{found.wins}/{found.losses}/{found.ties}",
            f"{found.p_value:.2g}",
            pair.chapter,
        ]
        lines.append(_line(cells))
    return lines


def _paired(pair: Comparison, scores: Mapping[str, Scores]) -> tuple[np.ndarray, np.ndarray]:
    first, second = scores[pair.first], scores[pair.second]
    if first.keys() != second.keys():
        raise ValueError(f"{pair.first} and {pair.second} are not about the same cases.")
    return np.array([first[case].dsc for case in first]), np.array([second[case].dsc for case in first])


def _convergence_lines(table: Table, curves: Mapping[str, Curves]) -> list[str]:
    """Inter-round DSC of each method, over the cases and seeds that ran the round."""
    lines: list[str] = []
    for method, evaluation in table.convergence.items():
        lines += ["", f"Inter-round DSC d(t), {method}:", "", "| t | cases | mean | median | min | chapter |"]
        lines.append("|---|---|---|---|---|---|")
        every = [curve for cases in curves[evaluation.name].values() for curve in cases]
        for row in inter_round_rows(every):
            numbers = [f"{row[key]:.4f}" for key in ("mean", "median", "min")]
            chapter = table.changes.get(method, {}).get(row["round"], "")
            lines.append(_line([str(row["round"]), str(row["cases"]), *numbers, chapter]))
    return lines


def _provenance(command: str, results: Sequence[Mapping[str, Any]], settings: Settings) -> list[str]:
    def each(key: str) -> str:
        return "; ".join(sorted({json.dumps(result[key], ensure_ascii=False) for result in results}))

    minutes = sum(result["seconds"] for result in results) / 60
    return [
        f"`{command}`" + (" (small version: a few cases and iterations)" if settings.small else ""),
        "",
        f"Source {each('source')}, versions {each('versions')}, machine {each('machine')}; {minutes:.1f} minutes. "
        "The command of each part is in results.json.",
    ]


def _write_figures(
    folder: Path,
    table: Table,
    settings: Settings,
    scores: Mapping[str, Scores],
    curves: Mapping[str, Curves],
) -> None:
    _save(box_figure({label: [p.dsc for p in found.values()] for label, found in scores.items()}), folder / "box.png")
    for number, pair in enumerate(table.comparisons, start=1):
        a, b = _paired(pair, scores)
        _save(scatter_figure(a.tolist(), b.tolist(), pair.first, pair.second), folder / f"scatter_{number}.png")
    if table.convergence:
        every = {
            method: [curve for cases in curves[evaluation.name].values() for curve in cases]
            for method, evaluation in table.convergence.items()
        }
        _save(convergence_figure(every), folder / "convergence.png")
    for evaluation in table.evaluations:
        # Of the first fold and seed: through the rounds (Fig. 3.8) and of the saliency maps (Fig. 3.9).
        source = cases_file(evaluation, settings, settings.folds[0], settings.seeds[0]).parent
        for path in sorted([*source.glob("*_rounds.png"), *source.glob("*_saliency.png")]):
            with written_whole(folder / f"{evaluation.name}_{path.name}") as part:
                shutil.copyfile(path, part)


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as part:
        figure.savefig(part)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with written_whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{v:.6f}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"

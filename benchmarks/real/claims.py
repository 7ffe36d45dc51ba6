# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the chapter claims, as the phantom and as the real slices say it, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.chapter.claim_list import build_claims
from benchmarks.chapter.claims import Claim, Measured, Term, judge, measure
from benchmarks.chapter.declared import declared
from benchmarks.chapter.methods import RSTN, STEPWISE
from benchmarks.chapter.parts import ROOT, ExperimentSettings
from benchmarks.chapter.plan import oracle_of, rounds_of
from benchmarks.chapter.scores import Curves
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from benchmarks.chapter.verdicts import corrected_p_values, judged_claims
from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.metrics.random_effects import mean_of_groups
from c2f_monai.metrics.rounds import RoundCurve

from .tables import curves_of_rows

__all__ = ["claim_lines", "fold_curves", "measure_folds", "measure_seeds", "with_rstn"]

#: Curves by fold and training seed.
FoldCurves = Mapping[int, Curves]
_HEADER = ("claim", "compared", "phantom", "95 % interval", "verdict", "real slices", "95 % interval")
_TEXT = """Differences in points of DSC on the working grid, or in rounds, by the chapter's rules of stopping. The
phantom has the verdicts of its own list, in which cases and training seeds are random effects. {effects} The rule is
the same otherwise, Holm's correction among what the real slices answer included; comparisons of different trainings
need five{needed}. The whole image is the single-stage network of the same seconds there, and the coarse networks of the
same training time on the phantom. That one round brings most of it is judged against the middle between none and ten:
where ten are no better than none it says that the first round is."""
_OF_FOLDS = """On the real slices every fold is a training of its own that tests other patients, so the folds are the
random effect: the interval is Student's t of their means, with folds - 1 degrees of freedom, and contains what patients
and what trainings vary by."""
_OF_SEEDS = """So they are on the real slices, of which one fold was trained with several seeds: the intervals are of
its patients, and say nothing of what other patients to train on would change."""


def with_rstn(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows in which one of the methods stands for the chapter's RSTN, in the place of the method of that name.

    Args:
        rows: see :func:`benchmarks.real.rows.join_cases`.
        name: of the method.

    Raises:
        ValueError: when no row is of it.
    """
    if name not in (methods := set(rows["method"])):
        raise ValueError(
            f"no row is of {name}: choose --rstn among the methods that were evaluated, {sorted(methods)}."
        )
    others = rows[(rows["method"] != "rstn") | (name == "rstn")]
    return others.assign(method=others["method"].replace(name, "rstn"))


def fold_curves(rows: pd.DataFrame) -> dict[str, FoldCurves]:
    """Curves of the evaluations that real rows answer, by the names that the chapter's tables give them.

    Args:
        rows: see :func:`benchmarks.real.rows.join_cases`.
    """
    scores = {
        rounds_of(RSTN).name: ("rstn", None),
        rounds_of(STEPWISE).name: ("stepwise", None),
        oracle_of(RSTN).name: ("rstn", "dsc_oracle"),
        oracle_of(STEPWISE).name: ("stepwise", "dsc_oracle"),
        f"{declared().training('coarse_longer').name}_final": ("single_stage", "dsc"),
    }
    found: dict[str, FoldCurves] = {}
    for name, (method, column) in scores.items():
        of_method = rows[rows["method"] == method]
        if len(of_method):
            found[name] = {
                int(fold): {int(seed): _curves(own, method, column) for seed, own in of_fold.groupby("seed")}
                for fold, of_fold in of_method.groupby("fold")
            }
    return found


def _curves(rows: pd.DataFrame, method: str, column: str | None) -> list[RoundCurve]:
    """Curves of one fold and seed: of the rounds, or of a column's DSC, which is all that is known then."""
    if column is None:
        return curves_of_rows(rows, method)
    return [RoundCurve(str(p), (float(s),), ()) for p, s in zip(rows["patient"], rows[column], strict=True)]


def measure_folds(claim: Claim, curves: Mapping[str, FoldCurves]) -> Measured:
    """The sum of a claim, whose random effect is the fold; a fold counts with the mean of its training seeds.

    Args:
        claim: whose evaluations are there.
        curves: by the name of the evaluation.

    Raises:
        ValueError: when the evaluations, or seeds, are not of the same folds and patients.
    """
    found = [curves[term.evaluation.name] for term in claim.terms]
    about = [{fold: {_patients(cases) for cases in of.values()} for fold, of in each.items()} for each in found]
    if any(one != about[0] for one in about) or any(len(patients) > 1 for patients in about[0].values()):
        raise ValueError(f"{claim.compared}: not about the same folds and patients.")
    means = []
    for fold in sorted(about[0]):
        of_terms = [_statistic(claim, term, each[fold]) for term, each in zip(claim.terms, found, strict=True)]
        means.append(sum(of_terms))
    return Measured(mean_of_groups([[mean] for mean in means]), tuple(means))


def _statistic(claim: Claim, term: Term, curves: Curves) -> float:
    """A term of a fold: what the claim is of, seed by seed, and the mean over the seeds."""
    of_seeds = [claim.over_cases(np.array([term.value(curve) for curve in cases])) for cases in curves.values()]
    return term.factor * float(np.mean(of_seeds))


def _patients(curves: Sequence[RoundCurve]) -> tuple[str, ...]:
    return tuple(sorted(curve.case for curve in curves))


def measure_seeds(claim: Claim, curves: Mapping[str, FoldCurves]) -> Measured:
    """The sum of a claim on one fold, whose random effects are patients and the training seeds that all rows have.

    Args:
        claim: whose evaluations are there.
        curves: by the name of the evaluation.

    Raises:
        ValueError: when the evaluations, or seeds, are not of the same patients, or have no seed in common.
    """
    found = {term.evaluation.name: next(iter(curves[term.evaluation.name].values())) for term in claim.terms}
    common = set.intersection(*(set(of_seeds) for of_seeds in found.values()))
    if not common:
        raise ValueError(f"{claim.compared}: no training seed that all have.")
    return measure(claim, {name: {seed: found[name][seed] for seed in common} for name in found})


def claim_lines(rows: pd.DataFrame, phantom: Path, seeds: Sequence[int]) -> list[str]:
    """All claims that the phantom's record or the real rows answer.

    Args:
        rows: of the real slices: several folds, or one with several training seeds.
        phantom: ``rows.csv`` of a record of :mod:`benchmarks.chapter`.
        seeds: training seeds of the record.

    Raises:
        ValueError: when neither answers a claim, or the rows are of one fold and seed.
    """
    tables, curves = build_tables(DEFAULT_ORGANS), fold_curves(rows)
    one_fold = rows["fold"].nunique() < 2
    if one_fold and rows["seed"].nunique() < 2:
        raise ValueError(
            "claims on real slices need two folds, or two training seeds of one: evaluate the others first."
        )
    measure_real = measure_seeds if one_fold else measure_folds
    of_phantom = judged_claims(tables, ExperimentSettings(ROOT, phantom.parent, seeds=tuple(seeds), rows=phantom))
    claims = build_claims(tables)
    measured = [measure_real(claim, curves) if _is_answered(claim, curves) else None for claim in claims]
    corrected = corrected_p_values(claims, measured)
    lines = []
    for claim, one, real, p_values in zip(claims, of_phantom, measured, corrected, strict=True):
        if one.found is None and real is None:
            continue
        there = _cells(one.found, one.verdict)
        here = _cells(real, "not run" if real is None else judge(claim, real, p_values))
        each = "" if real is None else ", ".join(f"{mean:+.2f}" for mean in real.seeds)
        lines.append([claim.text, claim.compared, *there, *here[:2], each, here[2]])
    if not lines:
        raise ValueError(f"neither {phantom} with the seeds {list(seeds)} nor the real rows answer a claim.")
    effects, needed = (_OF_SEEDS, "") if one_fold else (_OF_FOLDS, ", which four folds of one seed are not")
    text = textwrap.fill(_TEXT.format(effects=effects, needed=needed), 118)
    header = (*_HEADER, "each seed" if one_fold else "each fold", "verdict")
    return ["# Phantom and real slices, side by side", "", text, "", *markdown_table(header, lines)]


def _is_answered(claim: Claim, curves: Mapping[str, FoldCurves]) -> bool:
    return bool(claim.terms) and all(term.evaluation.name in curves for term in claim.terms)


def _cells(found: Measured | None, verdict: str) -> list[str]:
    if found is None:
        return ["", "", verdict]
    low, high = found.estimate.interval()
    return [f"{found.estimate.value:+.2f}", f"{low:+.2f} .. {high:+.2f}", verdict]

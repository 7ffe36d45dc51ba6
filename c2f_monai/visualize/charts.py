# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Charts of scores: convergence over the rounds, two methods case by case, and distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..metrics.rounds import RoundCurve

__all__ = ["box_figure", "convergence_figure", "mean_over_rounds", "scatter_figure"]


def mean_over_rounds(curves: Sequence[RoundCurve]) -> tuple[np.ndarray, np.ndarray]:
    """Mean DSC after t = 0 .. T and mean inter-round d(t) of t = 1 .. T.

    Args:
        curves: cases; one whose mask became empty stays at its last DSC and is left out of the later d(t).

    Returns:
        (T + 1,) and (T,), T of the longest curve.

    Examples:
        >>> curves = [RoundCurve("a", (0.6, 0.8), (0.7,)), RoundCurve("b", (0.8, 0.8), (0.9,))]
        >>> [values.round(2).tolist() for values in mean_over_rounds(curves)]
        [[0.7, 0.8], [0.8]]
    """
    rounds = max(len(curve.changes) for curve in curves)
    dsc = [np.mean([curve.dsc[min(t, len(curve.changes))] for curve in curves]) for t in range(rounds + 1)]
    changes = [np.mean([c.changes[t] for c in curves if t < len(c.changes)]) for t in range(rounds)]
    return np.array(dsc), np.array(changes)


def convergence_figure(methods: Mapping[str, Sequence[RoundCurve]]) -> Figure:
    """DSC and inter-round DSC over the rounds, a line for each method [3.4]."""
    figure = Figure(figsize=(10, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, curves in methods.items():
        dsc, changes = mean_over_rounds(curves)
        left.plot(range(len(dsc)), 100 * dsc, marker="o", label=name)
        right.plot(range(1, len(changes) + 1), changes, marker="o", label=name)
    left.set(xlabel="round (0 is coarse)", ylabel="mean DSC [%]")
    right.set(xlabel="round t", ylabel="mean d(t) = DSC(Z(t-1), Z(t))")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def scatter_figure(pairs: Mapping[tuple[str, str], tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """DSC in [0, 1] of each case under two methods, a panel for each pair; above the diagonal the first method wins.

    Args:
        pairs: by the names of two methods, the DSC of each, of the same cases in the same order.
    """
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(4.5 * columns, 4.7 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for ((a, b), (first, second)), axes in zip(pairs.items(), panels, strict=False):
        x, y = 100 * np.asarray(second), 100 * np.asarray(first)
        low = max(0.0, float(min(x.min(), y.min())) - 3)
        high = min(100.0, float(max(x.max(), y.max())) + 3)
        axes.plot([low, high], [low, high], color="gray", linewidth=1)
        axes.scatter(x, y, s=18)
        axes.set(xlabel=f"{b}: DSC [%]", ylabel=f"{a}: DSC [%]", xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_title(f"{int((y > x).sum())} wins, {int((y < x).sum())} losses of {len(x)} cases")
    for axes in panels:  # what the last row has no pair for
        axes.remove()
    return figure


def box_figure(methods: Mapping[str, Sequence[float]]) -> Figure:
    """Quartiles and outliers of the DSC in [0, 1] of each method's cases, with the mean as a triangle."""
    figure = Figure(figsize=(2 + 0.7 * len(methods), 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = list(range(1, len(methods) + 1))
    axes.boxplot([100 * np.asarray(values) for values in methods.values()], positions=places, showmeans=True)
    axes.set_xticks(places, labels=list(methods), rotation=60, ha="right")
    axes.set_ylabel("DSC [%]")
    axes.grid(axis="y", alpha=0.3)
    return figure

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How far to trust an answer: what the loop has at hand at its end, and a calibrated prediction of the DSC from it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls

from ..utils import atomic_write, dice_of_counts, sha256_of

__all__ = ["SIGNALS", "QualityModel", "fit_quality", "quality_path", "read_quality", "signals_of", "view_dice"]

#: Signals of a case, 1 where there is no doubt, each a DSC: of the views' masks of the last round, of the last two
#: rounds, of the coarse and the last mask, and the one that the probabilities themselves expect.
SIGNALS = ("view_dsc", "round_dsc", "coarse_dsc", "expected_dsc")
#: Share of the cases whose DSC is to lie at or above the lower bound.
CONFIDENCE = 0.9
_RIDGE = 0.05  # keeps weights small where cases are few and signals say the same


def view_dice(masks: Sequence[torch.Tensor]) -> float | None:
    """Mean DSC over the pairs of the views' masks.

    Args:
        masks: (K, h, w, d) bool for each view.

    Returns:
        None for a single view.
    """
    sizes = [int(mask.sum()) for mask in masks]
    pairs = list(combinations(range(len(masks)), 2))
    scores = [dice_of_counts(int((masks[i] & masks[j]).sum()), sizes[i] + sizes[j]) for i, j in pairs]
    return sum(scores) / len(scores) if scores else None


def expected_dice(probability: torch.Tensor, mask: torch.Tensor) -> float | None:
    """DSC of a mask that its probabilities expect: 2 sum(p in mask) / (voxels + sum(p)).

    Args:
        probability: (K, h, w, d).
        mask: of the same shape, bool.

    Returns:
        None where both are empty.
    """
    total = float(probability.sum(dtype=torch.float64)) + int(mask.sum())
    return 2.0 * float(probability[mask].sum(dtype=torch.float64)) / total if total else None


def signals_of(
    view_dsc: float | None, round_dsc: float | None, coarse_dsc: float | None, expected_dsc: float | None
) -> dict[str, float]:
    """Those of :py:data:`SIGNALS` that a case has."""
    found = dict(zip(SIGNALS, (view_dsc, round_dsc, coarse_dsc, expected_dsc), strict=True))
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class QualityModel:
    """
    A prediction of a case's DSC: 1 - DSC = intercept + sum of weight * (1 - signal), no weight below zero.

    The more the views, rounds and stages agree, the higher the prediction is. The lower bound is the prediction less
    ``margin``, a conformal quantile of what the predictions of cases were too high that were left out of the fit.

    Attributes:
        weights: by names of signals.
        intercept: what is missing where all signals are 1.
        margin: DSC; the bound is so much lower.
        look_below: a case of a lower prediction is to be looked at.
        cases: fitted on so many.
        sha256: of the file of the networks' weights, or its first digits; "" fits any.

    Example:
        >>> model = QualityModel({"view_dsc": 1.0}, 0.05, 0.1, 0.7, 12)
        >>> prediction, bound = model.predict({"view_dsc": 0.9})
        >>> round(prediction, 2), round(bound, 2)
        (0.85, 0.75)
    """

    weights: dict[str, float]
    intercept: float
    margin: float
    look_below: float
    cases: int
    sha256: str = ""

    def predict(self, signals: Mapping[str, float]) -> tuple[float, float] | None:
        """Predicted DSC and its lower bound, both in [0, 1]; None where a signal is missing."""
        if any(name not in signals for name in self.weights):
            return None
        found = 1.0 - self.intercept - sum(weight * (1.0 - signals[name]) for name, weight in self.weights.items())
        return min(max(found, 0.0), 1.0), min(max(found - self.margin, 0.0), 1.0)

    def write(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        with atomic_write(Path(path)) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def fit_quality(cases: Sequence[Mapping[str, float]], scores: Sequence[float], sha256: str = "") -> QualityModel:
    """Fit the prediction and its bound on labeled cases that the networks were not trained on.

    Args:
        cases: signals of each; the names that all have are used.
        scores: their true DSC in [0, 1].
        sha256: of the file of weights that the signals are of.

    Raises:
        ValueError: for fewer than nine cases, too few for a bound that holds for 90 %, or no common signal.
    """
    least = math.ceil(CONFIDENCE / (1.0 - CONFIDENCE) - 1e-9)
    if len(cases) < least:
        raise ValueError(f"a bound that holds for 90 % of the cases needs {least} labeled cases, got {len(cases)}.")
    names = [name for name in SIGNALS if all(name in case for case in cases)]
    if not names:
        raise ValueError(f"the cases have none of the signals {', '.join(SIGNALS)} in common.")
    doubts = np.array([[1.0 - case[name] for name in names] for case in cases])
    missing = 1.0 - np.asarray(scores, dtype=np.float64)
    everyone = np.arange(len(missing))
    solution = _solve(doubts, missing)
    # What a case's own label has not taught says how wrong a prediction is.
    left_out = [_missing(doubts[i], _solve(doubts[everyone != i], missing[everyone != i])) for i in everyone]
    excess = np.sort(missing - np.array(left_out))
    margin = float(excess[math.ceil((len(excess) + 1) * CONFIDENCE - 1e-9) - 1])
    predicted = [1.0 - _missing(row, solution) for row in doubts]
    weights = {name: float(weight) for name, weight in zip(names, solution[1:], strict=True)}
    look_below = float(np.quantile(predicted, 0.1))
    return QualityModel(weights, float(solution[0]), max(margin, 0.0), look_below, len(cases), sha256)


def _solve(doubts: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(1 + signals,) intercept and weights, none below zero, by least squares with a ridge on the weights."""
    count = doubts.shape[1]
    rows = np.hstack([np.ones((len(doubts), 1)), doubts])
    ridge = np.hstack([np.zeros((count, 1)), _RIDGE * np.eye(count)])
    solution: np.ndarray = nnls(np.vstack([rows, ridge]), np.concatenate([missing, np.zeros(count)]))[0]
    return solution


def _missing(doubts: np.ndarray, solution: np.ndarray) -> float:
    return float(solution[0] + doubts @ solution[1:])


def quality_path(weights: str | Path) -> Path:
    """Where the quality model of a file of weights lies: beside it, ``model.quality.json`` of ``model.pt``."""
    return Path(weights).with_suffix(".quality.json")


def read_quality(weights: str | Path) -> QualityModel | None:
    """The quality model beside a file of weights; None where there is none, with a warning where it is of others.

    Raises:
        ValueError: for a file that holds no quality model.
    """
    path = quality_path(weights)
    if not path.is_file() or not Path(weights).is_file():
        return None
    try:
        model = QualityModel(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no quality model ({error}): remove it, or fit it again.") from error
    if not sha256_of(Path(weights)).startswith(model.sha256):
        warnings.warn(f"{path} was fitted for other weights than {weights} and is not used.", stacklevel=2)
        return None
    return model

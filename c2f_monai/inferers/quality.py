# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How far to trust an answer: what the loop has at hand at its end, and a calibrated prediction of the DSC from it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from ..utils import Bounds, atomic_write, dice_of_counts, sha256_of

__all__ = [
    "SIGNALS",
    "TRAITS",
    "QualityModel",
    "check_case_count",
    "entropy",
    "fit_quality",
    "quality_path",
    "read_quality",
    "signals_of",
    "traits_of",
    "view_dice",
]

#: Signals of a case, 1 where there is no doubt, each a DSC: of the views' masks of the last round, of the last two
#: rounds, of the coarse and the last mask, and the one that the probabilities themselves expect.
SIGNALS = ("view_dsc", "round_dsc", "coarse_dsc", "expected_dsc")
#: What is compared with the range of the fitted cases: where in the field the answer lies, as fractions of its sides
#: from left, back and below, and the sides of the field in mm; the answer's volume, ``ml``, likewise.
TRAITS = ("place_r", "place_a", "place_s", "fov_r", "fov_a", "fov_s")
#: Share of the cases whose DSC is to lie at or above the lower bound, and whose volume in its interval.
CONFIDENCE = 0.9
_RIDGE = 0.05  # keeps weights small where cases are few and signals say the same
_FLOOR = 0.05  # missing DSC below which no interval of a volume is narrower
_BEYOND = 0.25  # of their width, how far ranges reach beyond the fitted cases, which are few


def view_dice(masks: Sequence[torch.Tensor]) -> float | None:
    """Mean DSC over the pairs of the views' masks.

    Args:
        masks: (K, h, w, d) bool for each view.

    Returns:
        None for a single view.
    """
    if len(masks) < 2:
        return None
    sizes = [int(torch.count_nonzero(mask)) for mask in masks]
    pairs = list(combinations(range(len(masks)), 2))
    scores = [dice_of_counts(int(torch.count_nonzero(masks[i] & masks[j])), sizes[i] + sizes[j]) for i, j in pairs]
    return sum(scores) / len(scores)


def expected_dice(probability: torch.Tensor, mask: torch.Tensor) -> float | None:
    """DSC of a mask that its probabilities expect: 2 sum(p in mask) / (voxels + sum(p)).

    Args:
        probability: (K, h, w, d).
        mask: of the same shape, bool.

    Returns:
        None where both are empty.
    """
    total = float(probability.sum(dtype=torch.float64)) + int(torch.count_nonzero(mask))
    return 2.0 * float(probability[mask].sum(dtype=torch.float64)) / total if total else None


def entropy(probability: torch.Tensor) -> torch.Tensor:
    """Entropy of each probability in bits, float32.

    Example:
        >>> entropy(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0.0, 1.0, 0.0]
    """
    p = probability.float().clamp(0.0, 1.0)
    return (torch.xlogy(p, p) + torch.xlogy(1.0 - p, 1.0 - p)).div_(-math.log(2.0)).abs_()


def signals_of(*values: float | None) -> dict[str, float]:
    """Those of :py:data:`SIGNALS`, given in their order, that a case has."""
    found = dict(zip(SIGNALS, values, strict=True))
    return {name: value for name, value in found.items() if value is not None}


def traits_of(mask: torch.Tensor, bounds: Bounds, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, float]:
    """:py:data:`TRAITS` of an answer.

    Args:
        mask: (K, h, w, d) bool, not empty.
        bounds: where it lies.
        shape: (H, W, D) of the volume, RAS.
        spacing: mm of a voxel along its sides.
    """
    inside = mask.any(dim=0)
    places = []
    for axis, ((start, _), length) in enumerate(zip(bounds, shape, strict=True)):
        counts = inside.sum(dim=[other for other in range(3) if other != axis]).double()
        center = float((counts * torch.arange(0.5, len(counts), device=counts.device)).sum() / counts.sum())
        places.append((start + center) / length)
    fields = [length * step for length, step in zip(shape, spacing, strict=True)]
    return dict(zip(TRAITS, [*places, *fields], strict=True))


@dataclass(frozen=True)
class QualityModel:
    """
    A prediction of a case's DSC: 1 - DSC = intercept + sum of weight * (1 - signal), no weight below zero.

    The more the views, rounds and stages agree, the higher the prediction is. The lower bound is the prediction less
    ``margin``, a conformal quantile of what the predictions of cases were too high that were left out of the fit. The
    true volume is found volume * exp(center +- spread * (1 - predicted DSC)), its spread such a quantile, too.

    Attributes:
        weights: by names of signals.
        intercept: what is missing where all signals are 1.
        margin: DSC; the bound is so much lower.
        look_below: a case of a lower prediction is to be looked at.
        cases: fitted on so many.
        sha256: of the file of the networks' weights, or its first digits; "" fits any.
        volume: center and spread of the volume's interval; None without one.
        usual: ranges of "ml" and :py:data:`TRAITS` beyond which a case is flagged.
        about: what it was fitted on, where that is to be known.

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
    volume: tuple[float, float] | None = None
    usual: dict[str, tuple[float, float]] = field(default_factory=dict)
    about: str = ""

    @classmethod
    def of(cls, content: dict[str, Any]) -> QualityModel:
        """The model that a file's content describes; JSON has no tuples."""
        pairs = {name: (float(low), float(high)) for name, (low, high) in content.get("usual", {}).items()}
        volume = content.get("volume")
        return cls(**{**content, "usual": pairs, "volume": None if volume is None else (volume[0], volume[1])})

    def predict(self, signals: Mapping[str, float]) -> tuple[float, float] | None:
        """Predicted DSC and its lower bound, both in [0, 1]; None where a signal is missing."""
        if any(name not in signals for name in self.weights):
            return None
        found = 1.0 - self.intercept - sum(weight * (1.0 - signals[name]) for name, weight in self.weights.items())
        return min(max(found, 0.0), 1.0), min(max(found - self.margin, 0.0), 1.0)

    def interval(self, ml: float, predicted: float) -> tuple[float, float] | None:
        """Volumes between which the true one lies for 90 % of the cases.

        Args:
            ml: volume of the answer.
            predicted: DSC that is predicted for it.
        """
        if self.volume is None:
            return None
        center, reach = self.volume[0], self.volume[1] * max(1.0 - predicted, _FLOOR)
        return ml * math.exp(center - reach), ml * math.exp(center + reach)

    def unusual(self, traits: Mapping[str, float]) -> list[str]:
        """Flags for what lies beyond the range of the fitted cases: size, place or field of view."""
        kinds = {"ml": "size", "place": "place", "fov": "field of view"}
        beyond = [
            kinds[name.split("_")[0]]
            for name, (low, high) in self.usual.items()
            if name in traits and not low <= traits[name] <= high
        ]
        return [f"unusual {kind}" for kind in dict.fromkeys(beyond)]

    def write(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        with atomic_write(Path(path)) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def check_case_count(count: int) -> None:
    """Refuse to fit a bound on too few cases.

    Raises:
        ValueError: for fewer than nine.
    """
    least = math.ceil(CONFIDENCE / (1.0 - CONFIDENCE) - 1e-9)
    if count < least:
        raise ValueError(f"a bound that holds for 90 % of the cases needs {least} labeled cases, got {count}.")


def fit_quality(
    cases: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    sha256: str = "",
    volumes: Sequence[tuple[float, float]] | None = None,
    traits: Sequence[Mapping[str, float]] = (),
) -> QualityModel:
    """Fit the prediction and its bound on labeled cases that the networks were not trained on.

    Args:
        cases: signals of each; the names that all have are used.
        scores: their true DSC in [0, 1].
        sha256: of the file of weights that the signals are of.
        volumes: found and true volume of each, above 0, in any unit; None leaves their interval out.
        traits: "ml" and :py:data:`TRAITS` of each, whose ranges are kept; the names that all have are used.

    Raises:
        ValueError: for fewer than nine cases, too few for a bound that holds for 90 %, or no common signal.
    """
    check_case_count(len(cases))
    names = [name for name in SIGNALS if all(name in case for case in cases)]
    if not names:
        raise ValueError(f"the cases have none of the signals {', '.join(SIGNALS)} in common.")
    doubts = np.array([[1.0 - case[name] for name in names] for case in cases])
    missing = 1.0 - np.asarray(scores, dtype=np.float64)
    everyone = np.arange(len(missing))
    solution = _solve(doubts, missing)
    # What a case's own label has not taught says how wrong a prediction is.
    left_out = [_missing(doubts[i], _solve(doubts[everyone != i], missing[everyone != i])) for i in everyone]
    margin = _conformal(missing - np.array(left_out))
    predicted = [1.0 - _missing(row, solution) for row in doubts]
    return QualityModel(
        weights={name: float(weight) for name, weight in zip(names, solution[1:], strict=True)},
        intercept=float(solution[0]),
        margin=max(margin, 0.0),
        look_below=float(np.quantile(predicted, 0.1)),
        cases=len(cases),
        sha256=sha256,
        volume=None if volumes is None else _volume_of(volumes, left_out),
        usual=_ranges(traits),
    )


def _conformal(errors: np.ndarray) -> float:
    """The error that a further case's exceeds in one of ten cases."""
    return float(np.sort(errors)[math.ceil((len(errors) + 1) * CONFIDENCE - 1e-9) - 1])


def _volume_of(volumes: Sequence[tuple[float, float]], missing: Sequence[float]) -> tuple[float, float]:
    """Center and spread of the logarithm of true over found volume, the spread in units of the missing DSC."""
    logs = np.log([true / found for found, true in volumes])
    others = (logs.sum() - logs) / (len(logs) - 1)
    return float(logs.mean()), _conformal(np.abs(logs - others) / np.maximum(missing, _FLOOR))


def _ranges(traits: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """What the cases' traits lie between, and a little beyond."""
    names = [name for name in ("ml", *TRAITS) if traits and all(name in case for case in traits)]
    found = {}
    for name in names:
        low, high = min(case[name] for case in traits), max(case[name] for case in traits)
        found[name] = (low - _BEYOND * (high - low), high + _BEYOND * (high - low))
    return found


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
        model = QualityModel.of(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no quality model ({error}): remove it, or fit it again.") from error
    if not sha256_of(Path(weights)).startswith(model.sha256):
        warnings.warn(f"{path} was fitted for other weights than {weights} and is not used.", stacklevel=2)
        return None
    return model

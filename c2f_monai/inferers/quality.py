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

import torch

from ..utils import Bounds, atomic_write, dice_of_counts, sha256_of

__all__ = [
    "SIGNALS",
    "TRAITS",
    "UNUSUAL",
    "QualityModel",
    "check_quality_place",
    "entropy",
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
#: Flags for size and traits beyond the fitted cases, by the beginning of their names.
UNUSUAL = {"ml": "unusual size", "place": "unusual place", "fov": "unusual field of view"}
#: Missing DSC below which no interval of a volume is narrower.
FLOOR = 0.05


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
        center, reach = self.volume[0], self.volume[1] * max(1.0 - predicted, FLOOR)
        return ml * math.exp(center - reach), ml * math.exp(center + reach)

    def unusual(self, traits: Mapping[str, float]) -> list[str]:
        """Flags for what lies beyond the range of the fitted cases: size, place or field of view."""
        beyond = [
            UNUSUAL[name.split("_")[0]]
            for name, (low, high) in self.usual.items()
            if name in traits and not low <= traits[name] <= high
        ]
        return list(dict.fromkeys(beyond))

    def write(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        with atomic_write(Path(path)) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def quality_path(weights: str | Path) -> Path:
    """Where the quality model of a file of weights lies: beside it, ``model.quality.json`` of ``model.pt``."""
    return Path(weights).with_suffix(".quality.json")


def check_quality_place(path: str | Path) -> None:
    """Refuse a place where a quality model cannot be written, or would take the place of something else.

    Raises:
        ValueError: for a name that does not end in .json.
        FileExistsError: for a file that holds no quality model.
        FileNotFoundError: without the folder.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"a prediction of the DSC is written as JSON, such as model.quality.json, got {path}.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.absolute().parent} to write {path.name} to.")
    if not path.exists():
        return
    try:
        QualityModel.of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise FileExistsError(f"{path} exists and holds no quality model: give another place, or move it.") from error


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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How hard the phantom is: numbers that say what position and HU alone give away."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom
from tqdm import tqdm

from c2f_monai.data.datalist import load_datalist
from c2f_monai.utils import dice_coefficient

__all__ = [
    "Difficulty",
    "HistogramClassifier",
    "add_parser",
    "difficulty_lines",
    "hu_overlap",
    "look_elsewhere",
    "measure_difficulty",
    "near_target",
]

_HU_EDGES = np.arange(-200, 301, 10)
_NEAR_MM = 20.0
_PRIOR_GRID = (40, 40, 32)


@dataclass(frozen=True)
class Difficulty:
    """What `measure_difficulty` found.

    Attributes:
        cases: number of training and validation cases.
        overlap: mean over all cases of the overlap of the target's HU with its surroundings', 0 to 1.
        overlap_range: its lowest and highest value.
        fraction: lowest, mean and highest share of the volume that is target.
        tiny: share of the cases whose target is less than 0.1 % of the volume.
        elsewhere: mean number of voxels farther than 20 mm from the target with its middle 80 % of HU, by one of it.
        centroid_std: standard deviation of the target's centroid along R, A, S as a share of the side.
        centroid_range: distance between its 5th and 95th percentile, likewise.
        classifier_dsc: mean DSC on validation of the classifier from position and HU histograms.
        classifier_fit_dsc: the same on the training cases it was fitted to.
    """

    cases: tuple[int, int]
    overlap: float
    overlap_range: tuple[float, float]
    fraction: tuple[float, float, float]
    tiny: float
    elsewhere: float
    centroid_std: tuple[float, ...]
    centroid_range: tuple[float, ...]
    classifier_dsc: float
    classifier_fit_dsc: float


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("difficulty", help="measure HU overlap, spread of place, histogram classifier")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with a dataset.json")
    parser.add_argument(
        "--label_value", type=int, nargs="+", default=[1, 2], help="values of the target (default: 1 2)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    print("\n".join(difficulty_lines(measure_difficulty(args.dataset_dir, args.label_value))))


def _load(item: Mapping[str, str], values: Sequence[int]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    image = nib.as_closest_canonical(nib.load(item["image"]))
    label = nib.as_closest_canonical(nib.load(item["label"]))
    return np.asarray(image.dataobj), np.isin(np.asarray(label.dataobj), values), image.header.get_zooms()[:3]


def _hu_bins(image: np.ndarray) -> np.ndarray:
    return np.clip((image.astype(np.int32) - _HU_EDGES[0]) // 10, 0, len(_HU_EDGES) - 2)


def _histogram(bins: np.ndarray) -> np.ndarray:
    counts = np.bincount(bins.ravel(), minlength=len(_HU_EDGES) - 1).astype(float)
    return counts / max(counts.sum(), 1)


def _dsc(found: np.ndarray, target: np.ndarray) -> float:
    return dice_coefficient(torch.from_numpy(found), torch.from_numpy(target))


def hu_overlap(image: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> float:
    """Overlap coefficient of two histograms: the target's HU and those of everything else within 20 mm.

    Args:
        image: HU (H, W, D).
        target: bool (H, W, D).
        spacing: mm along the three axes.

    Returns:
        Sum over bins of 10 HU of the smaller of both shares; values outside -200..300 fall in the end bins.
    """
    bins = _hu_bins(image)
    return float(np.minimum(_histogram(bins[target]), _histogram(bins[near_target(target, spacing) & ~target])).sum())


def look_elsewhere(image: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> float:
    """Voxels farther than 20 mm from the target within its 10th to 90th percentile of HU, by voxel of the target."""
    low, high = np.percentile(image[target], (10, 90))
    return float(((image >= low) & (image <= high) & ~near_target(target, spacing)).sum() / target.sum())


def near_target(target: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """What lies within 20 mm of the target, itself included; distances are measured around it alone."""
    box = tuple(
        slice(max(0, int(index.min()) - reach), int(index.max()) + reach + 1)
        for index, reach in zip(np.nonzero(target), (int(_NEAR_MM / step) + 1 for step in spacing), strict=True)
    )
    near = np.zeros_like(target)
    near[box] = distance_transform_edt(~target[box], spacing) <= _NEAR_MM
    return near


class HistogramClassifier:
    """A voxel is target if (share of training cases with target at its place) x (HU likelihood ratio) is high.

    Places are fractions of the sides of the volume in RAS. The threshold is the one that is best on training.
    """

    def __init__(self) -> None:
        self.place = np.zeros(_PRIOR_GRID)
        self.counts = np.zeros((2, len(_HU_EDGES) - 1))
        self.threshold = 0.0

    def add(self, image: np.ndarray, target: np.ndarray) -> None:
        """Count one training case."""
        bins = _hu_bins(image)
        for row, mask in enumerate((~target, target)):
            self.counts[row] += np.bincount(bins[mask], minlength=self.counts.shape[1])
        factors = [n / m for n, m in zip(_PRIOR_GRID, target.shape, strict=True)]
        share = zoom(gaussian_filter(target.astype(np.float32), 1.5), factors, order=1, grid_mode=True, mode="nearest")
        self.place += gaussian_filter(share, 1.0)

    def score(self, image: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood ratio up to a constant, (H, W, D)."""
        shares = (self.counts + 1) / (self.counts + 1).sum(axis=1, keepdims=True)
        factors = [m / n for n, m in zip(_PRIOR_GRID, image.shape, strict=True)]
        place = zoom(self.place, factors, order=1, grid_mode=True, mode="nearest")
        return np.log(np.maximum(place, 1e-6)) + np.log(shares[1] / shares[0])[_hu_bins(image)]

    def choose_threshold(self, scores: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
        """Set the threshold of the best mean DSC on the given cases and return that DSC."""
        candidates = np.linspace(-8, 8, 65)
        means = [np.mean([_dsc(s > c, t) for s, t in zip(scores, targets, strict=True)]) for c in candidates]
        self.threshold = float(candidates[int(np.argmax(means))])
        return float(max(means))


def measure_difficulty(
    dataset_dir: str | os.PathLike[str], values: Sequence[int] = (1, 2), progress: bool = True
) -> Difficulty:
    """Measure the difficulty of a data set on its training and validation cases.

    Args:
        dataset_dir: folder with a ``dataset.json``.
        values: label values of the target.
        progress: whether to show a progress bar.
    """
    training = load_datalist(Path(dataset_dir), "training")
    validation = load_datalist(Path(dataset_dir), "validation")
    overlaps, elsewhere, fractions, centroids = [], [], [], []
    classifier = HistogramClassifier()
    for index, item in enumerate(tqdm([*training, *validation], desc="measuring", unit="case", disable=not progress)):
        image, target, spacing = _load(item, values)
        overlaps.append(hu_overlap(image, target, spacing))
        elsewhere.append(look_elsewhere(image, target, spacing))
        fractions.append(float(target.mean()))
        centroids.append([float(np.mean(i)) / n for i, n in zip(np.nonzero(target), target.shape, strict=True)])
        if index < len(training):
            classifier.add(image, target)
    # A share of the training cases is enough to choose one number, and fits in memory.
    fitted = [(classifier.score(image), target) for image, target, _ in (_load(item, values) for item in training[::4])]
    fit = classifier.choose_threshold([s for s, _ in fitted], [t for _, t in fitted])
    tested = (_load(item, values) for item in validation)
    dsc = [_dsc(classifier.score(image) > classifier.threshold, target) for image, target, _ in tested]
    low, high = np.percentile(centroids, (5, 95), axis=0)
    return Difficulty(
        cases=(len(training), len(validation)),
        overlap=float(np.mean(overlaps)),
        overlap_range=(min(overlaps), max(overlaps)),
        fraction=(min(fractions), float(np.mean(fractions)), max(fractions)),
        tiny=float(np.mean(np.asarray(fractions) < 0.001)),
        elsewhere=float(np.mean(elsewhere)),
        centroid_std=tuple(np.std(centroids, axis=0).tolist()),
        centroid_range=tuple((high - low).tolist()),
        classifier_dsc=float(np.mean(dsc)),
        classifier_fit_dsc=fit,
    )


def difficulty_lines(found: Difficulty) -> list[str]:
    """The measurements as lines of text, percentages of volume or side."""

    def percent(values: tuple[float, ...], separator: str = ", ") -> str:
        return separator.join(f"{100 * value:.2f}" for value in values) + " %"

    return [
        f"cases                                   training {found.cases[0]}, validation {found.cases[1]}",
        f"target's share of the volume            {percent(found.fraction, ' / ')} (lowest / mean / highest)",
        f"cases below 0.1 % of the volume         {100 * found.tiny:.0f} %",
        f"voxels of its HU elsewhere (> 20 mm)    {found.elsewhere:.1f} for one of the target",
        f"HU overlap with surroundings (20 mm)    {found.overlap:.3f} ({found.overlap_range[0]:.3f} to "
        f"{found.overlap_range[1]:.3f})",
        f"centroid, standard deviation R, A, S    {percent(found.centroid_std)} of the side",
        f"centroid, 5th to 95th percentile        {percent(found.centroid_range)} of the side",
        f"classifier from position and HU         DSC {found.classifier_dsc:.3f} on validation "
        f"({found.classifier_fit_dsc:.3f} on training)",
    ]

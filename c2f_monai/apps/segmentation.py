# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model says of an image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from ..data.writers import write_nifti
from ..inferers import CaseRecord, entropy
from ..utils import voxel_volume

__all__ = ["Segmentation", "case_line", "round_lines"]


@dataclass(frozen=True)
class Segmentation:
    """An image's mask and how it came about.

    Attributes:
        mask: (H, W, D) uint8 on the image's own grid, with its affine to RAS mm; 0 is background.
        record: the rounds, why they ended, and flags.
        probability: (K, H, W, D) float32 on the same grid, one for each class; None unless it was asked for.
        image: (1, H, W, D) the image as it was read, in its own type; None unless it was asked for.
    """

    mask: MetaTensor
    record: CaseRecord
    probability: MetaTensor | None = None
    image: MetaTensor | None = None

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) from voxels to RAS mm."""
        return np.asarray(self.mask.affine, dtype=np.float64)

    @property
    def ml(self) -> float:
        """Volume of what is not background, in milliliters."""
        return int((self.mask.as_tensor() > 0).sum()) * voxel_volume(self.affine) / 1000.0

    @property
    def uncertainty(self) -> MetaTensor:
        """(H, W, D) float32, entropy of the probability in bits: 0 where all is sure, 1 where it is one half.

        The probability is the mean of all that the views, the windows of their slabs and, with ``result`` "mean", both
        stages say of a voxel, so this is the entropy of these estimates; of several classes the largest.

        Raises:
            ValueError: where the probability was not asked for.
        """
        if self.probability is None:
            raise ValueError("the uncertainty is that of the probability: segment with probability=True.")
        values = MetaTensor(entropy(self.probability.as_tensor()).amax(dim=0))
        values.copy_meta_from(self.mask)
        return values

    def save(self, path: str | os.PathLike[str], description: str = "") -> None:
        """Write the mask as NIfTI, whole or not at all.

        Args:
            path: ends in .nii or .nii.gz.
            description: text for the file's header, at most 79 letters. Defaults to none.

        Raises:
            ValueError: for another suffix.
        """
        write_nifti(path, self.mask.numpy(), self.affine, description)


def case_line(name: str, result: Segmentation, seconds: float, place: Path) -> str:
    """A line for a reader about a case: volume, rounds, predicted DSC, time, where its mask is, flags."""
    record = result.record
    end = f"{record.fine_rounds} rounds, {record.stop_reason}" if record.stop_reason else "coarse only"
    flags = f" [{'; '.join(record.flags)}]" if record.flags else ""
    volume, trust = f"{result.ml:.1f} ml", ""
    if record.interval is not None:
        volume += f" ({record.interval[0]:.1f} to {record.interval[1]:.1f})"
    if record.predicted is not None:
        trust = f", predicted DSC {record.predicted[0]:.2f} (at least {record.predicted[1]:.2f})"
    return f"{name}: {volume}, {end}{trust}, {seconds:.1f} s, {place}{flags}"


def round_lines(result: Segmentation) -> list[str]:
    """A line for a reader about each round."""
    return [
        f"  round {entry.index}: {entry.voxels} voxels of the working grid"
        + ("" if entry.dsc is None else f", d {entry.dsc:.4f}")
        + f", {entry.seconds:.1f} s"
        for entry in result.record.rounds
    ]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""CT drawn from a label map: every tissue's HU, texture, blur and noise are random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from scipy import ndimage, special

from .clip import HU_RANGE
from .labels import check_whole_values
from .tissues import TISSUES, Range, Tissue, check_tissues

__all__ = ["RandSyntheticCT"]

#: Sigma in mm of the fine and the coarse structures of texture.
_FINE, _COARSE = (1.0, 2.5), (5.0, 12.0)
#: HU by which organs of one tissue differ, a standard deviation.
_OWN = 5.0
#: Thickness in mm of the wall of a hollow organ.
_WALL = (1.5, 4.0)
#: Steepness of the edge of pieces of another tissue, in standard deviations of the texture.
_EDGE = 6.0


@dataclass(frozen=True)
class _Paint:
    """What was drawn for a label: HU, spread of its texture, HU and share of what is mixed in, HU of its contents."""

    mean: float
    spread: float
    mixed: float = 0.0
    share: float = 0.0
    contents: tuple[float, ...] = ()


class RandSyntheticCT(Randomizable, Transform):
    """
    Draws a CT from a label map, with random contrast between all tissues.

    Each tissue gets a mean and a spread within its ranges, so that a network sees contrasts of any phase, also such as
    no patient has, and learns shapes and places. Texture has fine and coarse structures; pieces of another tissue lie
    in some (fat in the pancreas, vessels in fat); hollow organs have a wall and two contents. The blur of a scanner,
    wider across slices, makes partial volumes, and its noise is correlated in the plane.

    Based on: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without
    retraining", Medical Image Analysis 2023. There labels are the only structure; texture, pieces and contents are of
    this package.

    The same random state (``set_random_state``) and label map give the same image.

    Args:
        tissues: name of the tissue of each label value; that of 0, the background, is painted plainly.
        table: ranges by name of tissue. Defaults to :data:`TISSUES`.
        blur: sigma in mm within the plane.
        slice_blur: sigma in mm across slices, the last axis: slices of 2 to 6 mm.
        noise: standard deviation in HU.

    Raises:
        ValueError: for a tissue that the table lacks, or a range that does not increase.

    Examples:
        >>> labels = torch.zeros(1, 16, 16, 8, dtype=torch.uint8)
        >>> labels[:, 4:12, 4:12] = 3
        >>> draw = RandSyntheticCT({0: "air", 3: "liver"}, noise=(0.0, 0.0)).set_random_state(0)
        >>> image = draw(labels)
        >>> image.shape, image.dtype, bool(image[0, 0, 0, 0] < -900), bool(image[0, 8, 8, 4] > 0)
        (torch.Size([1, 16, 16, 8]), torch.float32, True, True)
    """

    def __init__(
        self,
        tissues: Mapping[int, str],
        table: Mapping[str, Tissue] = TISSUES,
        blur: Range = (0.4, 1.0),
        slice_blur: Range = (0.5, 2.0),
        noise: Range = (3.0, 30.0),
    ) -> None:
        check_tissues(tissues, table)
        for name, (low, high) in (("blur", blur), ("slice_blur", slice_blur), ("noise", noise)):
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be two increasing numbers from 0, got {[low, high]}.")
        self.tissues, self.table = dict(tissues), dict(table)
        self.blur, self.slice_blur, self.noise = blur, slice_blur, noise

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandSyntheticCT:
        """Begin the draws at a seed."""
        super().set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw what each tissue and each label is painted with, and the scanner."""
        means = {name: self.R.uniform(*tissue.mean) for name, tissue in self.table.items()}
        spreads = {name: self.R.uniform(*tissue.spread) for name, tissue in self.table.items()}
        shares = {name: self.R.uniform(*tissue.share) for name, tissue in self.table.items()}
        self._paints = {
            value: self._paint(self.tissues[value], means, spreads, shares) for value in sorted(self.tissues)
        }
        self._blur, self._slice_blur = self.R.uniform(*self.blur), self.R.uniform(*self.slice_blur)
        self._noise, self._wall = self.R.uniform(*self.noise), self.R.uniform(*_WALL)
        self._sizes = self.R.uniform(*_FINE), self.R.uniform(*_COARSE)
        self._seed = int(self.R.randint(2**31))

    def _paint(
        self, name: str, means: Mapping[str, float], spreads: Mapping[str, float], shares: Mapping[str, float]
    ) -> _Paint:
        tissue = self.table[name]
        mean = float(np.clip(means[name] + self.R.normal(0.0, _OWN), *tissue.mean))
        contents = self.R.choice(tissue.contents, 2) if tissue.contents else ()
        drawn = tuple(float(self.R.uniform(*self.table[str(content)].mean)) for content in contents)
        mixed = means[tissue.mixed] if tissue.mixed is not None else 0.0
        return _Paint(mean, spreads[name], mixed, shares[name], drawn)

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """
        Args:
            labels: (1, H, W, D) label values of any type; a MetaTensor's voxel size is known, else it is 1 mm.

        Returns:
            (1, H, W, D) float32 HU, with the labels' affine where they have one.

        Raises:
            ValueError: for another shape, values that are no whole numbers from 0, or a label value without a tissue.
        """
        if labels.ndim != 4 or labels.shape[0] != 1:
            raise ValueError(f"a label map must be (1, H, W, D), got the shape {tuple(labels.shape)}.")
        present = [int(value) for value in check_whole_values(labels)]
        if strange := [value for value in present if value not in self.tissues]:
            raise ValueError(f"label values {strange} have no tissue: name them in tissues.")
        values = np.asarray(labels[0])
        if values.dtype.kind not in "iu":  # MONAI's LoadImage gives float32, which is no index of a table
            values = values.astype(np.int32)
        spacing = labels.pixdim.tolist() if isinstance(labels, MetaTensor) else [1.0, 1.0, 1.0]
        self.randomize()
        image = self._scan(self._draw(values, present, spacing), spacing)
        found = torch.from_numpy(image)[None]
        return MetaTensor(found, affine=labels.affine) if isinstance(labels, MetaTensor) else found

    def _draw(self, values: np.ndarray, present: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
        """HU of the anatomy, before the scanner."""
        rng = np.random.default_rng(self._seed)
        fine, coarse = (_smooth_noise(rng, values.shape, [size / step for step in spacing]) for size in self._sizes)
        paints = {value: self._paints[value] for value in present}
        image = _by_label(values, {value: paint.mean for value, paint in paints.items()})
        image += _by_label(values, {value: paint.spread for value, paint in paints.items()}) * (fine + coarse) / 2**0.5
        boxes = ndimage.find_objects(values)
        for value, paint in paints.items():
            if not value or (paint.share <= 0 and not paint.contents):
                continue
            box = boxes[value - 1]
            own, part = values[box] == value, image[box]
            if paint.share > 0:
                level = float(special.ndtri(1.0 - paint.share))
                weight = own * special.expit(_EDGE * (fine[box] - level))
                part += weight * (paint.mixed - part)
            if paint.contents:
                inside = ndimage.distance_transform_edt(np.pad(own, 1), spacing)[1:-1, 1:-1, 1:-1] > self._wall
                first, second = paint.contents
                part[inside] = np.where(coarse[box][inside] > 0, first, second) + paint.spread * fine[box][inside]
        return image

    def _scan(self, image: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Blur, noise and the range of HU of a scanner: float32."""
        width = [size / step for size, step in zip((self._blur, self._blur, self._slice_blur), spacing, strict=True)]
        blurred = ndimage.gaussian_filter(image, width, truncate=3.0, output=np.float32)
        noise = _smooth_noise(np.random.default_rng(self._seed + 1), image.shape, [0.6, 0.6, 0.3])
        scanned: np.ndarray = np.clip(blurred + np.float32(self._noise) * noise, *HU_RANGE).astype(np.float32)
        return scanned


def _by_label(values: np.ndarray, numbers: Mapping[int, float]) -> np.ndarray:
    """A number for each voxel by its label, float32."""
    table = np.zeros(max(numbers) + 1, np.float32)
    for value, number in numbers.items():
        table[value] = number
    found: np.ndarray = table[values]
    return found


def _smooth_noise(rng: np.random.Generator, shape: Sequence[int], sigma: Sequence[float]) -> np.ndarray:
    """Noise of variance 1 that a Gaussian of a width in voxels correlates, float32."""
    # Wide structures are drawn on a coarser grid.
    step = max(1, int(min(sigma) / 2))
    grid = [-(-size // step) + 1 for size in shape]
    noise = rng.standard_normal(grid, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, [width / step for width in sigma], truncate=3.0)
    if step > 1:
        fine = torch.nn.functional.interpolate(torch.from_numpy(noise)[None, None], scale_factor=step, mode="trilinear")
        noise = fine[0, 0].numpy()[tuple(slice(size) for size in shape)]
    noise = noise[tuple(slice(size) for size in shape)]
    found: np.ndarray = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    return found

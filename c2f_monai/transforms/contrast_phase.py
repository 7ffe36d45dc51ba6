# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Soft tissue at the HU of another contrast phase, for training on scans of one phase."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from ..utils import DEFAULT_WINDOW, check_window

__all__ = ["RandContrastPhased", "change_phase", "soft_target"]

#: HU between which fat turns into soft tissue, and soft tissue with contrast medium into bone.
FAT_TO_TISSUE = (-80.0, 10.0)
TISSUE_TO_BONE = (180.0, 240.0)
#: HU of the pancreas in the portal venous phase: mean over patients of NIH Pancreas-CT, where it is 44 to 127.
REFERENCE_HU = 88.0


def change_phase(
    hu: torch.Tensor, level: float | torch.Tensor, contrast: float | torch.Tensor, reference: float = REFERENCE_HU
) -> torch.Tensor:
    """Move soft tissue to another level and contrast; fat, gas and bone stay, and what lies between moves in part.

    Without contrast medium vessels, kidneys and liver come close to each other at 30 to 60 HU: ``level`` 40 and
    ``contrast`` 0.3. In the late arterial phase the pancreas is at 100 to 130 HU.

    Args:
        hu: intensities in HU, any shape.
        level: HU that ``reference`` becomes; a number, or a tensor that broadcasts with ``hu``.
        contrast: factor on the distances from it, likewise.
        reference: HU around which contrast changes. Defaults to 88, the pancreas in the portal venous phase.

    Returns:
        HU of the same shape.
    """
    tissue = _ramp(hu, *FAT_TO_TISSUE) * (1.0 - _ramp(hu, *TISSUE_TO_BONE))
    return hu + tissue * (level + contrast * (hu - reference) - hu)


class RandContrastPhased(MapTransform, RandomizableTransform):
    """
    Draws a contrast phase for a slab that was scaled from a window to [0, 1].

    Based on: Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without
    retraining", Medical Image Analysis 2023, where every tissue's intensity is drawn; here the anatomy is that of a
    real slab, so its tissues move together, and only the target for itself.

    Args:
        keys: images (C, h, w) in [0, 1].
        prob: probability of another phase.
        level: HU of the pancreas, uniform between the two.
        contrast: factor on the contrast of soft tissue, log-uniform between the two, both above 0.
        label: key of the target (C', h, w); None leaves the target with the others.
        target_shift: largest shift of the target against the others, in HU.
        window: HU window the images were scaled from.
        out_slices: slices that the target shows of each class. Defaults to None: all its channels, of one class.

    Raises:
        ValueError: for a bad window, or ranges that are not increasing, or contrasts not above 0.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        level: tuple[float, float] = (-20.0, 140.0),
        contrast: tuple[float, float] = (0.3, 1.3),
        label: str | None = "label",
        target_shift: float = 20.0,
        window: tuple[float, float] = DEFAULT_WINDOW,
        out_slices: int | None = None,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        for name, (low, high) in (("level", level), ("contrast", contrast)):
            if not low <= high:
                raise ValueError(f"{name} must be two increasing numbers, got {[low, high]}.")
        if contrast[0] <= 0:
            raise ValueError(f"contrast must be above 0, got {list(contrast)}.")
        self.level, self.contrast, self.label, self.target_shift = level, contrast, label, target_shift
        self.window, self.out_slices = check_window(window), out_slices

    def randomize(self, data: Any = None) -> None:
        """Draw whether, and to which phase."""
        super().randomize(None)
        self._level = self.R.uniform(*self.level)
        low, high = self.contrast
        self._contrast = math.exp(self.R.uniform(math.log(low), math.log(high)))
        self._shift = self.R.uniform(-self.target_shift, self.target_shift)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Returns:
            ``data`` with the images in [0, 1], in another phase where one was drawn.
        """
        out = dict(data)
        self.randomize()
        if not self._do_transform:
            return out
        low, high = self.window
        for key in self.key_iterator(out):
            hu = change_phase(out[key] * (high - low) + low, self._level, self._contrast)
            if self.label is not None:
                hu = hu + self._shift * soft_target(out[self.label][None], self.out_slices)[0]
            out[key] = ((hu - low) / (high - low)).clamp(0.0, 1.0)
        return out


def _ramp(hu: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """0 below the start, 1 above the end."""
    return ((hu - start) / (end - start)).clamp(0.0, 1.0)


def soft_target(label: torch.Tensor, out_slices: int | None = None) -> torch.Tensor:
    """Share of the target, of any class, around each pixel: of the middle slice, without an edge that could be learned.

    Args:
        label: (B, K * out_slices, h, w) in {0, 1}.
        out_slices: slices of each class. Defaults to None: all channels, of one class.

    Returns:
        (B, 1, h, w) in [0, 1].
    """
    slices = label.shape[1] if out_slices is None else out_slices
    middle = label.unflatten(1, (-1, slices))[:, :, slices // 2].amax(dim=1, keepdim=True)
    return F.avg_pool2d(middle.float(), 5, stride=1, padding=2)

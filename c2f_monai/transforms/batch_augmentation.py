# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of whole batches of slabs on the device that trains."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..utils import DEFAULT_WINDOW, check_window, inside_boxes
from .contrast_phase import change_phase, soft_target

__all__ = ["SlabBatchAugmentation"]

#: Uniform numbers of a slab, in the order in which :func:`_Draws` spends them.
_DRAWS = 17


class SlabBatchAugmentation:
    """
    The augmentation of ``train.json``, for all slabs of a batch at once.

    MONAI's dictionary transforms augment slab after slab on the CPU, 20 to 30 ms for 512x512 pixels: more than a GPU
    needs for a step of training. This one draws the same changes from the same ranges and makes them where the batch
    is. What a slab gets depends on its own seed alone; the noise also on its place in the batch.

    Args:
        window: HU window that the slabs were scaled from.
        zoom: factor on the size, uniform between the two.
        rotation: largest angle, in radians.
        scale: largest change of each axis' size, as a share.
        shift: largest shift along each axis, in pixels.
        phase_prob: probability of another contrast phase, see :py:class:`c2f_monai.transforms.RandContrastPhased`.
        level: HU of the pancreas, uniform between the two.
        contrast: factor on the contrast of soft tissue, log-uniform between the two.
        target_shift: largest shift of the target against the others, in HU.
        low_resolution_prob: probability of a lower resolution.
        low_resolution: factor on the resolution, uniform between the two, at most 1.
        noise_prob: probability of Gaussian noise.
        noise: largest standard deviation; the one of a slab is uniform.
        gamma: exponent of the intensities, uniform between the two.
        gain: largest change of the intensities' scale, as a share.
        offset: largest shift of the intensities.
        out_slices: slices that the label shows of each class. Defaults to None: all its channels, of one class.

    Raises:
        ValueError: for a bad window, or a range that is not increasing.
    """

    def __init__(
        self,
        window: tuple[float, float] = DEFAULT_WINDOW,
        zoom: tuple[float, float] = (0.74, 1.35),
        rotation: float = 0.26,
        scale: float = 0.1,
        shift: float = 38.0,
        phase_prob: float = 0.5,
        level: tuple[float, float] = (-20.0, 140.0),
        contrast: tuple[float, float] = (0.3, 1.3),
        target_shift: float = 20.0,
        low_resolution_prob: float = 0.3,
        low_resolution: tuple[float, float] = (0.2, 1.0),
        noise_prob: float = 0.3,
        noise: float = 0.07,
        gamma: tuple[float, float] = (0.74, 1.35),
        gain: float = 0.2,
        offset: float = 0.1,
        out_slices: int | None = None,
    ) -> None:
        ranges = {"zoom": zoom, "level": level, "contrast": contrast, "low_resolution": low_resolution, "gamma": gamma}
        for name, (low, high) in ranges.items():
            if not low <= high or (name != "level" and low <= 0):
                raise ValueError(f"{name} must be two increasing numbers above 0, got {[low, high]}.")
        self.window, self.out_slices = check_window(window), out_slices
        self.zoom, self.rotation, self.scale, self.shift = zoom, rotation, scale, shift
        self.phase_prob, self.level, self.contrast, self.target_shift = phase_prob, level, contrast, target_shift
        self.low_resolution_prob, self.low_resolution = low_resolution_prob, low_resolution
        self.noise_prob, self.noise = noise_prob, noise
        self.gamma, self.gain, self.offset = gamma, gain, offset

    def __call__(
        self, image: torch.Tensor, label: torch.Tensor, size: torch.Tensor, seed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            image: (B, in_slices, h, w) in [0, 1], zero beyond a slab's own size.
            label: (B, K * out_slices, h, w) in {0, 1}.
            size: (B, 2) long on the CPU, each slab's own height and width.
            seed: (B,) long on the CPU, of each slab's draws.

        Returns:
            image and label of the same shapes, ranges and device.
        """
        draws = _Draws(seed, image.device)
        inside = inside_boxes(torch.cat([torch.zeros_like(size), size], dim=1), (image.shape[2], image.shape[3]))
        inside = inside.to(image.device)
        grid = self._grid(draws, size, image)
        image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        label = F.grid_sample(label, grid, mode="nearest", padding_mode="zeros", align_corners=False) * inside
        image = self._phase(draws, image, label)
        image = self._resolution(draws, image, size)
        image = self._intensity(draws, image, int(seed[0]))
        return image * inside, label

    def _grid(self, draws: _Draws, size: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """(B, h, w, 2) places where pixels come from: turned, scaled and moved about each slab's own middle."""
        angle = draws.between(-self.rotation, self.rotation)
        zoom = draws.between(*self.zoom)
        scales = [(1.0 + draws.between(-self.scale, self.scale)) / zoom for _ in range(2)]
        shifts = [draws.between(-self.shift, self.shift) for _ in range(2)]
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos * scales[0], -sin * scales[1]], [sin * scales[0], cos * scales[1]]])  # x, then y
        middle = size.flip(1).numpy().T / 2.0  # x, y in pixels
        moved = middle + np.array(shifts) - np.einsum("ijb,jb->ib", matrix, middle)
        # From pixels, counted from the canvas' corner, to the [-1, 1] of grid_sample.
        half = np.array([image.shape[3], image.shape[2]]) / 2.0
        theta = np.empty((len(size), 2, 3), dtype=np.float32)
        theta[:, :, :2] = np.transpose(matrix, (2, 0, 1)) * half[None, None, :] / half[None, :, None]
        theta[:, :, 2] = (moved.T + np.einsum("ijb,j->bi", matrix, half)) / half - 1.0
        return F.affine_grid(torch.from_numpy(theta).to(image.device), list(image.shape), align_corners=False)

    def _phase(self, draws: _Draws, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        chosen = draws.chance(self.phase_prob)
        low, high = self.window
        level = draws.tensor(draws.between(*self.level))
        contrast = draws.tensor(np.exp(draws.between(math.log(self.contrast[0]), math.log(self.contrast[1]))))
        shift = draws.tensor(draws.between(-self.target_shift, self.target_shift))
        hu = change_phase(image * (high - low) + low, level, contrast) + shift * soft_target(label, self.out_slices)
        return torch.where(draws.tensor(chosen) > 0, ((hu - low) / (high - low)).clamp(0.0, 1.0), image)

    def _resolution(self, draws: _Draws, image: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        chosen, factors = draws.chance(self.low_resolution_prob), draws.between(*self.low_resolution)
        slabs = list(image.unbind())
        for i in np.flatnonzero(chosen).tolist():
            height, width = size[i].tolist()
            small = [max(1, round(side * factors[i])) for side in (height, width)]
            low = F.interpolate(slabs[i][None, :, :height, :width], size=small, mode="area")
            own = F.interpolate(low, size=(height, width), mode="bilinear")[0]
            slabs[i] = F.pad(own, (0, image.shape[3] - width, 0, image.shape[2] - height))
        return torch.stack(slabs)

    def _intensity(self, draws: _Draws, image: torch.Tensor, seed: int) -> torch.Tensor:
        generator = torch.Generator(image.device).manual_seed(seed)
        spread = draws.tensor(draws.chance(self.noise_prob) * draws.between(0.0, self.noise))
        noise = torch.randn(image.shape, generator=generator, device=image.device)
        image = (image + spread * noise).clamp(0.0, 1.0) ** draws.tensor(draws.between(*self.gamma))
        image = image * draws.tensor(1.0 + draws.between(-self.gain, self.gain))
        return (image + draws.tensor(draws.between(-self.offset, self.offset))).clamp(0.0, 1.0)


class _Draws:
    """Uniform numbers of each slab of a batch, spent one after the other."""

    def __init__(self, seed: torch.Tensor, device: torch.device) -> None:
        self._numbers = iter(np.stack([np.random.default_rng(one).random(_DRAWS) for one in seed.tolist()], axis=1))
        self._device = device

    def between(self, low: float, high: float) -> np.ndarray:
        """(B,) uniform between the two."""
        numbers: np.ndarray = low + (high - low) * next(self._numbers)
        return numbers

    def chance(self, probability: float) -> np.ndarray:
        """(B,) bool."""
        drawn: np.ndarray = next(self._numbers) < probability
        return drawn

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """(B, 1, 1, 1) float32 on the device."""
        return torch.from_numpy(values.astype(np.float32)).to(self._device)[:, None, None, None]

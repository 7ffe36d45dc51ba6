# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Smooth random functions of a position in mm, and the named random streams they are drawn from.

Every field is a sum of products of cosines, so that it can be evaluated on any grid or at single points: a case drawn
on a coarse grid for a test shows the same anatomy as the full one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["SmoothField", "random_stream", "rotation_matrix"]


def random_stream(version: str, seed: int, name: str) -> np.random.Generator:
    """Return the generator of one named part of a case.

    Parts draw from their own streams, so that a draw added to one of them leaves the others as they were.

    Args:
        version: version of the phantom.
        seed: seed of the case, >= 0.
        name: name of the part, e.g. ``"liver"``.
    """
    words = [zlib.crc32(version.encode()), seed, zlib.crc32(name.encode())]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def rotation_matrix(degrees: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotation about x, then y, then z by the three angles in degrees, as a (3, 3) matrix."""
    cx, cy, cz = np.cos(np.deg2rad(degrees))
    sx, sy, sz = np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    rotation: np.ndarray = about_z @ about_y @ about_x
    return rotation


class SmoothField:
    """A zero-mean, unit-variance random function of position with structures of a given size.

    Args:
        rng: source of the random waves.
        wavelengths: shortest and longest wavelength in mm.
        terms: number of waves; more look less regular.
    """

    def __init__(self, rng: np.random.Generator, wavelengths: tuple[float, float], terms: int = 48) -> None:
        direction = rng.standard_normal((terms, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = rng.uniform(*wavelengths, size=(terms, 1))
        self.waves = 2 * np.pi * direction / length
        self.phases = rng.uniform(0, 2 * np.pi, size=(terms, 3))
        self.gain = float(np.sqrt(8 / terms))  # a product of three cosines has variance 1/8

    def on_grid(self, axes: Sequence[np.ndarray]) -> np.ndarray:
        """Values on the grid spanned by three 1D axes in mm, float32 (H, W, D)."""
        x, y, z = (
            np.cos(np.outer(axis, self.waves[:, i]) + self.phases[:, i]).astype(np.float32)
            for i, axis in enumerate(axes)
        )
        plane = (x[:, None, :] * y[None, :, :]).reshape(-1, x.shape[1])
        return (plane @ (self.gain * z.T)).reshape(len(x), len(y), len(z)).astype(np.float32, copy=False)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values at the points (N, 3) in mm, (N,)."""
        values: np.ndarray = self.gain * np.cos(points[:, None, :] * self.waves + self.phases).prod(axis=2).sum(axis=1)
        return values

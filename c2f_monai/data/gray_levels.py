# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""8-bit pictures of CT slices, HU clipped to [0, 255], back to HU as far as the picture tells them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["AIR_HU", "FAT_HU", "gray_to_hu"]

AIR_HU = -1000
FAT_HU = -100
#: Gray up to which a pixel is what was cut off: JPEG leaves a few levels around 0.
DARK = 6
#: Pixels of the disk that does not fit through the gaps of the skin.
SKIN_GAP = 20
#: Smallest pocket that is looked at, in pixels, and the mean gray of its rim from which it is gas: the way from
#: -1000 HU to tissue crosses [0, 100] within a part of a pixel, that from fat within one or two.
POCKET_PIXELS = 30
GAS_RIM = 100.0
#: HU of dark pixels beside tissue: fat plus RISE * b / (b + HALF), b the blurred gray. Fitted to CT in HU.
RISE, HALF, CEILING = 70.0, 6.0, 60.0


def gray_to_hu(gray: np.ndarray) -> np.ndarray:
    """HU of a slice whose gray is HU clipped to [0, 255].

    Fat, gas and the air around the body are all 0 then. The air is what a disk of 41 pixels reaches from the border;
    a dark pocket in the body whose rim is sharp is gas; the rest is fat, -100 HU and more near tissue, as pixels that
    hold both are. On the [-100, 240] HU that the networks see, air, gas and plain fat are the same black: only the
    pixels near tissue make a difference there, and subcutaneous fat that is taken for air makes none.

    Measured on four CTs in HU that were clipped so, as JPEG of quality 90: in the body, at half the resolution, the
    window's values are off by 0.055 to 0.08 (root mean square; 0.21 to 0.24 where gray is taken as HU). Of the fat,
    0.5 to 24 % is taken for air, nearly all of it under the skin, and at most 1 % for gas; of the gas, 3 to 50 % is
    found.

    Args:
        gray: (H, W) uint8.

    Returns:
        (H, W) int16. Bone keeps the 255 that it was clipped to.

    Raises:
        ValueError: for another type or number of axes.
    """
    if gray.dtype != np.uint8 or gray.ndim != 2:
        raise ValueError(f"a slice must be (H, W) uint8, got {gray.dtype} of shape {gray.shape}.")
    dark = gray <= DARK
    outside = _outside(dark)
    near = ndimage.gaussian_filter(np.minimum(gray.astype(np.float32), CEILING), 1.0)
    hu = np.where(dark, FAT_HU + RISE * near / (near + HALF), gray)
    # The pixels at the edge of the air hold tissue, too.
    hu[ndimage.binary_erosion(outside | _gas(gray, dark & ~outside), border_value=1)] = AIR_HU
    return np.rint(hu).astype(np.int16)


def _outside(dark: np.ndarray) -> np.ndarray:
    """Dark pixels that a disk reaches from beyond the border without touching a bright one."""
    width = SKIN_GAP + 1
    padded = np.pad(dark, width, constant_values=True)
    room = ndimage.distance_transform_edt(padded) > SKIN_GAP if not padded.all() else padded
    places, _ = ndimage.label(room)
    reached = ndimage.distance_transform_edt(places != places[0, 0]) <= SKIN_GAP
    outside: np.ndarray = reached[width:-width, width:-width] & dark
    return outside


def _gas(gray: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Pockets of dark pixels whose rim is bright at once."""
    pockets, count = ndimage.label(inside)
    # A bright pixel beside a pocket counts for it; between two pockets for the later one.
    rim = np.where(inside, 0, ndimage.grey_dilation(pockets, size=(3, 3)))
    pixels = np.bincount(pockets.ravel(), minlength=count + 1)
    rims = np.bincount(rim.ravel(), minlength=count + 1)
    sums = np.bincount(rim.ravel(), weights=gray.ravel(), minlength=count + 1)
    gas = (pixels >= POCKET_PIXELS) & (sums >= GAS_RIM * rims) & (rims > 0)
    gas[0] = False
    inside_pockets: np.ndarray = gas[pockets]
    return inside_pockets

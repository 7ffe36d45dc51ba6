# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a label map lies on its image's grid, before anything is read but headers."""

from __future__ import annotations

import os

import numpy as np

from ..utils import check_one_grid
from .readers import image_header

__all__ = ["check_label_header"]


def check_label_header(
    label: str | os.PathLike[str], image: str | os.PathLike[str], shape: tuple[int, ...], affine: np.ndarray
) -> None:
    """Refuse a label map that does not lie on its image's grid, by the headers.

    Args:
        label: file of the label map.
        image: file of the image.
        shape: the image's, see :func:`image_header`.
        affine: the image's.

    Raises:
        FileNotFoundError: as :func:`image_header`.
        ValueError: as :func:`image_header`, and where shape or place differ.
    """
    label_shape, label_affine = image_header(label)
    if label_shape != shape:
        raise ValueError(f"{label} has the shape {label_shape}, but its image {image} {shape}.")
    check_one_grid(f"{label} and its image {image}", affine, label_affine, shape)

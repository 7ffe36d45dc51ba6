# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine segmentation of small targets in CT, on MONAI.

A number in brackets, such as [3.4], is a section of the chapter that the package follows: Zhou et al., "2D-Based
Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans", Springer 2019.

`segment` and `Segmenter` are the bundle's inference as functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apps.segmentation import Segmentation
    from .apps.segmenter import Segmenter, segment

__all__ = ["Segmentation", "Segmenter", "__version__", "segment"]

__version__ = "0.7.0"


def __getattr__(name: str) -> Any:
    """What is imported on first use: the package alone needs neither torch nor MONAI."""
    if name in ("Segmentation", "Segmenter", "segment"):
        from .apps import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")

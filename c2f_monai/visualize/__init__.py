# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of results."""

from __future__ import annotations

from .answer_slices import AnswerSlices, read_answer_slice, regions_figure
from .case_pictures import CasePictures, case_pictures
from .charts import box_figure, convergence_figure, scatter_figure
from .overlay import COLORS, OverlaySaver, overlay_figure, paint, radiological, save_overlay, target_region
from .rounds import rounds_figure
from .saliency import saliency_figure, saliency_maps
from .saliency_table import SaliencyTable
from .savers import OverlayImage, RoundsSaver, SaliencySaver

__all__ = [
    "COLORS",
    "AnswerSlices",
    "CasePictures",
    "OverlayImage",
    "OverlaySaver",
    "RoundsSaver",
    "SaliencySaver",
    "SaliencyTable",
    "box_figure",
    "case_pictures",
    "convergence_figure",
    "overlay_figure",
    "paint",
    "radiological",
    "read_answer_slice",
    "regions_figure",
    "rounds_figure",
    "save_overlay",
    "saliency_figure",
    "saliency_maps",
    "scatter_figure",
    "target_region",
]

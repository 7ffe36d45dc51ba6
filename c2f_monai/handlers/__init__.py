# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers of training and evaluation for MONAI's engines."""

from __future__ import annotations

from .case_report import CaseReport, case_row, describe_row, summarize_rows
from .checkpoints import AverageBuffers, BestWeights, InitialWeights, TrainingCheckpoint, save_weights
from .draws import DrawsHandler, WaitingTime, prepare_slab_batch
from .load_weights import LoadWeights, load_weights
from .parameter_groups import parameter_groups
from .stage_schedule import StageSchedule, change_stages, copy_to_fine, learning_rate_factor, stage_ends
from .target_reports import TargetReports
from .training_log import TrainingLog, ValidationLog, overlay_image
from .write_in_background import WriteInBackground

__all__ = [
    "AverageBuffers",
    "BestWeights",
    "CaseReport",
    "DrawsHandler",
    "InitialWeights",
    "LoadWeights",
    "StageSchedule",
    "TargetReports",
    "TrainingCheckpoint",
    "TrainingLog",
    "ValidationLog",
    "WaitingTime",
    "WriteInBackground",
    "case_row",
    "change_stages",
    "copy_to_fine",
    "describe_row",
    "learning_rate_factor",
    "load_weights",
    "overlay_image",
    "parameter_groups",
    "prepare_slab_batch",
    "save_weights",
    "stage_ends",
    "summarize_rows",
]

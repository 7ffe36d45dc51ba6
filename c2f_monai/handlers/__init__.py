# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers of training and evaluation for MONAI's engines."""

from __future__ import annotations

from .average_buffers import AverageBuffers
from .case_report import CaseReport
from .case_rows import case_row, describe_row, summarize_rows
from .checkpoints import TrainingCheckpoint, best_weights
from .draws import DrawsHandler, WaitingTime, prepare_slab_batch
from .each_case import EachCase, run_share
from .fine_copies import copy_to_fine
from .gradients import GradientClipping
from .initial_weights import InitialWeights
from .learning_rates import parameter_groups
from .load_weights import StrictCheckpointLoader, load_weights
from .onnx_loader import OnnxCheckpointLoader
from .save_weights import save_settings, save_weights
from .stage_schedule import StageSchedule, change_stages, learning_rate_factor, stage_ends
from .target_reports import TargetReports
from .time_limit import TimeLimit
from .training_log import EventFile, GridDice, RoundLosses
from .validation import EpochValidationHandler
from .weight_average import ExponentialAverage
from .write_in_background import WriteInBackground

__all__ = [
    "AverageBuffers",
    "CaseReport",
    "DrawsHandler",
    "EachCase",
    "EpochValidationHandler",
    "EventFile",
    "ExponentialAverage",
    "GradientClipping",
    "GridDice",
    "InitialWeights",
    "OnnxCheckpointLoader",
    "RoundLosses",
    "StageSchedule",
    "StrictCheckpointLoader",
    "TargetReports",
    "TimeLimit",
    "TrainingCheckpoint",
    "WaitingTime",
    "WriteInBackground",
    "best_weights",
    "case_row",
    "change_stages",
    "copy_to_fine",
    "describe_row",
    "learning_rate_factor",
    "load_weights",
    "parameter_groups",
    "prepare_slab_batch",
    "run_share",
    "save_settings",
    "save_weights",
    "stage_ends",
    "summarize_rows",
]

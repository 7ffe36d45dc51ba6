# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One line for a run of several processes, where each would write its own."""

from __future__ import annotations

import logging

import torch

__all__ = ["CASES_LOGGER", "log_on_first_process"]

#: What is logged of a case, which one process alone has.
CASES_LOGGER = "c2f_monai.cases"


def log_on_first_process() -> None:
    """Let all processes but the first log warnings, errors and their own cases alone.

    It is called when the processes' group is there, and what the log is written to.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        return
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_own)


def _is_own(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name == CASES_LOGGER

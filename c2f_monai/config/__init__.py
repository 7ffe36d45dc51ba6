# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The configurations' ids: what each takes and means, and the check of a configuration before it is run."""

from __future__ import annotations

from .check import ConfigError, check_config, nearest, override_config
from .run import check_run
from .schema import GROUPS, IDS, ConfigId
from .settings import changeable_settings, inference_settings

__all__ = [
    "GROUPS",
    "IDS",
    "ConfigError",
    "ConfigId",
    "check_config",
    "check_run",
    "changeable_settings",
    "inference_settings",
    "nearest",
    "override_config",
]

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Seeded generator of abdomen-like CT with label maps: the package's embedded default data set."""

from __future__ import annotations

from .case import PhantomCase, generate_case
from .settings import GROUPS
from .versions import PHANTOM_VERSION, VERSIONS
from .writer import COHORTS, DEFAULT_NAME, SPLITS, Cohort, PhantomEntry, select_entries, write_phantom

__all__ = [
    "COHORTS",
    "DEFAULT_NAME",
    "GROUPS",
    "PHANTOM_VERSION",
    "SPLITS",
    "VERSIONS",
    "Cohort",
    "PhantomCase",
    "PhantomEntry",
    "generate_case",
    "select_entries",
    "write_phantom",
]

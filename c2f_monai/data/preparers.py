# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The data sets that ``prepare`` knows: one more is a module with a ``Preparer``, and a line here."""

from __future__ import annotations

from .decathlon import DecathlonPreparer
from .description import Preparer
from .nih import NihPreparer
from .plain_folders import FoldersPreparer
from .slices import SlicesPreparer
from .synthetic import SyntheticPreparer

__all__ = ["PREPARERS"]

#: Preparers by the name of their command.
PREPARERS: dict[str, Preparer] = {
    "nih": NihPreparer(),
    "msd": DecathlonPreparer(),
    "folders": FoldersPreparer(),
    "slices": SlicesPreparer(),
    "synthetic": SyntheticPreparer(),
}

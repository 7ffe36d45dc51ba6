# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs pytest on the files that are given; a test that skips is a failure, as what it needs has been installed."""

from __future__ import annotations

import sys

import pytest
import torch


class NoSkip:
    """Counts the tests that skip."""

    skipped = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of one phase of a test."""
        self.skipped += report.skipped

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Of a whole file."""
        self.skipped += report.skipped


# torchvision's compiled part is for CUDA and is passed over where that is missing, but its Python part, which MONAI
# Label imports for grids of pictures, asks for these two operators by name.
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")

seen = NoSkip()
result = pytest.main(["-q", "--disable-warnings", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[seen])
sys.exit(result or (f"{seen.skipped} skipped" if seen.skipped else 0))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples in every run.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

PROJECT_ROOT = Path(__file__).resolve().parents[1]
#: Files of a few long tests, the longest first: begun last, one worker would be alone with them at the end.
LONG = ("test_export_command", "test_parity", "test_train_bundle", "test_tour", "test_snakefile", "test_nih_section")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, all others as they were."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Root of the source tree."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of development data beside the project; tests that need it skip when it is absent."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Small tensors: more threads only add overhead, and results must not depend on their number."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_closed_streams() -> None:
    """A run's log configuration keeps the streams of the test that made it, where later tests would log to."""
    loggers = [logging.root, *(one for one in logging.root.manager.loggerDict.values() if hasattr(one, "handlers"))]
    for logger in loggers:
        for handler in list(logger.handlers):
            if getattr(getattr(handler, "stream", None), "closed", False):
                logger.removeHandler(handler)

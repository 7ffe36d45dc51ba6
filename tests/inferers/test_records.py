# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bar of a case's rounds."""

from __future__ import annotations

import io
import sys

import pytest
import torch

from c2f_monai.inferers.patches import Patch, whole_bounds
from c2f_monai.inferers.records import CaseRecord, RoundRecorder


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"), [(Terminal, True, True), (io.StringIO, True, False), (Terminal, False, False)]
)
def test_the_bar_of_rounds_is_for_a_terminal(
    stream: type[io.StringIO], progress: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", written := stream())
    whole = whole_bounds((2, 2, 2))
    note = RoundRecorder(record := CaseRecord("ct"), 0.5, whole, False, 1, progress)
    note(None, Patch(torch.ones(1, 2, 2, 2, dtype=torch.bool), whole))
    note.close()
    assert ("ct: " in written.getvalue()) == bool(written.getvalue()) == shown
    assert record.rounds[0].ml == 4.0

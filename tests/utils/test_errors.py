# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The cause of a chain of errors."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from c2f_monai.utils import root_cause, tell_errors_in_one_line


def test_a_chain_ends_at_what_failed_first() -> None:
    first = FileNotFoundError("no image at my_ct.nii.gz: check --input.")
    with pytest.raises(RuntimeError) as raised:
        try:
            raise RuntimeError("Failed to instantiate component") from first
        except RuntimeError as error:
            raise RuntimeError("Failed to evaluate 'run'") from error
    assert root_cause(raised.value) is first
    assert root_cause(first) is first


def test_of_a_chain_the_packages_own_words_are_told() -> None:
    """Not those of the library below, such as torch's advice to load what could run code."""
    package: dict[str, Any] = {"__name__": "c2f_monai.somewhere"}
    exec("def read(below):\n    raise ValueError('model.pt cannot be read as weights') from below", package)
    with pytest.raises(RuntimeError) as raised:
        try:
            package["read"](OSError("advice of a library"))
        except ValueError as error:
            raise RuntimeError("Failed to instantiate") from error
    assert str(root_cause(raised.value)) == "model.pt cannot be read as weights"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\n  line"), "error: one line\n"),
        (FileNotFoundError(), "error: FileNotFoundError\n"),
        (TypeError("a mistake of the program"), ""),
    ],
)
def test_what_ends_the_process_is_told_in_one_line(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: shown.append(value))
    tell_errors_in_one_line()
    outer = RuntimeError("Failed to instantiate")
    outer.__cause__ = error
    sys.excepthook(RuntimeError, outer, None)
    assert capsys.readouterr().err == told
    assert shown == ([] if told else [outer])

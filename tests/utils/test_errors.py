# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The last line of a failed command."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAIL = """
from c2f_monai.utils import name_root_cause
name_root_cause()
name_root_cause()
try:
    try:
        raise FileNotFoundError("no image at my_ct.nii.gz: check --input.")
    except FileNotFoundError as error:
        raise RuntimeError("Failed to instantiate component") from error
except RuntimeError as error:
    raise RuntimeError("Failed to evaluate 'run'") from error
"""


@pytest.mark.parametrize(
    ("code", "last", "times"),
    [
        (FAIL, "error: no image at my_ct.nii.gz: check --input.", 1),
        (FAIL.split("try:")[0] + "raise ValueError('alone')", "ValueError: alone", 1),
    ],
)
def test_the_last_line_names_the_root_cause_once(code: str, last: str, times: int) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[-1] == last and lines.count(last) == times

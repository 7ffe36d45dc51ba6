# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource, torch
from c2f_monai.utils import keep_freed_memory
def use():
    for _ in range(5):
        x = torch.ones(2**24)
        del x
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
use()
mapped = faults()
assert keep_freed_memory()
use()
print(mapped, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_tensors_are_taken_from_freed_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    mapped, kept = map(int, done.stdout.split())
    # 64 MB each: above the largest threshold that glibc moves to by itself. Pages of 2 MB at most.
    assert mapped >= 5 * 32
    assert kept < mapped / 2

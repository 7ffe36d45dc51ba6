# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Numbers of mallopt's parameters in glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory(threshold: int = 2**30, pad: int = 2**26) -> bool:
    """Let glibc keep freed tensors for the next ones instead of handing their pages back to the system.

    A training step on the CPU frees and takes tensors of many megabytes hundreds of times; by default each of them is
    mapped, cleared page by page by the kernel, and unmapped again. The price is that the process keeps its peak. It is
    the option ``keep_freed_memory`` of the training's configuration; the environment variables
    ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_TOP_PAD_`` do the same from a process's start.

    Args:
        threshold: bytes of a block from which it is mapped on its own, and of free memory that is kept.
        pad: bytes that are taken beyond what is asked for.

    Returns:
        whether the C library took the settings; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, threshold), (M_TRIM_THRESHOLD, threshold), (M_TOP_PAD, pad))
    return all([mallopt(key, value) == 1 for key, value in settings])

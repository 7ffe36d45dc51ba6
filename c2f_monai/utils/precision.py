# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Precision of the networks' convolutions."""

from __future__ import annotations

import torch

__all__ = ["check_amp_dtype"]

AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def check_amp_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Autocast dtype from its name.

    Args:
        dtype: "bfloat16", "float16", one of torch's dtypes of these names, or None for float32 without autocast.

    Raises:
        ValueError: for anything else.
    """
    if dtype is None or dtype in AMP_DTYPES.values():
        return dtype  # type: ignore[return-value]
    if dtype not in AMP_DTYPES:
        raise ValueError(f"amp_dtype must be one of {sorted(AMP_DTYPES)} or None, got {dtype!r}.")
    return AMP_DTYPES[dtype]

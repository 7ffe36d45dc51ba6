# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Precision of the networks' convolutions: by name, or what a device is fastest in."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import torch

__all__ = ["AMP_DTYPES", "AUTO", "amp_dtype_on", "check_amp_dtype", "has_bfloat16"]

logger = logging.getLogger(__name__)

AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
#: The 16 bits that a device multiplies natively, float32 where it has none.
AUTO = "auto"


def check_amp_dtype(dtype: str | torch.dtype | None) -> str | torch.dtype | None:
    """Autocast dtype from its name.

    Args:
        dtype: "bfloat16", "float16", one of torch's dtypes of these names, "auto", which stays until the device is
            known (:func:`amp_dtype_on`), or None for float32 without autocast.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> check_amp_dtype("bfloat16")
        torch.bfloat16
    """
    if dtype is None or dtype == AUTO or dtype in AMP_DTYPES.values():
        return dtype
    if dtype not in AMP_DTYPES:
        raise ValueError(f"amp_dtype must be one of {sorted([*AMP_DTYPES, AUTO])} or None, got {dtype!r}.")
    return AMP_DTYPES[str(dtype)]


def amp_dtype_on(
    dtype: str | torch.dtype | None, device: torch.device | str, training: bool = False
) -> torch.dtype | None:
    """Autocast dtype on a device; the log says once what "auto" is there, and warns of one that is slow there.

    "auto" is bfloat16 where processor or card multiply it natively; on a card that does not, float16 in testing: in
    training its gradients would have to be scaled. It is float32 elsewhere.

    Args:
        dtype: of :func:`check_amp_dtype`.
        device: where the network is.
        training: whether gradients are computed.

    Returns:
        torch's dtype, None for float32.
    """
    if isinstance(dtype, str):
        return _native(str(device), training)
    if dtype == torch.bfloat16:
        _warn_of_emulation(str(device))
    return dtype


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device computes in bfloat16; a processor without its instructions is slower in it than in float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Not every release of torch tells; names are such as avx512_bf16 and amx_bf16.
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return kind == "cpu" and any(there for name, there in known.items() if "bf16" in name)


@lru_cache
def _native(device: str, training: bool) -> torch.dtype | None:
    found = None
    if has_bfloat16(device):
        found = torch.bfloat16
    elif torch.device(device).type == "cuda" and not training:
        found = torch.float16
    name = "float32" if found is None else str(found).removeprefix("torch.")
    logger.info(f"precision auto: {name} on {device}")
    return found


@lru_cache
def _warn_of_emulation(device: str) -> None:
    if torch.device(device).type == "cpu" and not has_bfloat16(device):
        logger.warning(
            "this processor emulates bfloat16, several times slower than float32: set the precision to auto or None "
            "(train_amp_dtype in training, amp_dtype in testing)."
        )

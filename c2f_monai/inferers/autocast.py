# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Automatic mixed precision around the network calls of any MONAI inferer, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from ..utils import amp_dtype_on, check_amp_dtype

__all__ = ["AutocastInferer"]


class AutocastInferer(Inferer):
    """Run another inferer with its network under autocast, and give it float32 outputs.

    MONAI's engines know autocast for CUDA only; this serves MONAI's own networks, such as the 3D UNet that the
    coarse-to-fine networks are compared with, on the CPU as well. What the inferer does with the outputs, such as
    weighting windows, stays in float32.

    Args:
        inferer: the inferer to run, such as ``SimpleInferer`` or ``SlidingWindowInferer``.
        amp_dtype: "bfloat16", "float16" or "auto"; None leaves the network alone. Defaults to "bfloat16".

    Raises:
        TypeError: When ``inferer`` is not a MONAI inferer.
        ValueError: For another ``amp_dtype``.
    """

    def __init__(self, inferer: Inferer, amp_dtype: str | torch.dtype | None = "bfloat16") -> None:
        super().__init__()
        if not isinstance(inferer, Inferer):
            raise TypeError(f"inferer must be a monai.inferers.Inferer, got {type(inferer).__name__}.")
        self.inferer = inferer
        self.amp_dtype = check_amp_dtype(amp_dtype)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Infer ``inputs``, (B, C, spatial...), and return what the wrapped inferer makes of the network's outputs."""

        def run(x: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
            dtype = amp_dtype_on(self.amp_dtype, x.device, training=torch.is_grad_enabled())
            with torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None):
                return network(x, *more, **named).float()

        return self.inferer(inputs, run, *args, **kwargs)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Devices by the names that users give."""

from __future__ import annotations

import torch

__all__ = ["torch_device"]


def torch_device(name: str | torch.device) -> torch.device:
    """Torch's device of "cpu", "gpu", "gpu:1", "mps" or a name of its own.

    Raises:
        ValueError: for another name, or a device that is not there.

    Examples:
        >>> torch_device("cpu")
        device(type='cpu')
    """
    text = str(name)
    try:
        device = torch.device(text.replace("gpu", "cuda"))
    except RuntimeError as error:
        raise ValueError(f"device must be cpu, gpu, gpu:1 (and so on) or mps, got {text!r}.") from error
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= count:
        raise ValueError(f"there is no device {text} here: {count} of this kind, give cpu, or leave it out.")
    return device

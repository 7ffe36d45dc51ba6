# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Cases shared out over the processes of a run."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from monai.data import DistributedSampler

__all__ = ["CaseSampler"]


class CaseSampler(DistributedSampler):
    """
    Every case once, in order: process r of n takes the cases r, r + n, r + 2n, ...

    MONAI's metrics and the tables of cases ask all processes for their part, so that each needs a case.

    Args:
        dataset: the cases.
        name: of the cases, for the error.

    Raises:
        ValueError: for fewer cases than processes.
    """

    def __init__(self, dataset: Sized, name: str) -> None:
        count, processes = len(dataset), torch.distributed.get_world_size()
        if count < processes:
            raise ValueError(
                f"{name} has {count} cases for {processes} processes: start at most {count}, or give it more cases."
            )
        given: Any = dataset
        super().__init__(given, even_divisible=False, shuffle=False)

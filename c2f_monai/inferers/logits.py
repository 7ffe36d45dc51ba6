# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Probabilities as the logits that the post-processing of other bundles expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from .records import plain

__all__ = ["LogitsInferer"]

#: Probabilities nearer than this to 0 or 1 are moved to it: their logits stay finite.
NEAREST = 1e-6


class LogitsInferer(Inferer):
    """
    Turns the probabilities of another inferer into logits, so that a bundle whose network gives logits keeps its
    post-processing: softmax and argmax, or a sigmoid and a threshold.

    Args:
        inferer: gives (B, K, H, W, D) probabilities, such as :py:class:`CoarseToFineInferer`.
        background: put a channel of zeros before the classes: with one class the softmax is then its probability, and
            the argmax is the class where that is above 0.5. False where a sigmoid follows. Defaults to True.

    Raises:
        TypeError: when ``inferer`` is not a MONAI inferer.

    Example:
        >>> import torch
        >>> from monai.inferers import SimpleInferer
        >>> logits = LogitsInferer(SimpleInferer())(torch.tensor([0.2, 0.9]).view(1, 1, 2), torch.nn.Identity())
        >>> logits.softmax(dim=1)[0, 1].tolist()
        [0.2, 0.9]
        >>> logits.argmax(dim=1)[0].tolist()
        [0, 1]
    """

    def __init__(self, inferer: Inferer, background: bool = True) -> None:
        super().__init__()
        if not isinstance(inferer, Inferer):
            raise TypeError(f"inferer must be a monai.inferers.Inferer, got {type(inferer).__name__}.")
        self.inferer = inferer
        self.background = background

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """
        Args:
            inputs: as the other inferer takes them.
            network: likewise.
            args: likewise.
            kwargs: likewise.

        Returns:
            (B, K + 1, H, W, D) logits, background first, or (B, K, H, W, D) without; a MetaTensor where the answer is.
        """
        answer = self.inferer(inputs, network, *args, **kwargs)
        logits = torch.logit(plain(answer), eps=NEAREST)
        if self.background:
            logits = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
        return MetaTensor(logits).copy_meta_from(answer) if isinstance(answer, MetaTensor) else logits

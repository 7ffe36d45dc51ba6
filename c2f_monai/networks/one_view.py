# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The three parts f_C, g and f_F of one view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..utils import pad_to_multiple
from .shared_encoder import share_encoder

__all__ = ["CoarseToFineView"]


class CoarseToFineView(nn.Module):
    """
    Networks of one view: coarse f_C, saliency g and fine f_F of P(0) = f_C(X), P(t) = f_F(Crop[X * g(P(t-1))]) [3.4].

    Args:
        coarse: makes f_C, a 2D network from ``in_slices`` channels to ``out_channels * out_slices`` logits; None where
            P(0) comes from elsewhere.
        fine: makes f_F of the same form; None for a coarse network alone.
        saliency: makes g, from ``out_channels * out_slices`` probabilities to ``in_slices`` weights; None for the
            step-wise approach.
        slice_axes: signed RAS axes of the slices, rows and columns that the weights expect, see
            :py:func:`c2f_monai.utils.slice_axes`; kept in the state_dict, so that a checkpoint carries them. None where
            slices are cut from a RAS volume as it is.
        coarse_downsample: f_C sees means of so many pixels a side, and its logits are interpolated to the pixels of
            the slab.
        size_divisor: the sides of the means that f_C sees are multiples of it.
        shared_encoder: f_F has the encoder of f_C, under whose name alone the state_dict holds it.

    Raises:
        ValueError: for ``shared_encoder`` without both networks, or where :py:func:`share_encoder` refuses them.
    """

    def __init__(
        self,
        coarse: Callable[[], nn.Module] | None,
        fine: Callable[[], nn.Module] | None = None,
        saliency: Callable[[], nn.Module] | None = None,
        slice_axes: Sequence[int] | None = None,
        coarse_downsample: int = 1,
        size_divisor: int = 1,
        shared_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.coarse_downsample = coarse_downsample
        self.size_divisor = size_divisor
        self.coarse = None if coarse is None else coarse()
        self.fine = None if fine is None else fine()
        self.saliency = None if saliency is None else saliency()
        self.shared = ""
        if shared_encoder:
            if self.coarse is None or self.fine is None:
                raise ValueError("shared_encoder is for a coarse and a fine network, and one of them is None.")
            self.shared = share_encoder(self.coarse, self.fine)
        self.register_buffer("slice_axes", None if slice_axes is None else torch.tensor(list(slice_axes)))

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """As of any module; an encoder that both networks share is there once, as that of f_C."""
        state: dict[str, torch.Tensor] = super().state_dict(*args, prefix=prefix, **kwargs)
        for key in [key for key in state if self.shared and key.startswith(f"{prefix}fine.{self.shared}.")]:
            del state[key]
        return state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """PyTorch fills the modules one after the other: f_F asks for its own names of what it shares."""
        if self.shared:
            part = f"{prefix}coarse.{self.shared}."
            names = [key.removeprefix(part) for key in state_dict if key.startswith(part)]
            state_dict.update({f"{prefix}fine.{self.shared}.{name}": state_dict[part + name] for name in names})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def axes(self, default: list[int]) -> list[int]:
        """Signed axes of this view's slices: those of the weights, else ``default``."""
        if self.slice_axes is not None:
            axes: list[int] = self.slice_axes.tolist()  # type: ignore[operator]
            return axes
        return default

    def forward(self, inputs: torch.Tensor, part: str) -> torch.Tensor:
        """
        Args:
            inputs: (B, in_slices, h, w) slabs or crops in [0, 1]; for the part "saliency" (B, K * out_slices, h, w)
                probabilities.
            part: "coarse", "saliency" or "fine".

        Returns:
            (B, K * out_slices, h, w) logits; for "saliency" (B, in_slices, h, w) float32 weights.

        Raises:
            ValueError: for an unknown part or one this network does not have.
        """
        if part == "coarse":
            if self.coarse is not None:
                if self.coarse_downsample == 1:
                    coarse: torch.Tensor = self.coarse(inputs)
                    return coarse
                padded = pad_to_multiple(inputs, self.coarse_downsample * self.size_divisor)
                means = F.avg_pool2d(padded, self.coarse_downsample)
                logits = F.interpolate(self.coarse(means), scale_factor=float(self.coarse_downsample), mode="bilinear")
                return logits[:, :, : inputs.shape[2], : inputs.shape[3]]
        elif part == "fine":
            if self.fine is not None:
                fine: torch.Tensor = self.fine(inputs)
                return fine
        elif part == "saliency":
            if self.saliency is not None:
                # The weights multiply the image: float32 even where the networks run in 16 bits.
                prior = inputs if inputs.dtype == torch.float64 else inputs.float()
                if torch.jit.is_scripting():
                    weights: torch.Tensor = self.saliency(prior)
                else:
                    with torch.autocast(inputs.device.type, enabled=False):
                        weights = self.saliency(prior)
                return weights
        raise ValueError("part must be one that the network has of coarse, saliency and fine, got '" + part + "'.")

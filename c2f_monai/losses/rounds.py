# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Loss over the coarse result and the rounds of refinement."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch.nn.modules.loss import _Loss

from ..utils import DEFAULT_SLAB, SlabSpec

__all__ = ["RoundsLoss", "round_weights"]


def round_weights(rounds: int, coarse: float = 0.5) -> list[float]:
    """Weights of the coarse result and T rounds, summing to 1; by default 2 * l0 = l1 = ... = lT = 2 / (2T + 1) [3.4].

    Args:
        rounds: T >= 0.
        coarse: l0 as a multiple of l1.
    """
    total = coarse + rounds
    return [coarse / total] + [1.0 / total] * rounds


class RoundsLoss(_Loss):
    """
    Weighted sum over rounds of the soft DSC loss 1 - 2 sum(YP) / (sum Y + sum P) [3.4].

    Each slab and class is one sample of the soft DSC: one sum over its pixels and its slices, no squares. Samples and
    classes are averaged, views are added: no parameter belongs to two views, so each trains as if it were alone.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        slab: how many slices a slab predicts, as of the network.
        batch: sum over the slabs of a batch before dividing. The paper's loss (False) has almost no gradient on slabs
            without target; with True they suppress false positives.
        smooth: added to numerator and denominator (1e-6 in the original code): empty slices give no NaN.
        cross_entropy: weight of the mean binary cross-entropy over pixels, added to each round's loss; 0 in the paper.
            The soft DSC alone has no gradient once every probability is near 0, so a network that an early step drives
            there stays there; the cross-entropy of its missed pixels brings it back.
        coarse_weight: weight of the coarse result as a multiple of a round's; 0.5 in the paper. The rounds also reach
            the coarse network, through g; where their gradient is the larger one, a larger weight keeps the coarse
            result good.
        target_weight: weight of the target's pixels in the cross-entropy against those of the background, which are
            many more; 1 treats all alike. Defaults to 1.
        reduction: "mean" weighs the coarse result and the rounds so that the weights sum to 1, as in the paper's
            end-to-end training; "sum" adds them with the weights ``coarse_weight`` and 1, so that parts that share no
            parameter (step-wise) step at exactly their own learning rates. Defaults to "mean".

    Raises:
        ValueError: for another ``reduction``, a negative ``cross_entropy``, or a ``coarse_weight`` or ``target_weight``
            that is not positive.

    Example:
        >>> import torch
        >>> from c2f_monai.losses import RoundsLoss
        >>> target = {"axial": torch.ones(1, 3, 8, 8)}
        >>> found = torch.stack([target["axial"], 0 * target["axial"]], dim=1)  # coarse right, round 1 empty
        >>> round(RoundsLoss()({"axial": found}, target).item(), 3)  # weights 1/3 and 2/3
        0.667
    """

    def __init__(
        self,
        slab: SlabSpec = DEFAULT_SLAB,
        batch: bool = False,
        smooth: float = 1e-6,
        cross_entropy: float = 0.0,
        coarse_weight: float = 0.5,
        target_weight: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        for name, weight in (("coarse_weight", coarse_weight), ("target_weight", target_weight)):
            if weight <= 0:
                raise ValueError(f"{name} must be positive, got {weight}.")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be mean or sum, got {reduction!r}.")
        if cross_entropy < 0:
            raise ValueError(f"cross_entropy must not be negative, got {cross_entropy}.")
        self.slab = slab
        self.cross_entropy = cross_entropy
        self.coarse_weight = coarse_weight
        self.target_weight = target_weight
        self.normalized = reduction == "mean"
        self.dice = DiceLoss(smooth_nr=smooth, smooth_dr=smooth, batch=batch)
        #: Unweighted loss of each round, (T + 1,), of the latest call, by view; for logs.
        self.rounds: dict[str, torch.Tensor] = {}

    def forward(self, pred: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Args:
            pred: for each view (B, T + 1, K * out_slices, h, w) probabilities, class-major.
            target: for each view (B, K * out_slices, h, w) in {0, 1}.

        Returns:
            scalar; NaN where a probability is.

        Raises:
            ValueError: when the views or the shapes of ``pred`` and ``target`` differ, or are of another slab.
        """
        if pred.keys() != target.keys():
            raise ValueError(f"pred has the views {list(pred)} but target has {list(target)}.")
        total: list[torch.Tensor] = []
        self.rounds = {}
        for view, probabilities in pred.items():
            losses = self._view_losses(probabilities, target[view])
            rounds = len(losses) - 1
            weights = (
                round_weights(rounds, self.coarse_weight) if self.normalized else [self.coarse_weight] + [1.0] * rounds
            )
            self.rounds[view] = losses.detach()
            total.append((losses * losses.new_tensor(weights)).sum())
        return torch.stack(total).sum()

    def _view_losses(self, probabilities: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(T + 1,) losses of one view."""
        if probabilities.dim() != 5 or probabilities[:, 0].shape != target.shape:
            raise ValueError(
                f"pred must have shape (B, T + 1, channels, h, w) and target (B, channels, h, w), "
                f"got {tuple(probabilities.shape)} and {tuple(target.shape)}."
            )
        if target.shape[1] % self.slab.out_slices:
            raise ValueError(
                f"{target.shape[1]} channels are no classes times the {self.slab.out_slices} slices that a slab "
                "predicts: give RoundsLoss the network's slab."
            )
        # (B, K * out_slices, h, w) -> (B, K, out_slices, h, w): DiceLoss sums over all axes behind the class.
        truth = target.float().unflatten(1, (-1, self.slab.out_slices))
        found = probabilities.float().unflatten(2, (-1, self.slab.out_slices))
        losses = torch.stack([self.dice(p, truth) for p in found.unbind(1)])
        if not self.cross_entropy:
            return losses
        weight = None if self.target_weight == 1.0 else 1.0 + (self.target_weight - 1.0) * truth
        # NaN is no probability: an error that names nothing, on a GPU the end of the process. The DSC's loss keeps it.
        pixels = [F.binary_cross_entropy(p.nan_to_num(nan=0.5), truth, weight) for p in found.unbind(1)]
        return losses + self.cross_entropy * torch.stack(pixels)

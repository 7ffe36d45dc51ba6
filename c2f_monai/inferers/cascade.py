# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""First the organ, then the neoplasm near it: four stages on whole volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ..transforms.conditioning import check_distance, hide_far, near_organ, organ_box
from ..utils import Bounds, OrganRegion, StopReason, unwrap
from .case_loop import judge_answer
from .coarse_to_fine import CoarseToFineInferer
from .patches import Patch, whole_bounds
from .records import (
    CaseRecord,
    RoundRecord,
    case_of,
    name_of,
    notes_of,
    plain,
    spacing_of,
    stack_cases,
    touches_border,
    voxel_ml,
)

__all__ = ["ORGAN_NOT_FOUND", "CascadeInferer"]

#: Note in the record of a neoplasm that was not looked for.
ORGAN_NOT_FOUND = "organ not found"


class CascadeInferer(Inferer):
    """
    Four stages: organ coarse, organ fine, then neoplasm coarse and fine on sigma[X, organ], which is X' [3.3.3, 3.4.3].

    X' is the image near the organ and the bottom of the intensity range elsewhere, see
    :py:func:`c2f_monai.transforms.near_organ`; crops come from the coarse-to-fine loop, as ever. Each half is a
    coarse-to-fine inferer with its own network, two step-wise pairs or two RSTNs or one of each. The second network may
    have several classes. Where no organ is found there is no neoplasm, and its record says "organ not found".

    Beside it: without the organ is :py:class:`CoarseToFineInferer` on the image with a network trained so; the true
    organ (a diagnostic) is the argument ``organ`` of the call.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        organ: inferer of the organ; of several classes the union counts.
        neoplasm: inferer of the neoplasm.
        distance_voxels: t in voxels of the working grid, used when there is no ``distance_mm``. Defaults to 15.
        distance_mm: t in mm instead, by the voxel size of the input. Defaults to None.
        region: "mask" hides what is not near the organ; "crop" gives the second half the organ's box and t alone, with
            nothing hidden in it. Defaults to "mask".

    Attributes:
        records: one :py:class:`CaseRecord` of the neoplasm for each case of the latest call.
        organ_records: one of the organ; none where the true organ was given.

    Raises:
        TypeError: when a half is no :py:class:`CoarseToFineInferer`.
        ValueError: when both halves are one object, whose records would overwrite each other, a distance is not
            positive, or the region is another.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from c2f_monai.inferers import CascadeInferer, CoarseToFineInferer
        >>> from c2f_monai.networks import CoarseToFineNet, FCN8s
        >>> small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3)
        >>> names = ["organ", "neoplasm"]
        >>> networks = torch.nn.ModuleDict({name: CoarseToFineNet(small, small) for name in names}).eval()
        >>> inferer = CascadeInferer(CoarseToFineInferer(margin=8), CoarseToFineInferer(margin=8))
        >>> inferer(torch.rand(1, 1, 16, 16, 16), networks).shape  # the organ's channel, then the neoplasm's
        torch.Size([1, 2, 16, 16, 16])
    """

    def __init__(
        self,
        organ: CoarseToFineInferer,
        neoplasm: CoarseToFineInferer,
        distance_voxels: float | None = 15.0,
        distance_mm: float | None = None,
        region: OrganRegion | str = OrganRegion.MASK,
    ) -> None:
        super().__init__()
        for name, inferer in (("organ", organ), ("neoplasm", neoplasm)):
            if not isinstance(inferer, CoarseToFineInferer):
                raise TypeError(f"{name} must be a CoarseToFineInferer, got {type(inferer).__name__}.")
        if organ is neoplasm:
            raise ValueError("organ and neoplasm must be two inferers, got the same one twice.")
        check_distance(distance_voxels, distance_mm)
        self.organ = organ
        self.neoplasm = neoplasm
        self.distance_voxels = distance_voxels
        self.distance_mm = distance_mm
        self.region = OrganRegion(region)
        self.records: list[CaseRecord] = []
        self.organ_records: list[CaseRecord] = []

    @torch.no_grad()
    def __call__(  # type: ignore[override]  # two networks, where MONAI's inferers take one
        self, inputs: torch.Tensor, network: Mapping[str, Any] | torch.nn.ModuleDict, organ: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            inputs: (B, 1, H, W, D) RAS volumes as the two inferers take them.
            network: the networks "organ" and "neoplasm", for instance a ``torch.nn.ModuleDict``; "organ" is not used
                where ``organ`` is given.
            organ: (B, 1, H, W, D) true mask of the organ, the neoplasm included; None predicts it.

        Returns:
            (B, K_organ + K_neoplasm, H, W, D) float32, the organ's probabilities (a given organ as 0 and 1), then the
            neoplasm's; each at and above its inferer's threshold where its mask is. A MetaTensor where the input is
            one.

        Raises:
            ValueError: for another shape, a missing network, or mm without a voxel size.
        """
        networks: Any = unwrap(network)
        wanted = ("neoplasm",) if organ is not None else ("organ", "neoplasm")
        if missing := [name for name in wanted if name not in networks]:
            raise ValueError(f"network must hold the networks {list(wanted)}, it lacks {missing}.")
        if self.distance_mm is not None and not isinstance(inputs, MetaTensor):
            raise ValueError(f"distance_mm needs a MetaTensor with a voxel size, got {type(inputs).__name__}.")
        if organ is None:
            shown = self.organ(inputs, networks["organ"])
            masks = shown >= self.organ.threshold
            self.organ_records = self.organ.records
        else:
            if organ.shape != inputs.shape:
                raise ValueError(f"organ must have the shape {tuple(inputs.shape)}, got {tuple(organ.shape)}.")
            masks, self.organ_records = organ > 0.5, []
            shown = masks.float()
        answers = [self._neoplasm(inputs, i, mask, networks["neoplasm"]) for i, mask in enumerate(plain(masks))]
        self.records = [record for _, record in answers]
        found = stack_cases([probability for probability, _ in answers])
        result = torch.cat([plain(shown).to(found.device), found], dim=1)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _neoplasm(
        self, inputs: torch.Tensor, index: int, organ: torch.Tensor, network: Any
    ) -> tuple[torch.Tensor, CaseRecord]:
        """Probability (K, H, W, D) of the neoplasm in one case and what happened to it."""
        if self.region == OrganRegion.CROP:
            return self._in_box(inputs, index, organ, network)
        if not organ.any():
            return self._nothing(inputs, index, network)
        volume = plain(inputs)[index]
        near = near_organ(organ, self.distance_voxels, self.distance_mm, spacing_of(inputs, index))
        conditioned = hide_far(volume, near, 0.0 if self.neoplasm.window is None else self.neoplasm.window[0])
        probability = self.neoplasm(case_of(inputs, index, conditioned), network)
        self.neoplasm.records[0].region = torch.from_numpy(near)
        return plain(probability)[0], self.neoplasm.records[0]

    def _in_box(
        self, inputs: torch.Tensor, index: int, organ: torch.Tensor, network: Any
    ) -> tuple[torch.Tensor, CaseRecord]:
        """The same of the organ's box, on the whole grid."""
        spacing = spacing_of(inputs, index)
        box = organ_box(organ, self.distance_voxels, self.distance_mm, spacing)
        if box is None:
            return self._nothing(inputs, index, network)
        volume, whole = plain(inputs)[index], whole_bounds(inputs.shape[2:])
        found = plain(self.neoplasm(case_of(inputs, index, Patch(volume, whole).on(box)), network))[0]
        record = self.neoplasm.records[0]
        record.rounds = [replace(entry, box=_shifted(entry.box, box)) for entry in record.rounds]
        record.masks = [Patch(mask, box).on(whole) for mask in record.masks]
        if record.seen is not None:
            record.seen = Patch(record.seen, box).on(whole)
        record.region = Patch(torch.ones((1, *found.shape[1:]), dtype=torch.bool), box).on(whole)[0]
        answer = Patch.trimmed(found >= self.neoplasm.threshold, box)
        record.touches_border = touches_border(answer.bounds, inputs.shape[2:])
        if record.signals:  # where in the field it lies is of the whole field
            place = inputs.shape[2:], spacing, voxel_ml(inputs, index)
            judge_answer(record, record.signals, answer, *place, self.neoplasm.quality)
        return Patch(found, box).on(whole), record

    def _nothing(self, inputs: torch.Tensor, index: int, network: Any) -> tuple[torch.Tensor, CaseRecord]:
        shape = (int(unwrap(network).out_channels), *inputs.shape[2:])  # type: ignore[arg-type]
        ml = None if voxel_ml(inputs, index) is None else 0.0
        masks = [torch.zeros(shape, dtype=torch.bool)] if self.neoplasm.keep_rounds else []
        record = CaseRecord(
            name_of(inputs, index),
            [RoundRecord(0, None, 0, ml, None, 0.0)],
            StopReason.EMPTY,
            masks=masks,
            region=torch.zeros(shape[1:], dtype=torch.bool),
            notes=[*notes_of(inputs, index), ORGAN_NOT_FOUND],
        )
        return torch.zeros(shape, device=self.neoplasm.volume_device or inputs.device), record


def _shifted(bounds: Bounds | None, box: Bounds) -> Bounds | None:
    """Bounds within a box as bounds of the volume."""
    return bounds and tuple((lo + start, hi + start) for (lo, hi), (start, _) in zip(bounds, box, strict=True))

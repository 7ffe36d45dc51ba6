# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``refine``: the answer of any other model, made better by the rounds."""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch
from monai.transforms import ResampleToMatch, SpatialCrop

from .. import __version__
from ..data import CaseDataset, PrefetchDataLoader, open_inputs, read_image
from ..data.images import is_path
from ..data.writers import check_nifti_name
from ..inferers import CoarseToFineInferer
from ..transforms import label_values, select_label
from ..transforms.axis_resampling import PIECE, support_box
from ..transforms.volumes import source_of
from ..utils import Bounds, Result, case_name, grow_bounds, torch_device
from .outputs import MADE_BY, Job, check_places
from .segmentation import Segmentation
from .segmenter import Segmenter

__all__ = ["read_answer", "refine", "run"]

#: How far beyond 0 and 1 probabilities may be: sums and casts of other programs leave 1.0000001.
ROUNDING = 1e-3


def run(args: argparse.Namespace) -> None:
    """Read both files, run the rounds and write the mask.

    Raises:
        OSError: when a file does not exist or a place cannot be written to.
        ValueError: when image, answer or arguments cannot be used.
    """
    if args.device is not None:
        torch_device(args.device)
    output = args.output or args.mask.parent / f"{case_name(args.mask)}_refined.nii.gz"
    check_nifti_name(output)
    if output.resolve() == args.mask.resolve():  # also by a link or "..": the given answer is never written to
        raise ValueError(f"{output} is the answer that is to be refined: write to another place.")
    answer = read_answer(args.mask, args.label_value)
    with open_inputs(args.input) as found:
        cases = [case for case in found if "skipped" not in case]
        if len(cases) != 1:
            raise ValueError(f"{args.input} holds {len(cases)} images: give one.")
        image = cases[0]["image"]
        check_places([Job(cases[0], output)], [], args.overwrite)
        segmenter = Segmenter(args.model, args.device, configs=args.config, progress=not args.quiet)
        result = refine(segmenter, image, answer)
    result.save(output, f"{MADE_BY} {__version__} {segmenter.signature}")
    if not args.quiet:
        record = result.record
        flags = f" [{'; '.join(record.flags)}]" if record.flags else ""
        before = record.rounds[0].ml
        given = "" if before is None else f"{before:.1f} ml given, "
        print(f"{case_name(image)}: {given}{result.ml:.1f} ml, {record.fine_rounds} rounds, {output}{flags}")


def read_answer(path: Path, label_value: Sequence[int] | None = None) -> MetaTensor:
    """The answer of another model: a mask, a label map or probabilities.

    Args:
        path: a volume, (H, W, D); of several classes probabilities (H, W, D, K).
        label_value: values of a label map that are the target. Defaults to None: the file is a mask of 0 and 1, or
            probabilities.

    Returns:
        (K, H, W, D) float32 in [0, 1] on the file's own grid.

    Raises:
        ValueError: when it cannot be read, its header does not say where it lies, its values are neither, or it is
            empty; when the label map holds none of the values.
    """
    answer = read_image(path)
    if problem := answer.meta.get("problem"):
        raise ValueError(f"{path} cannot be used: {problem}")
    if label_value is not None:
        target: Any = select_label(answer, label_values(label_value))
        mask: MetaTensor = target.float()
        if not mask.any():
            raise ValueError(f"{path} holds no voxel of the label values {list(label_value)}.")
        return mask
    low, high = float(answer.min()), float(answer.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN is neither
        raise ValueError(
            f"{path} holds values from {low:g} to {high:g}: give a mask of 0 and 1, probabilities in [0, 1], or "
            "--label-value for a label map."
        )
    if high <= 0:
        raise ValueError(f"{path} is 0 everywhere: there is no answer to start from.")
    answer.clamp_(0, 1)
    return answer


@torch.no_grad()
def refine(segmenter: Segmenter, image: Any, answer: MetaTensor, probability: bool = False) -> Segmentation:
    """Run the rounds from another model's answer in the place of the coarse networks' [3.3.2, 3.4].

    The result is the last round's, whatever the model's ``result`` is: that is the mean of two networks' probabilities,
    and with a mask of 0 and 1 nothing could leave it.

    Args:
        segmenter: the model.
        image: a path, or what :func:`c2f_monai.data.volume_of` gives.
        answer: (K, H, W, D) probabilities or masks of the K classes of the model, on any grid with its affine.
        probability: as for :py:class:`Segmenter`. Defaults to False.

    Raises:
        ValueError: when the model is not one coarse-to-fine loop, or has another number of classes; when the answer
            lies beside the image.
    """
    if not isinstance(segmenter.inferer, CoarseToFineInferer):
        kind = type(segmenter.inferer).__name__
        raise ValueError(f"the model's inferer is {kind}, whose rounds start from its own networks: refine with one.")
    inferer = copy.copy(segmenter.inferer)
    inferer.result = Result.LAST
    cases = [{"image": str(image) if is_path(image) else image}]
    (batch,) = PrefetchDataLoader(CaseDataset(cases, segmenter.preprocessing), batch_size=1, num_workers=0)
    grid = batch["image"][0]
    initial = _on_grid(answer, grid)
    if answer.any() and not initial.any():
        raise ValueError(f"{source_of(answer)} lies beside {source_of(grid)}: no voxel of it is in the image.")
    batch["pred"] = inferer(batch["image"].to(segmenter.device), segmenter.network, initial=initial[None])
    (case,) = decollate_batch(batch)
    found = segmenter.invert(case)["pred"]
    mask = segmenter.label_map({"pred": found})["pred"].cpu()
    return Segmentation(mask[0], inferer.records[0], found.cpu() if probability else None)


def _on_grid(answer: MetaTensor, grid: MetaTensor) -> torch.Tensor:
    """The answer on the grid of an image, (K, h, w, d), 0 outside of what it says.

    Bilinear for masks, too: the prior may be soft, and the mask is where it is at least one half. Only the region of
    the answer is sampled, piece by piece: for a whole CT at once MONAI's takes 64 bytes for each voxel.
    """
    found = torch.zeros((answer.shape[0], *grid.shape[1:]))
    box = support_box(answer.as_tensor())
    if box is None:
        return found
    # With the zeros beside it, to which it falls off.
    wide = grow_bounds(box, 1, answer.shape[1:])
    there = _cropped(answer, wide)
    region = _region(answer, wide, grid)
    if any(stop <= start for start, stop in region):
        return found
    resample = ResampleToMatch(mode="bilinear", padding_mode="zeros", dtype=np.float32)
    height, width, (first, last) = region
    rows = max(1, PIECE // ((height[1] - height[0]) * (width[1] - width[0])))
    for start in range(first, last, rows):
        piece = height, width, (start, min(start + rows, last))
        place = (slice(None), *(slice(*side) for side in piece))
        found[place] = torch.as_tensor(resample(there, _cropped(grid, piece))).clamp(0, 1)
    return found


def _cropped(volume: MetaTensor, bounds: Bounds) -> MetaTensor:
    starts, stops = zip(*bounds, strict=True)
    cropped: MetaTensor = SpatialCrop(roi_start=starts, roi_end=stops)(volume)  # type: ignore[assignment]
    return cropped


def _region(answer: MetaTensor, bounds: Bounds, grid: MetaTensor) -> Bounds:
    """The voxels of a grid that lie within bounds of another one; empty sides where there are none."""
    between = np.linalg.solve(np.asarray(grid.affine), np.asarray(answer.affine))
    corners = np.array(list(itertools.product(*((lo - 1, hi) for lo, hi in bounds))))
    places = corners @ between[:3, :3].T + between[:3, 3]
    lows, highs = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0)) + 1
    sides = zip(lows, highs, grid.shape[1:], strict=True)
    return tuple((int(np.clip(lo, 0, n)), int(np.clip(hi, 0, n))) for lo, hi, n in sides)

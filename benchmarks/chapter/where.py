# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``where``: where an answer loses voxels, in the outline or far away, and what boxes of it miss.

The far ones are all that a true box could hide, also of a 3D network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import read_training_config
from c2f_monai.inferers import CoarseToFineInferer
from c2f_monai.utils import View, dice_coefficient, read_weights_file

from .difficulty import near_target
from .parts import ROOT

__all__ = ["add_parser", "box_misses", "lost_voxels", "run_where"]


def lost_voxels(answer: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """False voxels of an answer by their place.

    Args:
        answer: (H, W, D) mask.
        truth: (H, W, D) mask with a target.
        spacing: of the voxels, mm.

    Returns:
        ``dsc`` and ``dsc_without_far``, that of the answer without what is farther than 20 mm from the target, in %;
        ``far``, ``near`` and ``missed``, false positives beyond and within, false negatives, as shares of the target.
    """
    far = answer & ~near_target(truth, spacing)  # another thing, not its outline
    size = truth.sum()
    return {
        "dsc": _dsc(answer, truth),
        "dsc_without_far": _dsc(answer & ~far, truth),
        "far": float(far.sum() / size),
        "near": float((answer & ~truth & ~far).sum() / size),
        "missed": float((truth & ~answer).sum() / size),
    }


def box_misses(
    answer: np.ndarray, truth: np.ndarray, axis: int, margin: int | None, reach: int = 1
) -> dict[str, float]:
    """What boxes of an answer's slabs leave out.

    Args:
        answer: (H, W, D) mask that the boxes are of.
        truth: (H, W, D) mask with a target.
        axis: across the slices.
        margin: K around the box, voxels; None is the whole image.
        reach: slices of a slab on either side. Defaults to 1, three slices.

    Returns:
        ``slabs``, the share of the slabs with target that have no box; ``voxels``, the share of the target outside.
    """
    found, target = np.moveaxis(answer, axis, 0), np.moveaxis(truth, axis, 0)
    margin = max(target.shape) if margin is None else margin
    places = np.flatnonzero(target.any(axis=(1, 2)))
    without, outside = 0, 0
    for place in places:
        rows, columns = np.nonzero(found[max(0, place - reach) : place + reach + 1].any(axis=0))
        inside = np.zeros(target.shape[1:], dtype=bool)
        if len(rows):
            box = [slice(max(0, i.min() - margin), i.max() + margin + 1) for i in (rows, columns)]
            inside[tuple(box)] = True
        without += not len(rows)
        outside += int((target[place] & ~inside).sum())
    return {"slabs": without / len(places), "voxels": outside / int(target.sum())}


def _dsc(a: np.ndarray, b: np.ndarray) -> float:
    return 100 * dice_coefficient(torch.from_numpy(a), torch.from_numpy(b))


def run_where(args: argparse.Namespace) -> None:
    """Segment the cases of the split and print the means, in JSON.

    Raises:
        OSError: when configurations or weights do not exist.
        ValueError: for a case without target.
    """
    files = [str(ROOT / "bundle/configs/train.json"), *args.config, str(ROOT / "bundle/configs/evaluate.json")]
    options = [f"split={args.split}", "progress=False", *args.option]
    parser = read_training_config(files, str(ROOT / "bundle"), str(args.dataset_dir), options)
    network, inferer, cases = (
        parser.get_parsed_content(key) for key in ("network", "validate#inferer", "validate#dataset")
    )
    network.load_state_dict(read_weights_file(args.weights))
    network.eval()
    found: list[dict[str, Any]] = []
    for index in range(len(cases) if args.cases is None else args.cases):
        item = cases[index]
        truth, spacing = np.asarray(item["label_grid"][0]) > 0, item["image"].pixdim.tolist()
        if not truth.any():
            raise ValueError(f"case {index} of the split {args.split} has no target.")
        with torch.no_grad():
            answer = np.asarray(
                inferer(item["image"][None].to(parser.get_parsed_content("device")), network).cpu()[0, 0]
            )
        mask = answer >= inferer.threshold
        case: dict[str, Any] = {"lost": lost_voxels(mask, truth, spacing)}
        if isinstance(inferer, CoarseToFineInferer):  # a 3D network draws no boxes
            margin = inferer.rule.margin
            case["box misses"] = {view.value: box_misses(mask, truth, view.axis, margin) for view in View}
        found.append(case)
    print(json.dumps({"cases": len(found), "mean": _mean(found), "each": found}, indent=1))


def _mean(values: Sequence[Any]) -> Any:
    """Of numbers, key by key of dictionaries."""
    if isinstance(values[0], dict):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    return round(float(np.mean(values)), 4)


def add_parser(kinds: Any) -> None:
    """The command ``where``."""
    parser = kinds.add_parser("where", help="where an answer loses voxels, and what boxes of it miss")
    parser.add_argument("--weights", type=Path, required=True, help="model.pt of a training")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="data set")
    parser.add_argument("--config", nargs="*", default=[], help="files between train.json and evaluate.json")
    add_option(parser, "an id, such as max_rounds=0")
    parser.add_argument("--split", default="validation", help="of the data set (default: validation)")
    parser.add_argument("--cases", type=int, help="only the first ones (default: all)")
    parser.set_defaults(run=run_where)

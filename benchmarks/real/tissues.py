# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``tissues``: HU of pancreas, soft tissue and fat on real CT, from which synthetic CT draws."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from c2f_monai.data.datalist import load_datalist
from c2f_monai.data.readers import read_image
from c2f_monai.utils import SLICES_KEY, atomic_write, case_name

__all__ = ["FAT", "SOFT_TISSUE", "add_parser", "measure_fat", "measure_slices", "summary_of"]

#: HU that are fat, and that are soft tissue with and without contrast medium.
FAT, SOFT_TISSUE = (-150.0, -50.0), (20.0, 200.0)
#: Pixels from the outline at which a pixel is of one tissue, and of the surroundings that are looked at.
_EDGE, _AROUND = 2, 30
_PERCENTILES = (5, 50, 95)


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser("tissues", help="HU of pancreas, soft tissue and fat on real CT", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder made by prepare slices")
    volumes = "CTs in HU: gray of the slices is cut off at 0 HU and tells nothing of fat"
    parser.add_argument("--volumes", type=Path, nargs="*", default=[], help=volumes)
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, write and print.

    Raises:
        FileNotFoundError: when there is no data set or volume.
        ValueError: when the data set holds no slices with target.
    """
    cases = [case for case in load_datalist(args.data, "training", holdout=0) if case.get(SLICES_KEY)]
    rows: dict[str, list[dict[str, float]]] = {"pancreas": [], "soft tissue around": [], "fat": []}
    for case in cases:
        image, label = (read_image(case[key])[0].numpy() for key in ("image", "label"))
        for tissue, row in measure_slices(image, label > 0).items():
            rows[tissue].append(row)
    if not rows["pancreas"]:
        raise ValueError(f"{args.data} holds no stack of slices with the target: make it with prepare slices.")
    for volume in args.volumes:
        rows["fat"].append(measure_fat(read_image(volume)[0].numpy()))
    content = {
        "patients": len(rows["pancreas"]),
        "volumes": [case_name(volume) for volume in args.volumes],
        "tissues": {tissue: summary_of(found) for tissue, found in rows.items() if found},
    }
    text = json.dumps(content, indent=1) + "\n"
    with atomic_write(args.output) as part:
        part.write_text(text, encoding="utf-8")
    print(text, end="")


def measure_slices(image: np.ndarray, mask: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of the target's inside, and of the soft tissue around it.

    Args:
        image: (H, W, D) HU of single slices.
        mask: (H, W, D) bool.
    """
    disk = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _EDGE)[..., None]
    inside = ndimage.binary_erosion(mask, disk)
    far = np.stack([ndimage.distance_transform_edt(~mask[..., z]) for z in range(mask.shape[2])], axis=2)
    around = (far > _EDGE) & (far <= _AROUND) & (image > SOFT_TISSUE[0]) & (image < SOFT_TISSUE[1])
    return {tissue: _row(image[part]) for tissue, part in (("pancreas", inside), ("soft tissue around", around))}


def measure_fat(image: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation of fat at some distance from all else.

    Args:
        image: (H, W, D) HU.
    """
    fat = (image > FAT[0]) & (image < FAT[1])
    disk = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), _EDGE)[..., None]
    return _row(image[ndimage.binary_erosion(fat, disk)])


def summary_of(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Percentiles over the patients, by what was measured.

    Examples:
        >>> summary_of([{"mean": 80.0}, {"mean": 90.0}, {"mean": 100.0}])
        {'cases': 3, 'mean': {'5': 81.0, '50': 90.0, '95': 99.0}}
    """
    found: dict[str, Any] = {"cases": len(rows)}
    for name in rows[0]:
        values = np.percentile([row[name] for row in rows], _PERCENTILES)
        found[name] = {str(p): round(float(value), 1) for p, value in zip(_PERCENTILES, values, strict=True)}
    return found


def _row(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "sd": float(values.std())}

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Label maps as anatomies to draw CT from: files, the body around the labels, tissues of HU, deformed copies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import RandAffine, RandSmoothDeform
from scipy import ndimage

from ..transforms.tissues import tissue_of_organ
from ..utils import case_name
from .label_header import check_label_header
from .readers import is_image_file
from .volume_header import checked_header

__all__ = ["BODY", "Anatomy", "body_by_hu", "body_by_labels", "deform", "find_anatomies", "read_names", "tissues_of"]

#: Names of what is added to a label map; each is a tissue, too.
BODY = ("fat", "muscle", "gas", "soft tissue", "vessel", "bone", "fluid")
#: HU from which an unlabeled voxel of a CT is of the tissue.
_HU = ((-np.inf, "gas"), (-400.0, "fat"), (-30.0, "fluid"), (25.0, "soft tissue"), (75.0, "vessel"), (170.0, "bone"))
#: mm over which gaps between labels are closed to a trunk, ranges of the body wall and of the fat beneath the skin.
_CLOSE, _WALL, _SKIN_FAT = 50.0, (4.0, 12.0), (6.0, 30.0)
#: mm of the grid on which the body is made.
_COARSE = 6.0


@dataclass(frozen=True)
class Anatomy:
    """A label map to draw from.

    Attributes:
        name: of its file, without the suffix.
        labels: the label map.
        image: a CT of the same patient, whose HU tell what is not labeled; None without one.
    """

    name: str
    labels: Path
    image: Path | None = None


def read_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """Organs by label value, of a text file with a value and a name in each line.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for text that is not UTF-8, a line of another form, a value outside 1 to 255, or one that comes
            twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors begin with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: save it as UTF-8.") from error
    names: dict[int, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        value, _, name = line.strip().partition(" ")
        if not (value.isdecimal() and 1 <= int(value) <= 255 and name.strip()):
            raise ValueError(f"{path}: a line must look like '50 pancreas' (values 1 to 255), got {line!r}.")
        if int(value) in names:
            raise ValueError(f"{path} gives the value {value} twice.")
        names[int(value)] = name.strip()
    if not names:
        raise ValueError(f"{path} names no label.")
    return names


def find_anatomies(labels: Sequence[Path], images: Path | None = None) -> list[Anatomy]:
    """Label maps in the order of their names, each with the CT of its name where a folder of them is given.

    Raises:
        FileNotFoundError: when a file or folder does not exist, there is no label map, or one has no CT.
        ValueError: when two label maps or two of their CTs have one name, a header is none of a volume whose place is
            known, see :func:`c2f_monai.data.volume_header.checked_header`, or a CT has another shape.
    """
    files: list[Path] = []
    for place in labels:
        if not place.exists():
            raise FileNotFoundError(f"there is no label map or folder {place}.")
        files += sorted(path for path in place.iterdir() if is_image_file(path)) if place.is_dir() else [place]
    if not files:
        raise FileNotFoundError(f"{labels[0]} holds no label map.")
    if images is not None and not images.is_dir():
        raise FileNotFoundError(f"there is no folder {images}.")
    scans = None if images is None else _by_name(images)
    found: dict[str, Anatomy] = {}
    for file in files:
        name = case_name(file)
        if name in found:
            raise ValueError(f"{found[name].labels} and {file} have one name: rename one of them.")
        checked_header(file)
        image = None if scans is None else _scan_of(file, scans, images)
        if image is not None:
            check_label_header(file, image, *checked_header(image))
        found[name] = Anatomy(name, file.absolute(), image)
    return [found[name] for name in sorted(found)]


def _by_name(images: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(images.iterdir()):
        if is_image_file(path):
            found.setdefault(case_name(path), []).append(path)
    return found


def _scan_of(file: Path, scans: Mapping[str, Sequence[Path]], images: Path | None) -> Path:
    """The CT of a label map's name."""
    own = scans.get(case_name(file), [])
    if not own:
        raise FileNotFoundError(f"{images} holds no CT of the label map {file.name}.")
    if len(own) > 1:
        raise ValueError(f"{own[0]} and {own[1]} both have the name of {file}: take one of them away.")
    return own[0]


def tissues_of(names: Mapping[int, str]) -> tuple[dict[int, str], dict[str, int]]:
    """Tissue of every label value, and the values of what is added to a label map.

    Args:
        names: organ by label value; 0 is the background.

    Raises:
        ValueError: when no label values are left for what is added.

    Examples:
        >>> tissues, added = tissues_of({1: "liver"})
        >>> tissues[0], tissues[1], added["fat"], tissues[added["fat"]]
        ('air', 'liver', 2, 'fat')
    """
    first = max(names) + 1
    if first + len(BODY) > 256:
        raise ValueError(f"label values must leave {len(BODY)} of 255 for the body, but the largest is {max(names)}.")
    added = {name: first + place for place, name in enumerate(BODY)}
    organs = {value: tissue_of_organ(name) for value, name in names.items() if value}
    return {0: "air", **organs, **{value: name for name, value in added.items()}}, added


def body_by_labels(
    labels: np.ndarray, spacing: Sequence[float], added: Mapping[str, int], rng: np.random.Generator
) -> np.ndarray:
    """Fill up the body around labels that name its organs and bones: fat inside, a muscular wall, fat beneath the skin.

    Args:
        labels: (H, W, D) uint8, RAS; 0 is what nothing is known of.
        spacing: voxel size in mm.
        added: values of :func:`tissues_of`.
        rng: draws the thickness of the wall and of the fat.
    """
    step = [max(1, round(_COARSE / size)) for size in spacing]
    coarse_spacing = [size * factor for size, factor in zip(spacing, step, strict=True)]
    known = torch.nn.functional.max_pool3d(torch.from_numpy(labels > 0).float()[None, None], step, ceil_mode=True)
    room = int(np.ceil((_CLOSE + _SKIN_FAT[1]) / _COARSE)) + 1
    padded = np.pad(known[0, 0].numpy() > 0, [(room, room), (room, room), (0, 0)])
    # Slices alone: a trunk has no ends.
    flat = [*coarse_spacing[:2], 1e6]
    near = ndimage.distance_transform_edt(~padded, flat) <= _CLOSE
    trunk = (ndimage.distance_transform_edt(near, flat) > _CLOSE) | padded
    outward, inward = (ndimage.distance_transform_edt(part, flat) for part in (~trunk, trunk))
    below = torch.from_numpy((inward - outward)[room:-room, room:-room].astype(np.float32))  # mm below the trunk's hull
    depth = torch.nn.functional.interpolate(below[None, None], labels.shape, mode="trilinear")[0, 0].numpy()
    empty, filled = labels == 0, labels.copy()
    filled[empty & (depth > -rng.uniform(*_SKIN_FAT))] = added["fat"]
    filled[empty & (depth > 0) & (depth < rng.uniform(*_WALL))] = added["muscle"]
    return filled


def body_by_hu(labels: np.ndarray, image: np.ndarray, added: Mapping[str, int]) -> np.ndarray:
    """Give what is not labeled in a CT the tissue that its HU tell; air around the body stays 0.

    Args:
        labels: (H, W, D) uint8.
        image: (H, W, D) HU.
        added: values of :func:`tissues_of`.
    """
    calm = ndimage.median_filter(image, 3)
    classes = np.searchsorted([low for low, _ in _HU[1:]], calm, side="right")
    values = np.array([added[name] for _, name in _HU], np.uint8)
    places, _ = ndimage.label(calm < _HU[1][0])
    rim = np.unique(np.concatenate([places[edge].ravel() for edge in (0, -1)] + [places[:, [0, -1]].ravel()]))
    outside = np.isin(places, rim[rim > 0])
    return np.where((labels == 0) & ~outside, values[classes], labels).astype(np.uint8)


def deform(
    labels: np.ndarray, seed: int, rotation: float = 0.12, scale: float = 0.15, bend: float = 0.06
) -> np.ndarray:
    """A turned, scaled and bent copy of a label map on the same grid.

    Args:
        labels: (H, W, D) uint8.
        seed: of the draws.
        rotation: largest angle about each axis in radians.
        scale: largest change of size along each axis.
        bend: range of the smooth displacement as a share of the sides, half of it to each side.
    """
    turn: Any = RandAffine(1.0, rotation, scale_range=(scale,) * 3, mode="nearest", padding_mode="zeros")
    turned = turn.set_random_state(seed)(torch.from_numpy(labels)[None].float())
    if bend > 0:
        smooth: Any = RandSmoothDeform(labels.shape, (5, 5, 5), field_mode="trilinear", prob=1.0, def_range=bend)
        turned = smooth.set_random_state(seed + 1)(turned)
    found: np.ndarray = np.asarray(turned[0]).astype(np.uint8)
    return found

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which image of a folder belongs to which label of another one, by the names of the files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..utils import case_name, files_below, some_names
from .readers import is_image_file

__all__ = ["LAYOUTS", "FolderCases", "find_folder_cases", "natural_order"]

#: Known layouts as (image, label): paths below the two folders without the suffix of an image. ``{case}`` is the name
#: of the case, ``{name}`` that of the organ where each organ has a file of its own.
LAYOUTS: dict[str, tuple[str, str]] = {
    "amos": ("{case}", "{case}"),
    "btcv": ("img{case}", "label{case}"),
    "nnunet": ("{case}_0000", "{case}"),
    "totalsegmentator": ("{case}/ct", "{case}/segmentations/{name}"),
    "masks": ("{case}", "{case}/{name}"),
}


@dataclass(frozen=True)
class FolderCases:
    """Cases that were found.

    Attributes:
        images: image by case.
        labels: for each case its label map, or its masks by organ. Only cases with an image.
        unlabeled: cases whose image has no label, or not a mask of every organ.
        strangers: labels that have no image.
    """

    images: dict[str, Path]
    labels: dict[str, Path | dict[str, Path]]
    unlabeled: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> list[str]:
        """What is no case, as lines of text."""
        kinds = (("images without a label", self.unlabeled), ("labels without an image", self.strangers))
        return [f"left out, {kind}: {len(names)} ({some_names(names)})" for kind, names in kinds if names]


def find_folder_cases(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    names: Sequence[str],
    layout: str | tuple[str, str] | None = None,
) -> FolderCases:
    """Find images and labels that belong together; nothing is read.

    Args:
        images: folder of images.
        labels: folder of label maps or of one mask for each organ; may be the same.
        names: organs, needed where each has a file of its own.
        layout: a key of :data:`LAYOUTS`, or two patterns like its values. None takes the one that finds most cases.

    Raises:
        FileNotFoundError: when a folder does not exist.
        ValueError: for an unknown layout or bad patterns, when no image has a label, or when two files belong to the
            same case.
    """
    for folder in (images, labels):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder {folder}.")
    if isinstance(layout, str) and layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    patterns = [LAYOUTS[layout]] if isinstance(layout, str) else list(LAYOUTS.values()) if layout is None else [layout]
    (image_files, twice), (label_files, again) = (_volumes(Path(folder).absolute()) for folder in (images, labels))
    found = [_pair(image_files, label_files, *pattern, names) for pattern in patterns]
    best = max(found, key=lambda cases: len(cases.labels))
    if not best.labels:
        raise ValueError(
            f"no image in {images} has a label in {labels} (layouts: "
            + "; ".join(f"{image} and {label}" for image, label in patterns)
            + "): say how the files are called with --image-pattern and --label-pattern of c2f prepare folders."
        )
    _check_single(best, twice | again)
    return best


def _volumes(folder: Path) -> tuple[dict[str, Path], dict[Path, Path]]:
    """Volume files by their path below a folder without the suffix of an image, and by file another one of its path."""
    found: dict[str, Path] = {}
    twice: dict[Path, Path] = {}
    for path in files_below(folder):
        if is_image_file(path):
            first = found.setdefault((path.relative_to(folder).parent / case_name(path)).as_posix(), path)
            if first != path:
                twice[first] = path
    return found, twice


def _check_single(cases: FolderCases, twice: Mapping[Path, Path]) -> None:
    """Refuse a case one of whose files is there twice, such as an old c1.nii beside c1.nii.gz: which one is meant?"""
    for case, label in cases.labels.items():
        for path in (cases.images[case], *(label.values() if isinstance(label, dict) else [label])):
            if path in twice:
                raise ValueError(f"{path} and {twice[path]} both belong to the case {case}: take one of them away.")


def _pair(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_pattern: str, label_pattern: str, names: Sequence[str]
) -> FolderCases:
    found = {case: path for case, _, path in _matches(images, image_pattern)}
    given: dict[str, Path | dict[str, Path]] = {}
    if "{name}" in label_pattern:
        masks: dict[str, dict[str, Path]] = {}
        for case, name, path in _matches(labels, label_pattern):
            masks.setdefault(case, {})[name] = path
        given |= {case: {n: of[n] for n in names} for case, of in masks.items() if names and set(names) <= set(of)}
    else:
        given |= {case: path for case, _, path in _matches(labels, label_pattern)}
    # A label map that lies beside its image under the same pattern would be the image itself.
    given = {case: label for case, label in given.items() if label != found.get(case)}
    paired = {case: label for case, label in given.items() if case in found}
    return FolderCases(
        found, paired, sorted(found.keys() - paired.keys(), key=natural_order), sorted(given.keys() - found.keys())
    )


def _matches(files: Mapping[str, Path], pattern: str) -> list[tuple[str, str, Path]]:
    """(case, organ, path) of the files that a pattern describes."""
    if pattern.count("{case}") != 1 or pattern.count("{name}") > 1:
        raise ValueError(f"a pattern needs {{case}} once, such as img{{case}}, got {pattern!r}.")
    expression = re.escape(pattern).replace(re.escape("{case}"), "(?P<case>[^/]+)")
    compiled = re.compile(expression.replace(re.escape("{name}"), "(?P<name>[^/]+)"))
    matched = ((compiled.fullmatch(name), path) for name, path in files.items())
    return [(m["case"], m.groupdict().get("name", ""), path) for m, path in matched if m]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts case 2 before case 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

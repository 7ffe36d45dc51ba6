# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set of synthetic CT, drawn from label maps with random contrast."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..transforms.volumes import SPACING_MM
from ..utils import SLICES_KEY
from .anatomies import Anatomy, find_anatomies, read_names, tissues_of
from .datalist import cases_by_split, label_names
from .description import Preparer, add_cases, check_output, describe_dataset, drop_description, write_description
from .slices import STACK_STEP
from .synthetic_volumes import check_extent, draw_until_held, draw_volume
from .writers import write_nifti

__all__ = ["SyntheticPreparer", "draw_volume"]

#: mm along the body: more than anyone measures.
MOST_EXTENT = 3000.0


class SyntheticPreparer(Preparer):
    """CT drawn from label maps."""

    help = "synthetic CT drawn from label maps, tissues of random contrast"
    has_folds = False

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--labels``, ``--names``, ``--images``, and how many volumes of which size are drawn."""
        parser.add_argument("--labels", type=Path, nargs="+", required=True, help="label maps, or folders of them")
        named = "text file, a label value and the organ's name in each line"
        parser.add_argument("--names", type=Path, required=True, help=named)
        images = "folder of CTs of the same names, where label maps leave much of the body unlabeled"
        parser.add_argument("--images", type=Path, help=images)
        parser.add_argument("--target", default="pancreas", help="name of the target (default: pancreas)")
        parser.add_argument("--label-value", type=int, default=1, help="of the target in the new labels (default: 1)")
        parser.add_argument("--count", type=int, required=True, help="volumes to train on, the label maps in turn")
        held = "label maps whose volumes are the split validation, by name; none of them is trained on"
        parser.add_argument("--validation", nargs="+", default=[], metavar="NAME", help=held)
        parser.add_argument("--validation-count", type=int, default=4, help="volumes to validate on (default: 4)")
        parser.add_argument("--spacing", type=float, default=2.0, help="voxel size in mm (default: 2)")
        extent = "mm along the body, around the target (default: 220)"
        parser.add_argument("--extent", type=float, default=220.0, help=extent)
        every = "keep each Nth axial slice alone, as a stack of single slices beside such (default: 1, volumes)"
        parser.add_argument("--every", type=int, default=1, metavar="N", help=every)
        others = "folder of a dataset.json whose cases are listed, too, such as those of other label maps"
        parser.add_argument("--add-to", type=Path, metavar="FOLDER", help=others)
        parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """See :class:`Preparer`."""
        names, anatomies = read_names(options.names), find_anatomies(options.labels, options.images)
        _check_output(options)
        target, others = _check(options, names, anatomies), cases_by_split(options.add_to)
        held = [anatomy for anatomy in anatomies if anatomy.name in options.validation]
        trained = [anatomy for anatomy in anatomies if anatomy.name not in options.validation]
        output = options.output.absolute()
        # Beside cases of folds they are trained on in every one.
        fold: dict[str, Any] = {"fold": None} if any("fold" in case for case in others.get("training", ())) else {}

        def draw(split: str, sources: Sequence[Anatomy], count: int) -> list[dict[str, Any]]:
            entries = []
            for number in tqdm(range(count), desc=split, unit="volume"):
                anatomy = sources[number % len(sources)]
                place = f"{options.seed} {split} {number} {anatomy.name}"
                seed, drawn = draw_until_held(place, anatomy, names, target, options.spacing, options.extent)
                image, label, affine, stack = _each_nth(*drawn, options.every)
                name = f"synthetic_{split}_{number:03d}"
                paths = {key: output / f"{key}s" / f"{name}.nii.gz" for key in ("image", "label")}
                drop_description(output)
                write_nifti(paths["image"], image, affine)
                write_nifti(paths["label"], label * np.uint8(options.label_value), affine)
                source = {"anatomy": anatomy.name, "seed": seed, **fold}
                entries.append({**{k: str(p) for k, p in paths.items()}, **source, **stack})
            return entries

        validation = draw("validation", held, options.validation_count) if held else []
        training = draw("training", trained, options.count)
        known = {} if options.add_to is None else label_names(options.add_to)
        labels = {options.label_value: options.target} | {value: name for value, name in known.items() if value}
        content = describe_dataset(output.name, labels, training, folds=None, further={"synthetic": True})
        if validation:
            content |= {"validation": validation, "numValidation": len(validation)}
        content = add_cases(content, others)
        yield f"{len(training)} volumes of {len(trained)} label maps to train on"
        yield f"{len(validation)} volumes of {len(held)} others to validate on"
        for split in (split for split, cases in others.items() if cases):
            yield f"{len(others[split])} cases of {options.add_to} under {split}"
        yield f"labels: {', '.join(f'{value} {labels[value]}' for value in sorted(labels))}"
        yield str(write_description(output, content))


def _each_nth(
    image: np.ndarray, label: np.ndarray, affine: np.ndarray, every: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Each Nth axial slice of a volume as a stack of single ones, with its affine, and what the entry says of it.

    They are counted from the first slice; where none of these shows the target, which the volume holds, from the one
    by which its middle slice is among them.
    """
    if every == 1:
        return image, label, affine, {}
    found = np.flatnonzero(label.any(axis=(0, 1)))
    start = 0 if (found % every == 0).any() else int(found[len(found) // 2]) % every
    stated = affine @ np.diag([1.0, 1.0, STACK_STEP / affine[2, 2], 1.0])
    said = {SLICES_KEY: True, "slice_numbers": list(range(start, image.shape[2], every))}
    return image[..., start::every], label[..., start::every], stated, said


def _check(options: argparse.Namespace, names: Mapping[int, str], anatomies: Sequence[Anatomy]) -> int:
    """Label value of the target.

    Raises:
        ValueError: for options that do not fit.
    """
    target = _target_value(options, names)
    known = [anatomy.name for anatomy in anatomies]
    for name in options.validation:
        if name not in known:
            raise ValueError(f"--validation must name label maps, {', '.join(known)}, got {name!r}.")
    if len(set(options.validation)) == len(known):
        raise ValueError("every label map is held out by --validation: leave one to train on.")
    _check_numbers(options)
    for anatomy in anatomies:
        check_extent(anatomy, options.extent)
    known_names = {} if options.add_to is None else label_names(options.add_to)
    if known_names and known_names.get(options.label_value) != options.target:
        raise ValueError(
            f"{options.add_to} has the labels {known_names}, and --label-value {options.label_value} is to be "
            f"{options.target}: give the value that it has there."
        )
    tissues_of(names)
    return target


def _target_value(options: argparse.Namespace, names: Mapping[int, str]) -> int:
    """The one label value of the target's name."""
    values = [value for value, name in names.items() if name == options.target]
    if not values:
        raise ValueError(f"--target must be a name in {options.names}, got {options.target!r}.")
    if len(values) > 1:  # all would be painted as the target, and one be labeled
        told = " and ".join(map(str, values))
        raise ValueError(
            f"{options.names} gives the name of the --target, {options.target}, to the label values {told}, but the "
            "target is one value: join them in the label maps, or give the others other names."
        )
    return values[0]


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuse numbers out of their range."""
    for option, value, least, most in (
        ("count", options.count, 1, math.inf),
        ("validation-count", options.validation_count, 1, math.inf),
        ("label-value", options.label_value, 1, 255),
        ("spacing", options.spacing, 0.5, SPACING_MM[1]),
        ("extent", options.extent, 8 * options.spacing, MOST_EXTENT),
        ("every", options.every, 1, options.extent / options.spacing),
    ):
        if not value >= least:  # NaN is neither
            raise ValueError(f"--{option} must be at least {least:g}, got {value:g}.")
        if value > most:
            raise ValueError(f"--{option} must be at most {most:g}, got {value:g}.")


def _check_output(options: argparse.Namespace) -> None:
    """Refuse an output folder that is taken, or whose volumes the next run would draw from, held-out ones, too.

    Raises:
        FileExistsError: when it holds a data set of another kind.
        ValueError: when volumes would be written to where label maps, CTs or the cases to add are read from.
    """
    given = [*options.labels, *([] if options.images is None else [options.images])]
    read = {(place if place.is_dir() else place.parent).resolve(): place for place in given}
    for written in (options.output / "labels", options.output / "images"):
        if written.resolve() in read:
            place = read[written.resolve()]
            raise ValueError(f"volumes would be written to {written}, where {place} is read: choose another --output.")
    if options.add_to is not None and options.add_to.resolve() == options.output.resolve():
        raise ValueError(
            f"--add-to {options.add_to} is the --output, whose volumes are drawn again: choose another one."
        )
    check_output(options.output, options.output.absolute().name, "synthetic")

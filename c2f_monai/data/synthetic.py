# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set of synthetic CT, drawn from label maps with random contrast."""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation
from tqdm import tqdm

from ..transforms import ResampleToSpacingd
from ..transforms.synthetic_ct import RandSyntheticCT
from ..transforms.volumes import SPACING_MM
from ..utils import SLICES_KEY
from .anatomies import Anatomy, body_by_hu, body_by_labels, deform, find_anatomies, read_names, tissues_of
from .datalist import cases_by_split, label_names
from .description import Preparer, add_cases, check_output, describe_dataset, drop_description, write_description
from .readers import read_image
from .slices import STACK_STEP
from .writers import write_nifti

__all__ = ["SyntheticPreparer", "draw_volume"]

#: mm along the body: more than anyone measures.
MOST_EXTENT = 3000.0
#: mm along the body that a deformation may carry in from beyond the ends of a volume.
_BEYOND = 30.0


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
                seed = zlib.crc32(f"{options.seed} {split} {number} {anatomy.name}".encode()) >> 1
                image, label, affine = draw_volume(anatomy, names, target, seed, options.spacing, options.extent)
                image, label, affine, stack = _each_nth(image, label, affine, options.every)
                name = f"synthetic_{split}_{number:03d}"
                paths = {key: output / f"{key}s" / f"{name}.nii.gz" for key in ("image", "label")}
                drop_description(output)
                write_nifti(paths["image"], image, affine)
                write_nifti(paths["label"], label * np.uint8(options.label_value), affine)
                drawn = {"anatomy": anatomy.name, "seed": seed, **fold}
                entries.append({**{k: str(p) for k, p in paths.items()}, **drawn, **stack})
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


def draw_volume(
    anatomy: Anatomy, names: Mapping[int, str], target: int, seed: int, spacing: float = 2.0, extent: float = 220.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CT and its label; the same arguments give the same voxels.

    Args:
        anatomy: to draw from.
        names: organ by label value.
        target: label value of the target.
        seed: of all draws.
        spacing: voxel size in mm.
        extent: mm along the body, around the target.

    Returns:
        image (H, W, D) int16 HU, RAS; label of the same shape, uint8, 1 in the target; affine (4, 4).

    Raises:
        ValueError: when the label map does not hold the target, or holds a value without a name.
    """
    tissues, added = tissues_of(names)
    rng = np.random.default_rng(seed)
    upright = Orientation(axcodes="RAS", labels=None)
    stored: Any = upright(read_image(anatomy.labels))
    steps = stored.pixdim.tolist()
    values = np.rint(stored[0].numpy())
    if strange := sorted(set(np.unique(values).tolist()) - {0, *names}):  # before a cast wraps what is above 255
        told = ", ".join(f"{value:g}" for value in strange)
        raise ValueError(f"{anatomy.labels} holds the label values {told}, which have no name: add them to --names.")
    labels = values.astype(np.uint8)
    part = _around(labels == target, steps[2], extent + 2 * _BEYOND, rng, anatomy)
    labels = labels[..., part]
    if anatomy.image is None:
        labels = body_by_labels(labels, steps, added, rng)
    else:
        scan = np.asarray(upright(read_image(anatomy.image))[0])[..., part]
        labels = body_by_hu(labels, scan, added)
    labels = deform(labels, seed)
    labels = labels[..., _around(labels == target, steps[2], extent, rng, anatomy)]
    affine = torch.diag(torch.tensor([*steps, 1.0], dtype=torch.float64))
    whole = MetaTensor(torch.from_numpy(np.ascontiguousarray(labels))[None], affine=affine)
    image = RandSyntheticCT(tissues).set_random_state(seed)(whole)
    item: dict[Any, torch.Tensor] = {
        "image": image,
        "label": MetaTensor((whole.as_tensor() == target).float(), affine=affine),
    }
    drawn = ResampleToSpacingd(("image", "label"), (spacing,) * 3, mode="bilinear")(item)
    hu = np.rint(drawn["image"][0].numpy()).astype(np.int16)
    return hu, (drawn["label"][0].numpy() > 0.5).astype(np.uint8), np.diag([spacing, spacing, spacing, 1.0])


def _each_nth(
    image: np.ndarray, label: np.ndarray, affine: np.ndarray, every: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Each Nth axial slice of a volume as a stack of single ones, with its affine, and what the entry says of it."""
    if every == 1:
        return image, label, affine, {}
    stated = affine @ np.diag([1.0, 1.0, STACK_STEP / affine[2, 2], 1.0])
    said = {SLICES_KEY: True, "slice_numbers": list(range(0, image.shape[2], every))}
    return image[..., ::every], label[..., ::every], stated, said


def _around(mask: np.ndarray, step: float, extent: float, rng: np.random.Generator, anatomy: Anatomy) -> slice:
    """Slices around the target, its middle up to a tenth of the extent from theirs."""
    found = np.flatnonzero(mask.any(axis=(0, 1)))
    if not len(found):
        raise ValueError(f"{anatomy.labels} does not hold the target: take it out of --labels.")
    middle = (found[0] + found[-1]) / 2 + rng.uniform(-0.1, 0.1) * extent / step
    start = max(0, round(middle - extent / step / 2))
    return slice(start, min(mask.shape[2], start + round(extent / step)))


def _check(options: argparse.Namespace, names: Mapping[int, str], anatomies: Sequence[Anatomy]) -> int:
    """Label value of the target.

    Raises:
        ValueError: for options that do not fit.
    """
    target = next((value for value, name in names.items() if name == options.target), None)
    if target is None:
        raise ValueError(f"--target must be a name in {options.names}, got {options.target!r}.")
    known = [anatomy.name for anatomy in anatomies]
    for name in options.validation:
        if name not in known:
            raise ValueError(f"--validation must name label maps, {', '.join(known)}, got {name!r}.")
    if len(set(options.validation)) == len(known):
        raise ValueError("every label map is held out by --validation: leave one to train on.")
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
    known_names = {} if options.add_to is None else label_names(options.add_to)
    if known_names and known_names.get(options.label_value) != options.target:
        raise ValueError(
            f"{options.add_to} has the labels {known_names}, and --label-value {options.label_value} is to be "
            f"{options.target}: give the value that it has there."
        )
    tissues_of(names)
    return target


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

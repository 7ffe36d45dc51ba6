# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``check``: what a training run will read, need and take, before anything starts."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from ..data.datalist import label_names, load_datalist
from ..data.survey import CaseHeader, CaseVoxels, find_copies, read_headers, read_voxels
from ..transforms import UNNAMED_LABELS, all_label_values
from ..utils import bundle_root, case_name, config_file, root_cause, some_names
from .training_config import IterationClock, read_training_config, strip_to_iterations

__all__ = [
    "CheckOptions",
    "header_lines",
    "label_lines",
    "network_line",
    "room_lines",
    "target_line",
    "time_line",
    "voxel_lines",
]

_WARMUP = 0.2


@dataclass(frozen=True)
class CheckOptions:
    """What the configuration says about data and time."""

    fold: int | None
    holdout: float
    pixdim: Sequence[float] | None
    label_value: Sequence[int]
    views: Sequence[str]
    cache_dir: str | None
    epochs: int
    items_per_epoch: int | None
    batch_size: int
    known_labels: Sequence[int] | None = None

    @classmethod
    def of(cls, parser: ConfigParser) -> CheckOptions:
        """Those of a training configuration."""
        found = {name: parser.get_parsed_content(name) for name in cls.__dataclass_fields__}
        # One value, several of one target, or a list for each of several targets.
        return cls(**{**found, "label_value": list(all_label_values(found["label_value"]))})


def run(args: argparse.Namespace) -> None:
    """Print the report.

    Raises:
        ValueError: When training would stop at a case; the report is printed before. For a time that is none.
    """
    for option, value in (("seconds-per-iteration", args.seconds_per_iteration), ("measure", args.measure)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{option} must be a number of seconds above 0, got {value:g}.")
    root = args.bundle_root or bundle_root()
    files = [str(config_file(name)) for name in args.config_file or [root / "configs" / "train.json"]]
    parser = read_training_config(files, str(root), str(args.dataset_dir), args.option)
    options = CheckOptions.of(parser)
    splits = _splits(args.dataset_dir, options)
    headers = {split: read_headers(cases) for split, cases in splits.items()}
    print("\n".join(header_lines(headers, options.pixdim)))
    usable = {split: [h for h in found if h.shape] for split, found in headers.items()}
    print(target_line(options.label_value, label_names(args.dataset_dir)))
    voxels = _voxels(splits, options) if args.voxels else {}
    counts = [found.counts for found in voxels.values() if found.counts]
    copies = find_copies(splits) if args.voxels else []
    if args.voxels:
        print("\n".join(label_lines(counts, options.label_value)))
        print("\n".join(voxel_lines(voxels, copies)))
    else:
        print("foreground: not known from headers, add --voxels to read images and labels")
    print("\n".join(room_lines(usable, options)))
    print(network_line(parser))
    # A case that training stops at; the test split may be without labels.
    bad = [h.name for split in ("training", "validation") for h in headers[split] if h.problem]
    bad += [name for name, found in voxels.items() if found.problems and name not in bad]
    seconds = args.seconds_per_iteration
    if args.measure and not bad:
        seconds = _measure(parser, splits["training"][:1], args.measure)
    print(time_line(options, seconds, "measured" if args.measure else "given"))
    if bad:
        raise ValueError(f"training would stop at {len(bad)} cases: {some_names(bad)}.")
    if copies:
        raise ValueError(f"{copies[0][1]} is the same file as {copies[0][0]}: take it out of one of the splits.")
    if counts and not any(count.get(value) for count in counts for value in options.label_value):
        raise ValueError(f"no label holds the target {options.label_value}: set label_value.")


def header_lines(headers: Mapping[str, Sequence[CaseHeader]], pixdim: Sequence[float] | None) -> list[str]:
    """Cases, sizes, spacings, orientations and problems, as lines of text."""
    cases = [header for found in headers.values() for header in found if header.shape]
    lines = ["cases: " + ", ".join(f"{split} {len(found)}" for split, found in headers.items())]
    if cases:
        lines.append(f"voxels R, A, S:       {_ranges([case.shape for case in cases], 'd')}")
        lines.append(f"spacing R, A, S [mm]: {_ranges([case.spacing for case in cases], '.3g')}")
        if pixdim is not None:
            lines.append(f"working grid:         {_ranges([case.grid(pixdim) for case in cases], 'd')} at {pixdim} mm")
        codes = Counter(case.orientation for case in cases).most_common()
        lines.append("orientations: " + ", ".join(f"{code} {count}" for code, count in codes))
    problems = [(split, header) for split, found in headers.items() for header in found if header.problem]
    unlabeled = sum(header.problem == "it has no label" for _, header in problems)
    lines.append(f"without a label: {unlabeled}; other problems: {len(problems) - unlabeled}")
    return lines + [f"  {split} {header.name}: {header.problem}" for split, header in problems]


def target_line(label_value: Sequence[int], names: Mapping[int, str]) -> str:
    """The target by the names of ``dataset.json``, as a line of text.

    Args:
        label_value: values of the target.
        names: name by value.
    """
    target = ", ".join(f"{value} {names.get(value, 'without a name')}" for value in label_value)
    others = ", ".join(f"{value} {name}" for value, name in names.items() if value and value not in label_value)
    return f"target: {target}" + (f"; other labels: {others}" if others else "")


def voxel_lines(voxels: Mapping[str, CaseVoxels], copies: Sequence[tuple[str, str]]) -> list[str]:
    """What training would stop at in the voxels, and images that two splits share, as lines of text.

    Args:
        voxels: by the name of the case.
        copies: pairs of paths.
    """
    problems = [f"  {name}: {problem}" for name, found in voxels.items() for problem in found.problems]
    shared = [f"  {second} is the same file as {first}" for first, second in copies]
    return [f"problems in voxels: {len(problems)}; images in two splits: {len(shared)}", *problems, *shared]


def label_lines(counts: Sequence[Mapping[float, int]], label_value: Sequence[int]) -> list[str]:
    """Label values, the target's share of the volume, and cases without any target, as lines of text."""
    present = Counter(value for count in counts for value in count)
    lines = ["label values: " + ", ".join(f"{value:g} in {present[value]} cases" for value in sorted(present))]
    shares = [sum(count.get(value, 0) for value in label_value) / sum(count.values()) for count in counts]
    if shares:
        low, middle, high = (100 * share for share in (min(shares), statistics.median(shares), max(shares)))
        lines.append(
            f"foreground: {low:.3g} / {middle:.3g} / {high:.3g} % of the volume (least / median / most), none in "
            f"{sum(share == 0 for share in shares)} cases"
        )
    return lines


def room_lines(headers: Mapping[str, Sequence[CaseHeader]], options: CheckOptions) -> list[str]:
    """Memory or disk that the training volumes need, and what is free, as lines of text."""
    voxels = [math.prod(header.grid(options.pixdim)) for header in headers["training"]]
    total, largest = sum(voxels), max(voxels, default=0)
    on_disk = 3 * len(options.views) * total
    memory = 3 * total if options.cache_dir is None else 0
    lines = [f"training volumes: {3 * total / 1e9:.3g} GB of memory, or {on_disk / 1e9:.3g} GB of disk with cache_dir"]
    if options.cache_dir is not None:
        place = Path(options.cache_dir).absolute()
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        lines.append(f"cache_dir {place}: {free / 1e9:.3g} GB free" + (", not enough" if free < on_disk else ""))
    # Two threads read, each with image and label in float32 before and after resampling.
    reading = 2 * 4 * 4 * largest
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    known = f" of {physical / 1e9:.3g} GB" + (", not enough" if memory + reading > physical else "") if physical else ""
    lines.append(f"memory for them while reading: about {(memory + reading) / 1e9:.3g} GB{known}")
    return lines


def network_line(parser: ConfigParser) -> str:
    """Size of the network and of what training keeps beside it, as a line of text; nothing is allocated."""
    with torch.device("meta"):
        values = sum(parameter.numel() for parameter in parser.get_parsed_content("network_def").parameters())
    # In float32: weights and gradients, and up to two more of the optimizer (one of SGD's, two of Adam's means).
    return (
        f"network: {values / 1e6:.3g} million weights; with gradients and the optimizer {12 * values / 1e9:.3g} GB "
        f"(SGD) or {16 * values / 1e9:.3g} GB (Adam) of the device's memory, activations aside"
    )


def time_line(options: CheckOptions, seconds: float | None, source: str) -> str:
    """Training time to expect, as a line of text.

    Args:
        options: of the run.
        seconds: of an iteration; None where not known.
        source: where ``seconds`` comes from.
    """
    if options.items_per_epoch is None:
        return "training time: not known, items_per_epoch is null (one pass over the slices with target)"
    # The trainer's loader keeps the last, smaller batch.
    iterations = options.epochs * math.ceil(options.items_per_epoch / options.batch_size)
    start = f"training: {options.epochs} epochs, {iterations} iterations of {options.batch_size} slabs of each view"
    if seconds is None:
        return f"{start}; time: give --seconds-per-iteration, or --measure 30"
    return f"{start}; {iterations * seconds / 3600:.3g} hours at {seconds:.3g} s ({source}), without validation"


def _voxels(splits: Mapping[str, Sequence[Mapping[str, Any]]], options: CheckOptions) -> dict[str, CaseVoxels]:
    """Voxels of the labeled cases that are trained on or validated, by name, or path where it is another's."""
    values = {*(UNNAMED_LABELS if options.known_labels is None else options.known_labels), *options.label_value}
    cases = [case for split in ("training", "validation") for case in splits[split]]
    labeled = [case for case in cases if os.path.exists(case.get("label", ""))]
    found: dict[str, CaseVoxels] = {}
    for case in labeled:
        name = case_name(str(case["image"]))
        # Images of several folders may be called alike.
        found[str(case["image"]) if name in found else name] = read_voxels(case, sorted(values))
    return found


def _splits(folder: Path, options: CheckOptions) -> dict[str, list[dict[str, Any]]]:
    """Cases of each split, also of files that do not exist; no test split is no error."""
    of: dict[str, Any] = {"holdout": options.holdout, "fold": options.fold, "check_files": False}
    found = {split: load_datalist(folder, split, **of) for split in ("training", "validation")}
    try:
        found["test"] = load_datalist(folder, "test", **of)
    except ValueError:
        found["test"] = []
    return found


def _ranges(values: Sequence[Sequence[float]], form: str) -> str:
    """Least and most along each axis."""
    axes = zip(*values, strict=True)
    return ", ".join(f"{min(axis):{form}}..{max(axis):{form}}" for axis in map(list, axes))


def _measure(parser: ConfigParser, cases: list[dict[str, Any]], seconds: float) -> float:
    """Mean seconds of an iteration of the first stage, from training on some cases; nothing is written.

    Raises:
        ValueError: when training cannot begin, with the reason.
    """
    strip_to_iterations(parser)
    parser["train#dataset#data"] = cases
    parser["cache_dir"] = None
    try:
        trainer = parser.get_parsed_content("train#trainer")
    except RuntimeError as error:  # names the component that failed, not why
        raise ValueError(f"training cannot be measured: {root_cause(error)}") from error
    clock = IterationClock(seconds, warmup=seconds * _WARMUP)
    clock.attach(trainer)
    trainer.run()
    return statistics.fmean(clock.laps)

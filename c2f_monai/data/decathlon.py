# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks of the Medical Segmentation Decathlon: a ``dataset.json`` with folds; the files stay where they are."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist, load_decathlon_properties

from .description import Preparer, describe_dataset, description_lines, write_description
from .readers import image_shape

__all__ = ["DecathlonPreparer", "find_task", "list_decathlon"]


class DecathlonPreparer(Preparer):
    """A task of the Decathlon, such as MSD Pancreas."""

    help = "a task of the Medical Segmentation Decathlon; its files stay where they are"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """``--input`` and ``--task``."""
        parser.add_argument("--input", type=Path, required=True, help="the task's folder, or the folder of the tasks")
        parser.add_argument("--task", help="number or name of the task, such as 7, where --input holds several")

    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """See :class:`Preparer`."""
        task = find_task(options.input, options.task)
        if _is_same_place(options.output, task):
            raise ValueError(f"--output must be another folder than the task's own {task}: its dataset.json stays.")
        content = list_decathlon(task, options.folds, options.fold_seed)
        if content["modality"]["0"] != "CT":
            yield f"The images are {content['modality']['0']}, not CT: the window of the configuration is in HU."
        path = write_description(options.output, content)
        yield from description_lines(content)
        yield str(path)


def find_task(folder: str | os.PathLike[str], task: str | int | None = None) -> Path:
    """Folder of a Decathlon task: the folder itself, or the one below it whose number or name is given.

    Args:
        folder: a task's folder, with its ``dataset.json``, or the folder of the tasks.
        task: number (7), folder name (Task07_Pancreas) or organ (Pancreas).

    Raises:
        FileNotFoundError: when there is no such task.
    """
    place = Path(folder).absolute()
    if task is None:
        if not (place / "dataset.json").is_file():
            raise FileNotFoundError(f"{place} has no dataset.json: give a task's folder, or --task.")
        return place
    found = sorted(path.parent for path in place.glob("Task*/dataset.json"))
    for path in found:
        number, _, organ = path.name[len("Task") :].lower().partition("_")
        if str(task).lower() in (path.name.lower(), organ, number, number.lstrip("0")):
            return path
    raise FileNotFoundError(f"{place} holds no task {task!r}; it holds {', '.join(p.name for p in found) or 'none'}.")


def list_decathlon(folder: str | os.PathLike[str], folds: int = 4, seed: int | None = None) -> dict[str, Any]:
    """Content of a ``dataset.json`` with folds for a Decathlon task, read with MONAI's tools: headers only.

    Args:
        folder: of the task.
        folds: number of folds. Defaults to 4.
        seed: see :func:`c2f_monai.data.folds.assign_folds`; None counts in the order of the file names.

    Raises:
        FileNotFoundError: when listed files are missing.
        ValueError: when ``dataset.json`` is not the Decathlon's, lists a case without a label under "training", several
            files as one image, or an image twice, or an image has several values in a voxel.
    """
    place = Path(folder).absolute()
    source = place / "dataset.json"
    try:
        properties = load_decathlon_properties(source, ["name", "labels", "modality"])
        training = load_decathlon_datalist(source, True, "training", place)
        test = load_decathlon_datalist(source, True, "test", place) if _has(source, "test") else []
        labels = {int(value): str(label) for value, label in properties["labels"].items()}
        modality = str(properties["modality"]["0"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is not of the Decathlon's layout: {error}.") from error
    _check_cases(source, training, test)
    wanted = [case[key] for case in [*training, *test] for key in ("image", "label") if key in case]
    if missing := [path for path in wanted if not os.path.isfile(path)]:
        raise FileNotFoundError(f"{len(missing)} of {len(wanted)} files that {source} lists do not exist: {missing[0]}")
    for case in [*training, *test]:
        image_shape(case["image"])
    return describe_dataset(
        str(properties["name"]),
        labels,
        sorted(training, key=lambda case: case["image"]),
        sorted(test, key=lambda case: case["image"]),
        folds,
        seed,
        modality=modality,
    )


def _check_cases(source: Path, training: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]]) -> None:
    """Refuse cases that are none of one image and, to train on, one label; and an image that is trained on and tested.

    Raises:
        ValueError: naming the first.
    """
    for split, cases, needed in (("training", training, ("image", "label")), ("test", test, ("image",))):
        for case in cases:
            for key in ("image", "label"):
                if (key in needed or key in case) and not isinstance(case.get(key), str):
                    raise ValueError(
                        f"{source} must list one file as the {key!r} of each case under {split!r}, got {dict(case)}: "
                        "images of several channels cannot be used, and those without a label belong under 'test'."
                    )
    seen: set[str] = set()
    for case in [*training, *test]:
        place = os.path.realpath(case["image"])
        if place in seen:  # trained on and tested, or in two folds
            raise ValueError(f"{source} lists the image {case['image']} twice: take one of the cases out.")
        seen.add(place)


def _is_same_place(first: Path, second: Path) -> bool:
    """Whether two paths are one folder, by whatever links they name it."""
    if first.exists() and second.exists():
        return os.path.samefile(first, second)  # also where a disk takes upper and lower case for the same
    return os.path.realpath(first) == os.path.realpath(second)


def _has(source: Path, split: str) -> bool:
    return bool(json.loads(source.read_text(encoding="utf-8")).get(split))

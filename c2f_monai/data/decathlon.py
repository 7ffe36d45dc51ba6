# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``dataset.json`` in the layout of the Medical Segmentation Decathlon, with folds, and the Decathlon's own tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist, load_decathlon_properties

from ..utils import atomic_write
from .folds import assign_folds
from .readers import image_shape

__all__ = ["describe_dataset", "find_task", "list_decathlon", "write_description"]


def describe_dataset(
    name: str,
    labels: Mapping[int, str],
    training: Sequence[Mapping[str, Any]],
    test: Sequence[Mapping[str, Any]] = (),
    folds: int | None = 4,
    seed: int | None = None,
    modality: str = "CT",
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of a ``dataset.json``.

    Args:
        name: of the data set.
        labels: name of each label value; 0, the background, is added.
        training: labeled cases, in the order that folds are counted in. Each gets the key "fold", as in MONAI's
            ``Auto3DSeg``, unless there are fewer cases than folds.
        test: cases of a test split, if there is one.
        folds: number of folds. Defaults to 4. None: cases bring their own "fold", or none.
        seed: see :func:`c2f_monai.data.folds.assign_folds`.
        modality: of the images. Defaults to CT.
        further: further keys.

    Raises:
        ValueError: without any labeled case.
    """
    if not training:
        raise ValueError(f"{name}: there is no labeled case.")
    cases = [dict(case) for case in training]
    if folds is not None and len(cases) >= folds:
        for case, fold in zip(cases, assign_folds(len(cases), folds, seed), strict=True):
            case["fold"] = fold
    return {
        "name": name,
        "tensorImageSize": "3D",
        "modality": {"0": modality},
        "labels": {"0": "background", **{str(value): labels[value] for value in sorted(labels) if value}},
        **(further or {}),
        "numTraining": len(cases),
        "numTest": len(test),
        "training": cases,
        **({"test": [dict(case) for case in test]} if test else {}),
    }


def write_description(folder: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write ``dataset.json`` to a folder, whole or not at all. Files below the folder are listed by relative paths.

    Raises:
        FileExistsError: when the folder holds the ``dataset.json`` of another data set.
    """
    path = Path(folder).absolute() / "dataset.json"
    if path.exists() and (known := json.loads(path.read_text()).get("name")) != content["name"]:
        raise FileExistsError(f"{path} describes the data set {known!r} already; choose another --output.")
    listed = {
        split: [{key: _shortest(value, path.parent) for key, value in case.items()} for case in content[split]]
        for split in ("training", "test")
        if split in content
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps({**content, **listed}, indent=1) + "\n")
    return path


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
        ValueError: when ``dataset.json`` is not the Decathlon's, or an image has several values in a voxel.
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


def _has(source: Path, split: str) -> bool:
    return bool(json.loads(source.read_text()).get(split))


def _shortest(value: Any, folder: Path) -> Any:
    """A path relative to a folder where it lies below it, else as it is."""
    if isinstance(value, str | os.PathLike) and Path(value).is_absolute() and Path(value).is_relative_to(folder):
        return Path(value).relative_to(folder).as_posix()
    return str(value) if isinstance(value, os.PathLike) else value

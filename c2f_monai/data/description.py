# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing ``dataset.json`` in the layout of the Medical Segmentation Decathlon, with folds, and what prepares one."""

from __future__ import annotations

import argparse
import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils import SLICES_KEY, atomic_write
from .datalist import read_description
from .folds import assign_folds
from .patients import patient_of, patients_in_order

__all__ = [
    "Preparer",
    "add_cases",
    "check_output",
    "describe_dataset",
    "description_lines",
    "drop_description",
    "write_description",
]

#: Keys that tell the kind of a data set: of single slices, synthetic, labeled by a model. Others have none of them.
_KINDS = (SLICES_KEY, "synthetic", "pseudo_labels")
#: Keys that :func:`describe_dataset` always writes, and keys that others have beside these: the Decathlon and what
#: follows it, such as nnU-Net's first version. Its second, and MONAI's lists, lack some of the first.
_OWN_KEYS = frozenset({"name", "tensorImageSize", "modality", "labels", "numTraining", "numTest", "training"})
_OTHERS_KEYS = frozenset({"reference", "licence", "license", "release"})


class Preparer(ABC):
    """A kind of data set that ``python -m c2f_monai prepare`` turns into a ``dataset.json``.

    Its entry in :data:`c2f_monai.data.PREPARERS` makes it a command.

    Attributes:
        help: one line for the command line.
        has_folds: its cases are divided into folds of a cross-validation. False: they are trained on in every fold.
    """

    help: str
    has_folds: bool = True

    @abstractmethod
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add its own options; ``--output`` is everyone's, ``--folds`` and ``--fold-seed`` are added for folds."""

    @abstractmethod
    def prepare(self, options: argparse.Namespace) -> Iterator[str]:
        """Write ``dataset.json``, and what it lists where need be, to ``options.output``.

        Args:
            options: its own, and ``output`` (a path); with folds also ``folds`` (a number) and ``fold_seed`` (a number
                or None).

        Yields:
            lines of text for the user, as the work goes on; the path of ``dataset.json`` last.

        Raises:
            OSError: when a file does not exist or cannot be written.
            ValueError: when the data set cannot be used, or options do not fit each other.
        """


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
            ``Auto3DSeg``, unless there are fewer patients than folds; cases of one "patient" get the same.
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
    patients = patients_in_order(cases)
    if folds is not None and len(patients) >= folds:
        fold_of = dict(zip(patients, assign_folds(len(patients), folds, seed), strict=True))
        for case in cases:
            case["fold"] = fold_of[patient_of(case)]
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


def add_cases(content: Mapping[str, Any], others: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The content of a ``dataset.json`` with the cases of another one before its own.

    Args:
        content: of :func:`describe_dataset`.
        others: cases by split, with absolute paths; their folds stay.

    Examples:
        >>> content = describe_dataset("mine", {1: "pancreas"}, [{"image": "/b.nii"}], folds=None)
        >>> joined = add_cases(content, {"training": [{"image": "/a.nii"}], "validation": [], "test": []})
        >>> [case["image"] for case in joined["training"]], joined["numTraining"], "validation" in joined
        (['/a.nii', '/b.nii'], 2, False)
    """
    joined = dict(content)
    for split, cases in others.items():
        listed = [*map(dict, cases), *content.get(split, ())]
        if listed or split in content:
            joined |= {split: listed, f"num{split.capitalize()}": len(listed)}
    return joined


def check_output(folder: str | os.PathLike[str], name: str, kind: str = "") -> None:
    """Refuse a folder that holds another data set; asked before anything is written to it.

    Args:
        folder: to write to; it need not exist.
        name: of the data set.
        kind: the key that tells what it is, such as "synthetic". Defaults to none.

    Raises:
        FileExistsError: when the folder holds the ``dataset.json`` of another data set, or of another program.
        ValueError: when that cannot be read.
    """
    path = Path(folder).absolute() / "dataset.json"
    if not path.is_file():
        return
    known = read_description(path.parent)
    if next((key for key in _KINDS if key in known), "") != kind:
        raise FileExistsError(f"{path} describes a data set of another kind already; choose another --output.")
    if known.get("name") != name:
        raise FileExistsError(f"{path} describes the data set {known.get('name')!r} already; choose another --output.")
    if not _OWN_KEYS <= known.keys() or _OTHERS_KEYS & known.keys():
        # nnU-Net's has the folder's name, too, which is the name of a data set by default.
        raise FileExistsError(f"{path} was not written by c2f prepare, and would be lost; choose another --output.")


def drop_description(folder: str | os.PathLike[str]) -> None:
    """Take away the ``dataset.json`` of an earlier run, whose files are about to be replaced.

    What it says of them, such as a seed or a pixel size, would be wrong for a mixture of both runs: that is what a run
    leaves that is stopped.
    """
    (Path(folder) / "dataset.json").unlink(missing_ok=True)


def write_description(folder: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write ``dataset.json`` to a folder, whole or not at all. Files below the folder are listed by relative paths.

    Raises:
        FileExistsError: when the folder holds the ``dataset.json`` of another data set.
        ValueError: when that cannot be read.
    """
    path = Path(folder).absolute() / "dataset.json"
    check_output(folder, content["name"], next((kind for kind in _KINDS if kind in content), ""))
    listed = {
        split: [{key: _shortest(value, path.parent) for key, value in case.items()} for case in content[split]]
        for split in ("training", "validation", "test")
        if split in content
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps({**content, **listed}, indent=1) + "\n", encoding="utf-8")
    return path


def description_lines(content: Mapping[str, Any]) -> list[str]:
    """Numbers of cases and the labels of a ``dataset.json``, as lines of text.

    Examples:
        >>> content = describe_dataset("mine", {1: "pancreas"}, [{"image": "a.nii"}, {"image": "b.nii"}], folds=2)
        >>> for line in description_lines(content):
        ...     print(line)
        2 labeled cases (folds: 1, 1), 0 without a label
        labels: 1 pancreas; train on one of them, or several together, with --label_value
    """
    sizes = Counter(case.get("fold") for case in content["training"])
    folds = ", ".join(str(sizes[fold]) for fold in sorted(f for f in sizes if f is not None))
    names = ", ".join(f"{value} {name}" for value, name in content["labels"].items() if value != "0")
    return [
        f"{content['numTraining']} labeled cases (folds: {folds or 'none'}), {content['numTest']} without a label",
        f"labels: {names}; train on one of them, or several together, with --label_value",
    ]


def _shortest(value: Any, folder: Path) -> Any:
    """A path relative to a folder where it lies below it, else as it is."""
    if isinstance(value, str | os.PathLike) and Path(value).is_absolute() and Path(value).is_relative_to(folder):
        return Path(value).relative_to(folder).as_posix()
    return str(value) if isinstance(value, os.PathLike) else value

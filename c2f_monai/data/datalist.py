# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of the Medical Segmentation Decathlon's layout: finding them and listing the cases of a split."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..utils import remove_leftovers, some_names
from .apart import check_apart
from .patients import patient_of, patients_in_order
from .phantom.writer import COHORTS, write_phantom

__all__ = [
    "cases_by_split",
    "known_labels",
    "label_names",
    "list_entries",
    "load_datalist",
    "read_description",
    "resolve_dataset",
]

_SPLITS = ("training", "validation", "test")
_FILE_KEYS = ("image", "label")


def resolve_dataset(dataset_dir: str | os.PathLike[str], default_dir: str | os.PathLike[str]) -> str:
    """Return the data set's folder, generating it when it is the phantom's default or a cohort beside it, and absent.

    Args:
        dataset_dir: the folder asked for.
        default_dir: the folder where the embedded phantom belongs; its other cohorts belong beside it, by their names.

    Returns:
        The absolute path of an existing folder.

    Raises:
        FileNotFoundError: when another folder does not exist.
        NotADirectoryError: when it is no folder.
    """
    folder = Path(dataset_dir).absolute()
    if folder.is_dir():
        remove_leftovers(folder.parent, folder.name)  # of another process that was killed while it generated the same
        return str(folder)
    if folder.exists():
        raise NotADirectoryError(f"dataset_dir must be a folder, but {folder} is a file.")
    wanted, default = (Path(os.path.normpath(Path(path).absolute())) for path in (folder, default_dir))
    beside = {default.with_name(cohort.name): name for name, cohort in COHORTS.items()} | {default: "pancreas"}
    if wanted not in beside:
        embedded = ", ".join(sorted(map(str, beside)))
        raise FileNotFoundError(f"dataset_dir {folder} does not exist; only {embedded} are generated.")
    return str(write_phantom(folder, cohort=beside[wanted]))


def load_datalist(
    dataset_dir: str | os.PathLike[str],
    split: str,
    holdout: float = 0.2,
    fold: int | None = None,
    check_files: bool = True,
) -> list[dict[str, Any]]:
    """List the cases of a split with absolute paths.

    Without the key ``validation`` a fixed share of ``training`` (every k-th case in the order of the image paths) is
    the validation split, and ``training`` is the rest. In a cross-validation the cases of one fold are the test split
    and the others are training and validation: the tested fold never chooses weights. Cases of ``training`` whose
    "fold" is null are always trained on, with and without folds: hard negatives whose label is empty, or cases of
    another source. They are neither tested nor held back. Entries may have the key "patient": all scans of one are
    held back, tested or trained on together, and a share is one of patients.

    Args:
        dataset_dir: folder with a ``dataset.json`` whose splits are lists of ``{"image", "label"}`` or image paths.
        split: "training", "validation" or "test".
        holdout: share of training held back when there is no validation split, at least one case, at most 0.5 of them;
            0 holds nothing back: the validation is empty.
        fold: the fold that is tested, where the entries of ``training`` have the key "fold"; a split ``test`` of the
            file is not used then. None: no cross-validation.
        check_files: refuse files that do not exist.

    Returns:
        One dict per case; keys other than the paths (e.g. ``group``) are kept.

    Raises:
        FileNotFoundError: when the folder, its ``dataset.json`` or a listed file does not exist.
        ValueError: for an unknown split, a bad holdout, or a ``dataset.json`` that is unreadable, lacks the split,
            lists no case in it, has an entry without an image, has no such fold, trains on an image twice, or tests or
            validates on an image or a patient that it trains on.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> cases = [{"image": f"case_{i}.nii.gz", "label": f"label_{i}.nii.gz"} for i in range(5)]
        >>> _ = (folder / "dataset.json").write_text(json.dumps({"training": cases}))
        >>> [Path(case["image"]).name for case in load_datalist(folder, "validation", check_files=False)]
        ['case_2.nii.gz']
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}.")
    if not 0 <= holdout <= 0.5:
        raise ValueError(f"holdout must be at least 0 and at most 0.5, got {holdout}.")
    folder = Path(dataset_dir).absolute()
    path = folder / "dataset.json"
    content = read_description(folder)
    if fold is not None:
        content = _select_fold(content, fold, path)
    listed = {name: _entries(content, name, path) for name in _SPLITS if content.get(name)}
    check_apart(listed, folder, path)
    if split != "test" and "validation" not in content:
        entries = _hold_back(_entries(content, "training", path), split, holdout, path)
    else:
        entries = _entries(content, split, path)
    return [_with_absolute_paths(entry, folder, path, check_files) for entry in entries]


def read_description(dataset_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a folder's ``dataset.json``.

    Raises:
        FileNotFoundError: when the folder or its ``dataset.json`` does not exist.
        ValueError: when it is unreadable or no object.
    """
    folder = Path(dataset_dir).absolute()
    path = folder / "dataset.json"
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset folder {folder} does not exist.")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no dataset.json; it should list the cases (training, validation, test).")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object with the splits as keys, got {type(content).__name__}.")
    return content


def label_names(dataset_dir: str | os.PathLike[str]) -> dict[int, str]:
    """Names of label values, ascending, that a folder's ``dataset.json`` gives under "labels"; empty when it has none.

    Both forms are read: names by value, as the Decathlon has them, and values by name, as nnU-Net has them.

    Raises:
        FileNotFoundError: when the folder or its ``dataset.json`` does not exist.
        ValueError: when it is unreadable, or "labels" has another form.
    """
    labels = read_description(dataset_dir).get("labels") or {}
    try:
        named = {int(value): name for entry in labels.items() for value, name in _named_values(*entry)}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{Path(dataset_dir, 'dataset.json')}: labels must be names by value, such as "
            f'{{"0": "background", "1": "organ"}}, got {labels!r}.'
        ) from error
    return dict(sorted(named.items()))


def known_labels(dataset_dir: str | os.PathLike[str]) -> list[int] | None:
    """Label values that a folder's ``dataset.json`` names, see :func:`label_names`; None when it names none.

    None, too, where there is no such file yet: the phantom is not made for it, and consumers bring lists of their own.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "dataset.json").write_text('{"labels": {"0": "background", "1": "organ", "2": "cyst"}}')
        >>> known_labels(folder)
        [0, 1, 2]
    """
    if not (Path(dataset_dir) / "dataset.json").is_file():
        return None
    return list(label_names(dataset_dir)) or None


def list_entries(content: dict[str, Any], split: str, dataset_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The cases that a ``dataset.json`` itself lists for a split, with absolute paths; no file is looked for.

    Args:
        content: of the file; its cases are ``{"image", "label"}``, or image paths, as the Decathlon lists those without
            a label.
        split: "training", "validation" or "test".
        dataset_dir: the file's folder.

    Raises:
        ValueError: when there is no such split, no case in it, or one without an image.

    Examples:
        >>> list_entries({"test": ["a.nii", {"image": "b.nii", "group": "plain"}]}, "test", "/data")
        [{'image': '/data/a.nii'}, {'image': '/data/b.nii', 'group': 'plain'}]
    """
    folder = Path(dataset_dir).absolute()
    path = folder / "dataset.json"
    return [_with_absolute_paths(entry, folder, path, False) for entry in _entries(content, split, path)]


def cases_by_split(dataset_dir: str | os.PathLike[str] | None) -> dict[str, list[dict[str, Any]]]:
    """The cases of every split of a folder's ``dataset.json`` with absolute paths, to be listed in another one.

    A split that is not there, and every split of None, is empty.

    Raises:
        FileNotFoundError: when the folder or its ``dataset.json`` does not exist.
        ValueError: when it is unreadable.
    """
    content = {} if dataset_dir is None else read_description(dataset_dir)
    return {split: list_entries(content, split, dataset_dir or "") if content.get(split) else [] for split in _SPLITS}


def _entries(content: dict[str, Any], split: str, path: Path) -> list[dict[str, Any]]:
    if split not in content:
        if split == "test" and any(isinstance(e, dict) and "fold" in e for e in content.get("training") or ()):
            raise ValueError(f"{path} has no key 'test', but folds: say which fold is tested.")
        raise ValueError(f"{path} has no key {split!r}; its keys are {', '.join(sorted(content))}.")
    listed = content[split]
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path} lists no case under {split!r}.")
    entries = [{"image": entry} if isinstance(entry, str) else entry for entry in listed]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise ValueError(f"{path}: every entry of {split!r} needs an 'image' path, got {entry!r}.")
    return entries


def _named_values(key: str, entry: Any) -> list[tuple[Any, str]]:
    """Value and name of one entry of "labels"; nnU-Net lists several values where a name is that of a region."""
    if key.isdecimal():
        return [(key, str(entry))]
    return [(value, key) for value in (entry if isinstance(entry, list) else [entry])]


def _select_fold(content: dict[str, Any], fold: int, path: Path) -> dict[str, Any]:
    """The content with the cases of one fold as test split and the others as training."""
    entries = _entries(content, "training", path)
    if any("fold" not in entry for entry in entries):
        raise ValueError(
            f"{path} has training cases without a fold: make it with python -m c2f_monai prepare, "
            "or give cases that are always trained on the fold null."
        )
    if strange := [entry for entry in entries if not isinstance(entry["fold"], int | None)]:
        raise ValueError(
            f"{path}: the fold of a case must be a whole number or null, got {strange[0]['fold']!r} of "
            f"{strange[0]['image']}."
        )
    if fold not in (known := sorted({entry["fold"] for entry in entries if entry["fold"] is not None})):
        raise ValueError(f"{path} has the folds {', '.join(map(str, known))}, got fold {fold!r}.")
    folds_of: dict[Any, set[Any]] = {}
    for entry in entries:
        folds_of.setdefault(patient_of(entry), set()).add(entry["fold"])
    if split_up := sorted(str(patient[1]) for patient, folds in folds_of.items() if len(folds) > 1):
        raise ValueError(f"{path} has scans of one patient in several folds: {some_names(split_up)}.")
    parts = {tested: [e for e in entries if (e["fold"] == fold) == tested] for tested in (True, False)}
    return {**content, "test": parts[True], "training": parts[False]}


def _hold_back(entries: list[dict[str, Any]], split: str, holdout: float, path: Path) -> list[dict[str, Any]]:
    if not holdout:
        return [] if split == "validation" else entries
    extra = [entry for entry in entries if entry.get("fold", 0) is None]
    ordered = sorted((entry for entry in entries if entry.get("fold", 0) is not None), key=lambda e: e["image"])
    patients = patients_in_order(ordered)
    if len(patients) < 2:
        raise ValueError(f"{path} has no 'validation' and only one training case; holding back needs at least two.")
    count = max(1, int(len(patients) * holdout))
    # Evenly spread over the sorted names: no random numbers, so that every machine holds back the same cases.
    held = {patients[(2 * i + 1) * len(patients) // (2 * count)] for i in range(count)}
    kept = [entry for entry in ordered if (patient_of(entry) in held) == (split == "validation")]
    return kept if split == "validation" else kept + [entry for entry in extra if patient_of(entry) not in held]


def _with_absolute_paths(entry: dict[str, Any], folder: Path, path: Path, check_files: bool) -> dict[str, Any]:
    resolved = dict(entry)
    for key in _FILE_KEYS:
        if key in entry:
            file = folder / str(entry[key])
            if check_files and not file.exists():
                raise FileNotFoundError(f"{path} lists {entry[key]}, but {file} does not exist.")
            resolved[key] = str(file)  # "..", of a folder that is a link, leads beside what the link leads to
    return resolved

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``score``: score existing masks against labels, case by case."""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.datalist import load_datalist
from ..data.inputs import check_case_names
from ..data.readers import is_image_file
from ..metrics.scores import CaseScore, score_files
from ..metrics.statistics import summarize
from ..utils import IMAGE_SUFFIXES, atomic_write, case_name, cell_text, files_below, some_names

__all__ = ["Truth", "find_cases", "read_truths", "score_folder", "summary_lines", "target_lines", "write_scores"]

COLUMNS = ("case", "group", "dsc", "hd95", "voxels", "label_voxels", "ml", "flags")


@dataclass(frozen=True)
class Truth:
    """The label file of a case and the group (such as plain or shifted) it is reported in."""

    label: Path
    group: str = ""


def run(args: argparse.Namespace) -> None:
    """Score, write the CSV file and print the summary.

    Raises:
        ValueError: When cases cannot be matched, a file cannot be read, or grids differ. Nothing is written then.
    """
    values = args.label_value or (1,)
    if wrong := [value for value in values if value < 1]:
        raise ValueError(f"--label-value must be at least 1, since 0 is the background, got {wrong[0]}.")
    check_table_place(args.output)
    truths = read_truths(args.label, args.split, args.fold, args.holdout)
    scores = score_folder(args.pred, truths, values, args.suffix, args.partial)
    groups = {case: truth.group for case, truth in truths.items()}
    write_scores(args.output, scores, groups)
    held, predicted = ({v for score in scores.values() for v in getattr(score, key)} for key in ("held", "predicted"))
    told = [*target_lines(held, values, "--label-value"), *_answer_lines(predicted, values)]
    print("\n".join([*told, *summary_lines(scores, groups)]))
    print(f"Scores of {len(scores)} cases are in {args.output}")


def find_cases(folder: Path, suffix: str = "") -> dict[str, Path]:
    """Volume files below a folder by the name of their case.

    Args:
        folder: where to look, in depth; hidden files are passed over.
        suffix: end of the names that is not part of the case's name, such as ``_seg``; files without it are passed
            over. Defaults to none.

    Raises:
        ValueError: When there is no such folder, it holds no volume, or two files belong to the same case.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    found: dict[str, Path] = {}
    for path in files_below(folder):
        if not is_image_file(path):
            continue
        if not case_name(path).endswith(suffix):
            continue
        name = case_name(path).removesuffix(suffix)
        if name in found:
            raise ValueError(f"{found[name]} and {path} are both named after the case {name}.")
        found[name] = path
    if not found:
        named = f" whose names end in {suffix}" if suffix else ""
        raise ValueError(f"there are no volumes ({', '.join(IMAGE_SUFFIXES)}){named} in {folder}.")
    return found


def read_truths(label: Path, split: str = "test", fold: int | None = None, holdout: float = 0.2) -> dict[str, Truth]:
    """Labels by case.

    Args:
        label: folder of labels, or a ``dataset.json``.
        split: list of ``dataset.json``. Defaults to "test".
        fold: fold that the split "test" is. Defaults to None, no folds.
        holdout: share of the training cases that the split "validation" is, where the file has none. Defaults to 0.2.

    Raises:
        FileNotFoundError: When there is no such file, or one that it lists.
        ValueError: When it is neither, has no such split or fold, a case has no label, or two have the same name.
    """
    if label.is_dir():
        return {case: Truth(path) for case, path in find_cases(label).items()}
    if label.name != "dataset.json":
        raise ValueError(f"--label {label} is neither a folder nor a dataset.json; a list of another name is not read.")
    items = load_datalist(label.parent, split, holdout, fold)
    if not items:
        raise ValueError(f"{label}: {split} is empty, nothing was held back (holdout {holdout:g}).")
    if unlabeled := [str(item["image"]) for item in items if "label" not in item]:
        raise ValueError(f"{label} has no label for {some_names(unlabeled)}.")
    check_case_names(item["image"] for item in items)
    return {case_name(item["image"]): Truth(Path(item["label"]), str(item.get("group", ""))) for item in items}


def score_folder(
    pred: Path, truths: dict[str, Truth], values: Sequence[int] = (1,), suffix: str = "", partial: bool = False
) -> dict[str, CaseScore]:
    """Score the masks of a folder.

    Args:
        pred: folder of predicted masks, named after their cases.
        truths: labels by case.
        values: label values that are foreground. Defaults to 1 alone.
        suffix: see :func:`find_cases`.
        partial: accept cases without a prediction. Defaults to False.

    Raises:
        ValueError: When a mask has no label, or a label no mask and ``partial`` is False.
    """
    masks = find_cases(pred, suffix)
    if strangers := sorted(masks.keys() - truths.keys()):
        raise ValueError(f"no label for {some_names(strangers)} in {pred}; is --suffix needed?")
    if not partial and (missing := sorted(truths.keys() - masks.keys())):
        raise ValueError(f"no prediction in {pred} for {some_names(missing)}; --partial scores without.")
    return {case: score_files(masks[case], truths[case].label, values) for case in sorted(masks)}


def check_table_place(path: Path) -> None:
    """Refuse a place of the scores where something else is.

    Raises:
        ValueError: for a folder, and a file that is no table of cases.
    """
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder: give a file, such as {path / 'scores.csv'}.")
    if path.exists() and not path.read_bytes().startswith(b"case,"):
        raise ValueError(f"--output {path} exists and is no table of scores: give another place, or move it.")


def write_scores(path: Path, scores: dict[str, CaseScore], groups: dict[str, str]) -> None:
    """Write one row for each case; what does not exist is left empty. The file appears whole or not at all."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case, score in scores.items():
            dsc, hd95 = ("" if value is None else f"{value:.6f}" for value in (score.dsc, score.hd95))
            names = [cell_text(case), cell_text(groups[case])]
            row = [*names, dsc, hd95, score.voxels, score.label_voxels, f"{score.ml:.3f}", _flag(score)]
            writer.writerow(row)


def summary_lines(scores: dict[str, CaseScore], groups: dict[str, str]) -> list[str]:
    """Mean, deviation, max and min of DSC (%) and HD95 (mm) over all cases, and for each group if there are several.

    Cases in which prediction and truth are both empty have no DSC; they are counted apart.
    """
    by_group: dict[str, list[CaseScore]] = defaultdict(list)
    for case, score in scores.items():
        by_group[groups[case] or "ungrouped"].append(score)
    parts = {"all": list(scores.values())} | (by_group if len(by_group) > 1 else {})
    return [line for group, members in parts.items() for line in _group_lines(group, members)]


def target_lines(held: Collection[float], values: Sequence[int], option: str, joined: bool = True) -> list[str]:
    """What to tell of labels that hold more than the target's one value, or nowhere the target; none of others.

    Args:
        held: values of all labels together.
        values: label values of the target.
        option: that chooses them.
        joined: whether several values are one target. Defaults to True.

    Examples:
        >>> target_lines([0.0, 255.0], (1,), "--label-value")
        ['no label holds the target 1, but 255: if that is the target, set --label-value']
        >>> target_lines([0.0, 1.0, 2.0, 6.0], (1, 2), "--label-value")
        ['target: label values 1, 2 as one, without 6; --label-value chooses others']
        >>> target_lines([0.0, 1.0], (1, 2), "--label-value"), target_lines([0.0], (1,), "--label-value")
        ([], [])
    """
    others = sorted(value for value in held if value and value not in values)
    found = sorted(value for value in values if value in held)
    told, target, there = (", ".join(f"{value:g}" for value in numbers) for numbers in (found, values, others))
    if not found:
        lost = f"no label holds the target {target}, but {there}: if that is the target, set {option}"
        return [lost] if others else []
    if len(found) + len(others) == 1:
        return []
    scored = f"values {told} as one" if joined and len(found) > 1 else f"value{'s'[: len(found) - 1]} {told}"
    return [f"target: label {scored}{f', without {there}' if others else ''}; {option} chooses others"]


def _answer_lines(predicted: Collection[float], values: Sequence[int]) -> list[str]:
    """What to tell of masks that hold nowhere the target but something else."""
    others = sorted(value for value in predicted if value)
    if not others or any(value in predicted for value in values):
        return []
    target, there = (", ".join(f"{value:g}" for value in numbers) for numbers in (values, others))
    return [f"no mask holds the target {target}, but {there}: masks and labels must give it the same value"]


def _group_lines(group: str, scores: list[CaseScore]) -> list[str]:
    dsc = [score.dsc for score in scores if score.dsc is not None]
    hd95 = [score.hd95 for score in scores if score.hd95 is not None]
    lines = []
    if dsc:
        lines.append(f"{group}: DSC [%] {summarize(dsc).format(100, 2)}")
    if hd95:
        lines.append(f"{group}: HD95 [mm] {summarize(hd95).format(1, 2)}")
    if both := len(scores) - len(dsc):
        lines.append(f"{group}: {both} cases with empty prediction and empty truth, not in the DSC")
    return lines


def _flag(score: CaseScore) -> str:
    if score.dsc is None:
        return "both empty"
    if score.label_voxels == 0:
        return "empty truth"
    return "" if score.voxels else "nothing found"

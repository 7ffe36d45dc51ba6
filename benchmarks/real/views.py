# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``views``: networks of single views, alone and fused, on labeled volumes.

Each model answers on its own grid, and its probabilities are brought to the grid of the file before they are fused: the
axial network may have finer pixels than those of the other views.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.chapter.parts import ROOT
from c2f_monai.apps.segmenter import Segmenter
from c2f_monai.data.datalist import load_datalist
from c2f_monai.inferers.fusion import ViewFusion
from c2f_monai.metrics.markdown import markdown_table
from c2f_monai.metrics.scores import read_mask, score_masks
from c2f_monai.metrics.statistics import compare_paired, summarize
from c2f_monai.utils import Fusion, atomic_write, case_name, some_names, voxel_volume
from c2f_monai.utils.environment import describe_machine, describe_source

__all__ = ["add_parser", "forms_of", "table_lines"]


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser("views", help="views alone and fused on labeled volumes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of a dataset.json")
    parser.add_argument("--split", default="validation", help="list of dataset.json (default: validation)")
    model = "a view's name and its model: axial=pancreas, sagittal=sagittal/model.pt; the first is compared with"
    parser.add_argument("--view", action="append", required=True, metavar="NAME=MODEL", help=model)
    parser.add_argument("--label-value", type=int, nargs="+", default=[1], help="of the target (default: 1)")
    parser.add_argument("--output", type=Path, required=True, help="folder of rows.csv, result.json and table.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Segment, fuse, score, and print the table.

    Raises:
        FileNotFoundError: when the data set or a model does not exist.
        ValueError: for a view without a model, or when no case has the target.
    """
    named = [text.partition("=")[::2] for text in args.view]
    if bad := [text for text, (name, model) in zip(args.view, named, strict=True) if not (name and model)]:
        raise ValueError(f"--view takes NAME=MODEL, got {bad[0]!r}.")
    cases = load_datalist(args.data, args.split)
    models = {name: Segmenter(model) for name, model in named}
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for case in cases:
        truth, affine = read_mask(case["label"], args.label_value)
        if not bool(truth.any()):  # it has no DSC
            left_out.append(case_name(case["image"]))
            continue
        of_case = _score_case(case["image"], models, truth, affine)
        told = ", ".join(f"{row['form']} {row['dsc']:.3f}" for row in of_case)
        print(f"{case_name(case['image'])}: {told}", flush=True)
        rows += of_case
    if not rows:
        raise ValueError(f"none of the {len(cases)} cases has the target: give its --label-value.")
    weights = {
        name: {Path(file).name: digest for file, digest in model.weights.items()} for name, model in models.items()
    }
    result = {
        "views": weights,
        "cases": len(cases) - len(left_out),
        "machine": describe_machine(),
        "source": describe_source(ROOT),
    }
    note = [f"\nCases without the target, left out: {len(left_out)} ({some_names(left_out)})."] if left_out else []
    text = "\n".join([*table_lines(rows), *note, ""])
    table = pd.DataFrame(rows)
    with atomic_write(args.output / "rows.csv") as part:
        table.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")
    with atomic_write(args.output / "result.json") as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    with atomic_write(args.output / "table.md") as part:
        part.write_text(text, encoding="utf-8")
    print(text)


def _score_case(
    image: str, models: Mapping[str, Segmenter], truth: torch.Tensor, affine: torch.Tensor
) -> list[dict[str, Any]]:
    """Rows of the forms of a case: DSC in [0, 1], ml, seconds.

    Args:
        image: file of the case.
        models: by view.
        truth: (H, W, D) bool, with foreground.
        affine: (4, 4) of the truth, to RAS millimetres.
    """
    answers, seconds = {}, {}
    for name, model in models.items():
        since = time.perf_counter()
        probability: Any = model(image, probability=True).probability
        seconds[name] = time.perf_counter() - since
        answers[name] = torch.as_tensor(probability.as_tensor())
    spacing, volume = affine[:3, :3].norm(dim=0).tolist(), voxel_volume(affine)
    rows = []
    for form, mask in forms_of(answers).items():
        found = score_masks(mask, truth, spacing, volume)
        took = seconds.get(form, sum(seconds.values()))
        rows.append({"case": case_name(image), "form": form, "dsc": found.dsc, "ml": found.ml, "seconds": took})
    return rows


def forms_of(answers: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Masks of each view alone, and of all of them fused.

    Args:
        answers: (K, H, W, D) probabilities by view, on one grid; the target is the union of their classes.

    Returns:
        (H, W, D) bool by the view's name, and "mean" and "vote".

    Examples:
        >>> answers = {"axial": 0.9, "sagittal": 0.3, "coronal": 0.4}
        >>> forms = forms_of({name: torch.full((1, 1, 1, 1), p) for name, p in answers.items()})
        >>> {name: bool(mask) for name, mask in forms.items()}
        {'axial': True, 'sagittal': False, 'coronal': False, 'mean': True, 'vote': False}
    """
    forms = {name: (answer >= 0.5).any(dim=0) for name, answer in answers.items()}
    for fusion in (Fusion.MEAN, Fusion.VOTE):
        fused = ViewFusion(next(iter(answers.values())).shape, len(answers), fusion)
        for answer in answers.values():
            fused.add(answer)
        forms[fusion.value] = fused.result()[1].any(dim=0)
    return forms


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """DSC of each form in %, and its difference from the first form, case by case."""
    forms = list(dict.fromkeys(row["form"] for row in rows))
    scores = {form: [row["dsc"] for row in rows if row["form"] == form] for form in forms}
    lines = []
    for form in forms:
        found = summarize(scores[form])
        times = [row["seconds"] for row in rows if row["form"] == form]
        cells = [
            form,
            f"{100 * found.mean:.2f}±{100 * found.std:.2f}",
            f"{100 * found.min:.2f}",
            f"{100 * found.max:.2f}",
        ]
        if form == forms[0]:
            against = ["", ""]
        else:
            pair = compare_paired(scores[form], scores[forms[0]])
            low, high = pair.interval
            # One case has no interval.
            interval = f" [{100 * low:+.2f}, {100 * high:+.2f}]" if len(scores[form]) > 1 else ""
            against = [f"{100 * pair.difference.mean:+.2f}{interval}", f"{pair.wins}/{pair.losses}/{pair.ties}"]
        lines.append([*cells, *against, f"{sum(times) / len(times):.1f}"])
    header = ("form", "DSC [%]", "min", "max", f"minus {forms[0]}", "wins/losses/ties", "s a case")
    return markdown_table(header, lines)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``pictures``: random held-out slices, and the patients with the lowest DSC, with outlines of answer and truth."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from monai.transforms import Orientation
from scipy import ndimage

from benchmarks.chapter.parts import ROOT
from benchmarks.chapter.run import run_part
from c2f_monai.apps.evaluate import evaluate_dataset
from c2f_monai.apps.evaluation import CASES_FILE
from c2f_monai.data.datalist import load_datalist
from c2f_monai.data.readers import read_image
from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import View, atomic_write, case_name
from c2f_monai.visualize.answer_slices import read_answer_slice, regions_figure
from c2f_monai.visualize.overlay import add_legend, paint, show_slice, target_region

from .plan import METHODS, MethodRun, boxed_part, evaluations_of, inference_files, inference_options

__all__ = ["HeldOut", "add_parser", "outline", "random_slices", "slices_figure", "spread_slices"]

_COLUMNS, _MARGIN_MM = 5, 30.0


@dataclass(frozen=True)
class HeldOut:
    """A patient that was tested.

    Attributes:
        name: of the patient.
        dsc: in [0, 1].
        image: file.
        label: file.
        mask: file of the answer.
    """

    name: str
    dsc: float
    image: Path
    label: Path
    mask: Path


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = kinds.add_parser("pictures", help="draw held-out slices with answer and truth", description=__doc__)
    parser.add_argument("method", choices=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--data", type=Path, required=True, help="folder made by prepare slices")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--slices", type=int, default=10, help="random slices (default: 10)")
    parser.add_argument("--draw", type=int, default=0, help="seed of the random slices (default: 0)")
    parser.add_argument("--worst", type=int, default=3, help="patients with the lowest DSC (default: 3)")
    boxed = "first patients on whole slices and in the true box, of a method with rounds (default: 3; 0: none)"
    parser.add_argument("--boxed", type=int, default=3, help=boxed)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Segment the folds that have weights, where that was not done, and draw.

    Raises:
        ValueError: when no fold has weights.
    """
    method, output = METHODS[args.method], args.output.absolute()
    folders = sorted((output / "training" / method.name).glob(f"fold*_seed{args.seed}"))
    folds = [int(folder.name.split("_")[0].removeprefix("fold")) for folder in folders]
    runs = [MethodRun(method, args.data.absolute(), output, fold, args.seed) for fold in folds]
    patients = [patient for each in runs if each.weights.is_file() for patient in _held_out(each)]
    if not patients:
        raise ValueError(f"{output / 'training' / method.name} has no weights with seed {args.seed}: train first.")
    target = output / "pictures" / method.name
    depths = {patient.name: read_image(patient.label, dtype=None).shape[3] for patient in patients}
    chosen = random_slices(depths, args.slices, args.draw)
    by_name = {patient.name: patient for patient in patients}
    title = f"{METHODS[args.method].title}: {len(chosen)} random slices of patients that the weights have not seen"
    _save(slices_figure([(by_name[name], index) for name, index in chosen], title), target / "random.png")
    worst = sorted(patients, key=lambda patient: patient.dsc)[: args.worst]
    places = [(patient, index) for patient in worst for index in spread_slices(depths[patient.name], _COLUMNS)]
    names = ", ".join(f"{patient.name} ({100 * patient.dsc:.1f})" for patient in worst)
    _save(slices_figure(places, f"{METHODS[args.method].title}, lowest DSC: {names}"), target / "worst.png")
    if method.rounds:
        _copy_figures(runs, target)
        if args.boxed:
            _save(_box_figure(runs[0], args.boxed), target / "box.png")
    print("\n".join(str(path) for path in sorted(target.glob("*.png"))))


def random_slices(depths: dict[str, int], count: int, seed: int) -> list[tuple[str, int]]:
    """Slices of patients, each as likely as any other, in the order of the patients.

    Args:
        depths: slices by patient.
        count: of slices, fewer where there are not so many.
        seed: of the draw.

    Examples:
        >>> random_slices({"a": 2, "b": 1}, 5, 0)
        [('a', 0), ('a', 1), ('b', 0)]
    """
    every = [(name, index) for name in sorted(depths) for index in range(depths[name])]
    drawn = np.random.default_rng(seed).choice(len(every), min(count, len(every)), replace=False)
    return [every[place] for place in sorted(drawn)]


def spread_slices(depth: int, count: int) -> list[int]:
    """Slices from the first to the last one, evenly.

    Examples:
        >>> spread_slices(9, 3), spread_slices(2, 5)
        ([0, 4, 8], [0, 1])
    """
    return sorted({round(place) for place in np.linspace(0, depth - 1, min(count, depth))})


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a boolean (h, w) mask at its edge."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def slices_figure(places: Sequence[tuple[HeldOut, int]], title: str) -> Figure:
    """Axial slices with outlines, zoomed: answer red, truth green, both yellow.

    Args:
        places: patients and their slices.
        title: text above.
    """
    rows = -(-len(places) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 3.2 * rows + 0.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    turn = Orientation(axcodes="RAS", labels=None)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in panels[len(places) :]:
        axes.set_axis_off()
    for axes, (patient, index) in zip(panels, places, strict=False):
        image: Any = turn(read_image(patient.image))
        volumes = [image, *(turn(read_image(path)) > 0 for path in (patient.mask, patient.label))]
        pixels, pred, truth = (np.asarray(volume)[0, :, :, index] for volume in volumes)
        spacing = image.pixdim.tolist()
        region = target_region((pred | truth)[..., None], spacing, _MARGIN_MM)[:2]
        found, wanted = (outline(mask.astype(bool))[region] for mask in (pred, truth))
        show_slice(axes, paint(pixels[region], found, wanted, alpha=1.0), View.AXIAL, spacing)
        total = int(pred.sum() + truth.sum())
        dsc = 2 * int((pred & truth).sum()) / total if total else 1.0
        axes.set_title(f"{patient.name}, slice {index}: DSC {100 * dsc:.1f}", fontsize=10)
    figure.suptitle(title)
    add_legend(figure)
    return figure


def _held_out(run: MethodRun) -> list[HeldOut]:
    """The patients of a fold, segmented."""
    folder = run.output / "masks" / run.method.name / run.folder.name
    if not (folder / CASES_FILE).is_file():
        files = [ROOT / file for file in inference_files(run.method)]
        options = {"split": "test", "fold": run.fold, "ckpt_path": str(run.weights), "progress": False}
        options |= inference_options(run.method, run.kept_options() or {}) | {"bundle_root": str(ROOT / "bundle")}
        evaluate_dataset(files, run.data, folder, options)
    cases = read_cases(folder / CASES_FILE, ["dsc"])
    items = {case_name(item["image"]): item for item in load_datalist(run.data, "test", fold=run.fold)}
    return [
        HeldOut(
            name,
            case.number("dsc") or 0.0,
            Path(items[name]["image"]),
            Path(items[name]["label"]),
            folder / f"{name}_seg.nii.gz",
        )
        for name, case in cases.items()
    ]


def _copy_figures(runs: Sequence[MethodRun], target: Path) -> None:
    """Figures of rounds [Fig. 3.8] and saliency [Fig. 3.9] that the evaluations drew."""
    for each in runs:
        folder = each.output / "evaluation" / evaluations_of(each.method)["rounds"].name / each.folder.name
        for path in (*folder.glob("*_rounds.png"), *folder.glob("*_saliency.png")):
            with atomic_write(target / path.name) as part:
                shutil.copyfile(path, part)


def _box_figure(run: MethodRun, cases: int) -> Figure:
    """The coarse answer on whole slices beside that in the true box [Fig. 3.2]."""
    part = boxed_part(replace(run, options=run.kept_options() or {}), cases)
    run_part(part)
    kept = read_answer_slice(part.folder)
    return regions_figure({case: {"whole": (one, False), "true box": (one, True)} for case, one in kept.items()})


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The methods that are compared, as lists of configurations and ids, and the parts of one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from benchmarks.chapter.figures import boxed_of, first_cases
from benchmarks.chapter.parts import ROOT, ExperimentPart, ExperimentSettings, parts_of
from benchmarks.chapter.plan import Evaluation, Row, Table, Training, oracle_of, rounds_of
from c2f_monai.utils import atomic_write

__all__ = [
    "DATA",
    "METHODS",
    "Method",
    "MethodRun",
    "boxed_part",
    "evaluations_of",
    "inference_files",
    "inference_options",
    "parts_of_method",
    "training_files",
]

#: Overlays of all methods after ``train.json``.
DATA = ("configs/data/nih_slices.json",)
_COARSE_ONLY = "configs/baseline/coarse_only.json"


@dataclass(frozen=True)
class Method:
    """A way of training.

    Attributes:
        name: of the command line and the folders.
        title: what the tables call it.
        overlays: files after those of :data:`DATA`.
        options: ids that are set.
        rounds: there is a fine stage.
        pretrained: it starts from the weights of ``--start``.
    """

    name: str
    title: str
    overlays: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    rounds: bool = True
    pretrained: bool = True

    @property
    def training(self) -> Training:
        """Its weights."""
        return Training(self.name, self.overlays, self.options)


#: All methods by name; those of two stages are compared with all that follow.
METHODS = {
    method.name: method
    for method in (
        # The schedule until version 0.4.0: the fine network is a copy of the coarse one when joint training begins.
        Method(
            "rstn",
            "RSTN",
            options={
                "stages": [
                    {"stage": "coarse", "length": 20, "lr_end_factor": 0.39, "copy_to_fine": True},
                    {"stage": "joint", "length": 9, "rounds": 1, "lr_factor": 0.39, "lr_end_factor": 0.07},
                    {"stage": "joint", "length": 6, "lr_factor": 0.07, "lr_end_factor": 0.0},
                ],
                "epochs": 35,
            },
        ),
        # That of train.json: each network learns its own task to the end of its rate, the fine one in true boxes.
        Method("rstn_fine_first", "RSTN, fine network alone first"),
        # Starts from the weights of step-wise training of the same fold.
        Method(
            "rstn_from_stepwise",
            "RSTN from the step-wise networks",
            ("configs/run/from_coarse.json",),
            {"fine_stage": None, "epochs": 8},
        ),
        # The margin of the recipe, on its pixels.
        Method("stepwise", "step-wise", ("bundle/configs/stepwise.json",), {"margin": 20}),
        Method("single_stage", "single-stage Lite0 U-Net", (_COARSE_ONLY,), rounds=False),
        Method(
            "unet",
            "single-stage MONAI 2D UNet",
            ("configs/network/unet.json", _COARSE_ONLY),
            {"target_prior": 0.018},
            rounds=False,
            pretrained=False,
        ),
    )
}


@dataclass(frozen=True)
class MethodRun:
    """A method on a fold, with a training seed.

    Attributes:
        method: the method.
        data: folder of a ``dataset.json`` with folds.
        output: folder of all runs.
        fold: that is tested.
        seed: of the training.
        options: ids of the training and the evaluations, such as ``epochs``, after the method's own.
    """

    method: Method
    data: Path
    output: Path
    fold: int
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where training writes."""
        return self.output / "training" / self.method.name / f"fold{self.fold}_seed{self.seed}"

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.folder / "model.pt"

    @property
    def settings(self) -> ExperimentSettings:
        """Of the parts."""
        return ExperimentSettings(
            self.data,
            self.output,
            (self.fold,),
            (self.seed,),
            DATA,
            own_options={self.method.name: self.options},
            base=(),
        )

    def keep_options(self) -> None:
        """Write the options beside the training, for evaluations that come later."""
        with atomic_write(self.folder / "options.json") as part:
            part.write_text(json.dumps(dict(self.options), indent=1) + "\n", encoding="utf-8")

    def kept_options(self) -> dict[str, Any] | None:
        """Options of a training that was begun, None before."""
        path = self.folder / "options.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def evaluations_of(method: Method) -> dict[str, Evaluation]:
    """Evaluations by what they tell: the answer, and where there are rounds its parts, each round, and the true box.

    The parts are the coarse answer and the last round. All but the rounds score on the pixels of the pictures, the
    rounds on the working grid.
    """
    weights = method.training
    if not method.rounds:
        return {"final": Evaluation(f"{method.name}_final", weights, options={"max_rounds": 0})}
    return {
        "final": Evaluation(f"{method.name}_final", weights),
        "coarse": Evaluation(f"{method.name}_coarse", weights, options={"max_rounds": 0}),
        "last": Evaluation(f"{method.name}_last", weights, options={"result": "last"}),
        "rounds": rounds_of(weights),
        "oracle": replace(oracle_of(weights), options={"result": "last"}),
    }


def boxed_part(run: MethodRun, cases: int) -> ExperimentPart:
    """The evaluation of which Fig. 3.2 is drawn: a fold's first patients, whole slices and the true box."""
    evaluation = replace(first_cases(boxed_of(run.method.training), cases), name=f"{run.method.name}_boxed_{cases}")
    return parts_of([Table(run.method.name, run.method.title, (Row("boxed", evaluation),))], run.settings)[-1]


def parts_of_method(run: MethodRun) -> tuple[ExperimentPart, list[ExperimentPart]]:
    """The training of a run, and its evaluations."""
    rows = tuple(Row(name, evaluation) for name, evaluation in evaluations_of(run.method).items())
    training, *evaluations = parts_of([Table(run.method.name, run.method.title, rows)], run.settings)
    return training, evaluations


def training_files(method: Method) -> list[str]:
    """``train.json`` and the overlays of a method's training."""
    return ["bundle/configs/train.json", *DATA, *method.overlays]


def inference_files(method: Method) -> list[str]:
    """``inference.json`` and the overlays that a method's weights need: data, network and stages, not the recipe."""
    return ["bundle/configs/inference.json", *DATA, *method.overlays]


def inference_options(method: Method, options: Mapping[str, Any]) -> dict[str, Any]:
    """Ids of a method's inference: those of its training that ``inference.json`` knows.

    Args:
        method: the method.
        options: ids of the training after the method's own.
    """
    known = ConfigParser.load_config_file(ROOT / "bundle/configs/inference.json")
    own = {**method.options, **options}
    found = {key: value for key, value in own.items() if key.split("#")[0] in known}
    return found if method.rounds else {**found, "max_rounds": 0}

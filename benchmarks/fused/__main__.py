# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Does training with the fused map of the views, or fusion with learned weights, help? Measured on validation.

``maps`` goes on training the phantom's RSTN for a while, g and f_F alone: once with each view's own map before every
round, as ``train.json`` does, and once with the three views' fused map, which is what g gets in testing; each with
several seeds, and scores both and the start on the validation cases, ten rounds. ``weights`` fits the weights of the
views in the fusion on all validation cases but one and tests them on that one.

    python -m c2f_monai phantom make --output data/phantom-v1
    python -m benchmarks.fused maps --dataset data/phantom-v1 --output docs/results/quality/fused_maps.json
    python -m benchmarks.fused weights --dataset data/phantom-v1 --output docs/results/quality/view_weights.json
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import read_training_config, strip_to_iterations
from c2f_monai.data import CachedVolume, load_volumes
from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.utils import atomic_write, dice_coefficient
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from .maps import MapsHandler, run_rounds
from .weights import dice_table, left_out, simplex, view_maps

FILES = ("bundle/configs/train.json", "bundle/configs/three_views.json")
#: The learning rate of the publication's RSTN falls by a power of ten or more; here from a tenth of the start's to 0.
STAGE = {"stage": "joint", "length": 1, "lr_factor": 0.1, "lr_end_factor": 0.0}
#: Ids of both arms: f_C has no learning rate.
OPTIONS: dict[str, Any] = {
    "init_weights": "bundle/models/phantom.pt",
    "stages": [STAGE],
    "warmup": 0,
    "lr_factors": {"coarse": 0.0, "saliency": 1.0, "fine": 1.0},
    "train#inferer#_target_": "benchmarks.fused.maps.OwnMapInferer",
}
#: Ids of training with fused maps.
FUSED: dict[str, Any] = {
    "train#inferer#_target_": "benchmarks.fused.maps.MapInferer",
    "train#dataset#_target_": "benchmarks.fused.maps.MapDataset",
    "train#dataloader#collate_fn#_target_": "benchmarks.fused.maps.MapCollate",
    "train#trainer#prepare_batch#_target_": "benchmarks.fused.maps.prepare_map_batch",
    "augmentations#affine#keys": ["image", "label", "maps"],
    "augmentations#affine#mode": ["bilinear", "nearest", "bilinear"],
}
ARMS = {"own": {}, "fused": FUSED}
ROUNDS = 10
#: A network, the validation cases and their inferer.
Tested = tuple[torch.nn.Module, list[CachedVolume], CoarseToFineInferer]


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("maps", "weights"):
        command = commands.add_parser(name)
        command.add_argument("--dataset", required=True, help="folder of the phantom, version 1")
        command.add_argument("--output", type=Path, required=True, help="JSON file")
        add_option(command, "override of an id")
    commands.choices["maps"].add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    commands.choices["maps"].add_argument("--epochs", type=int, default=2, help="of 100 iterations (default: 2)")
    commands.choices["weights"].add_argument("--parts", type=int, default=10, help="steps of the weights (default: 10)")
    return parser.parse_args()


def config_of(args: argparse.Namespace, options: dict[str, Any]) -> ConfigParser:
    """The training's configuration."""
    given = [f"{key}={value!r}" for key, value in {**OPTIONS, **options}.items()]
    return read_training_config(FILES, "bundle", args.dataset, [*given, *args.option])


def validation_of(parser: ConfigParser) -> tuple[list[CachedVolume], CoarseToFineInferer]:
    """Cases on the working grid, and the inferer, which keeps the masks of rounds."""
    cases = parser.get_parsed_content("validate#cases")
    volumes = load_volumes(cases, parser.get_parsed_content("train#preprocessing"), progress=False)
    return [each for each in volumes if isinstance(each, CachedVolume)], parser.get_parsed_content("validate#inferer")


def scored(network: torch.nn.Module, volumes: Sequence[CachedVolume], inferer: CoarseToFineInferer) -> dict[str, Any]:
    """DSC of every round and d(t) of each case, and the mean DSC where the inferer's rule stops."""
    network.eval()
    cases, at_stop = [], []
    for volume in volumes:
        run_rounds(volume.image[None, None].float(), network, inferer, StopRule(dice=None, max_rounds=ROUNDS))
        record, label = inferer.records[0], volume.label > 0
        found = [100 * dice_coefficient(mask, label, empty=0.0) for mask in record.masks]
        changes = [float(entry.dsc) for entry in record.rounds if entry.dsc is not None]
        stop = next((t for t, d in enumerate(changes, 1) if d >= (inferer.stopping.dice or 1.0)), len(changes))
        at_stop.append(found[stop])
        cases.append({"dsc": [round(x, 2) for x in found], "d": [round(x, 4) for x in changes]})
    return {"mean_dsc_at_stop": round(statistics.fmean(at_stop), 2), "cases": cases}


def say(text: str) -> None:
    """Of the progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def trained(args: argparse.Namespace, arm: str, seed: int, known: dict[str, torch.Tensor]) -> Tested:
    """The network after training; nothing is validated or kept on the way."""
    parser = config_of(args, {"seed": seed, "progress": False, **ARMS[arm]})
    strip_to_iterations(parser)
    parser["epochs"] = args.epochs
    set_determinism(seed)
    trainer = parser.get_parsed_content("train#trainer")
    network, (volumes, inferer) = parser.get_parsed_content("network"), validation_of(parser)
    if arm == "fused":
        MapsHandler(parser.get_parsed_content("train#dataset"), network, inferer, say, known).attach(trainer)
    trainer.run()
    return network, volumes, inferer


def compare_maps(args: argparse.Namespace) -> dict[str, Any]:
    """Both arms with all seeds, and the start; runs that the file has are not made again."""
    known: dict[str, torch.Tensor] = {}
    about = {"epochs": args.epochs, "options": args.option}
    kept = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    runs: list[dict[str, Any]] = kept["runs"] if {key: kept.get(key) for key in about} == about else []
    for arm, seed in [("none", None), *((arm, seed) for seed in args.seeds for arm in ARMS)]:
        if not any((run["arm"], run["seed"]) == (arm, seed) for run in runs):
            tested = start_of(args) if seed is None else trained(args, arm, seed, known)
            runs.append({"arm": arm, "seed": seed, **scored(*tested)})
            write(args.output, {**about, "runs": runs})
            say(f"{arm}, seed {seed}: {runs[-1]['mean_dsc_at_stop']}")
    return {**about, "runs": runs}


def start_of(args: argparse.Namespace) -> Tested:
    """The released network in evaluation mode."""
    parser = config_of(args, {})
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(OPTIONS["init_weights"], weights_only=True))
    return network.eval(), *validation_of(parser)


def compare_weights(args: argparse.Namespace) -> dict[str, Any]:
    """Mean DSC of equal weights and of those that the other cases choose, in the coarse stage and the last round."""
    network, volumes, inferer = start_of(args)
    names, choices = list(network.view_names), simplex(len(network.view_names), args.parts)  # type: ignore[arg-type]
    tables: dict[str, list[np.ndarray]] = {"coarse": [], "last": []}
    for volume in volumes:
        label = volume.label[0] > 0
        equal = tuple(1.0 / len(names) for _ in names)
        for key, maps in zip(tables, view_maps(volume.image, network, inferer), strict=True):
            tables[key].append(dice_table(maps, label, [equal, *choices]))
        say(f"{volume.name}: {tables['coarse'][-1][0]:.2f}, {tables['last'][-1][0]:.2f}")
    found: dict[str, Any] = {"views": names}
    for key, rows in tables.items():
        table = np.array(rows)
        chosen, own = left_out(table[:, 1:])
        best = choices[int(table[:, 1:].mean(axis=0).argmax())]
        means = {"equal": round(float(table[:, 0].mean()), 2), "learned": round(float(own.mean()), 2)}
        found[key] = means | {"best_on_all": best, "of_each_case": [choices[place] for place in chosen]}
        say(f"{key}: {means}, weights {dict(zip(names, best, strict=True))}")
    return found


def write(path: Path, found: dict[str, Any]) -> None:
    """A JSON file with what was found, the command and the machine."""
    about = {**describe_machine(), **describe_versions(), **describe_source()}
    command = "python -m benchmarks.fused " + shlex.join(sys.argv[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps({"command": command, "environment": about, **found}, indent=1) + "\n")


def main() -> None:
    """Measure and write."""
    args = parse_args()
    write(args.output, {"maps": compare_maps, "weights": compare_weights}[args.command](args))


if __name__ == "__main__":
    main()

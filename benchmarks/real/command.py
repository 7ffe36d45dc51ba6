# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m benchmarks.real``."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.chapter.parts import ROOT
from benchmarks.chapter.run import is_done, run_part
from c2f_monai.apps.cli import run_command
from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import parse_option, read_training_config
from c2f_monai.utils import atomic_write, end_on_signals, sha256_of
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from . import pictures, tissues, views, volumes
from .budget import epochs_within, iteration_seconds
from .claims import claim_lines, with_rstn
from .plan import METHODS, MethodRun, evaluations_of, parts_of_method, training_files
from .rows import read_rows, write_rows
from .tables import table_lines

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description="Cross-validation on real slices.")
    kinds = parser.add_subparsers(required=True, metavar="command")
    training = kinds.add_parser("train", help="train a method on a fold; a killed training goes on")
    _add_run(training)
    training.add_argument("--start", type=Path, help="weights of import-weights lite0; without: random weights")
    budget = "of the training (default: those of rstn on this fold and seed)"
    training.add_argument("--seconds", type=float, help=budget)
    training.add_argument("--measure", type=float, default=60.0, help="seconds that an epoch is measured (default: 60)")
    add_option(training, "an id of the training")
    elsewhere = "take weights that were trained elsewhere, in --seconds, instead of training"
    training.add_argument("--weights", type=Path, help=elsewhere)
    training.set_defaults(run=run_train)
    evaluating = kinds.add_parser("evaluate", help="evaluate a trained fold and write its rows")
    _add_run(evaluating)
    evaluating.set_defaults(run=run_evaluate)
    writing = kinds.add_parser("tables", help="write and print the tables of all rows that are there")
    writing.add_argument("--output", type=Path, required=True, help="folder of the runs, or a rows.csv")
    writing.add_argument("--folder", type=Path, help="for table.md and rows.csv (default: <output>/tables)")
    writing.set_defaults(run=run_tables)
    claiming = kinds.add_parser("claims", help="the chapter's claims on the phantom and on real slices, side by side")
    claiming.add_argument("--output", type=Path, required=True, help="folder of the runs, or a rows.csv")
    claiming.add_argument("--phantom", type=Path, required=True, help="rows.csv of a record of benchmarks.chapter")
    claiming.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds of the record (default: 0)")
    told = "method that stands for the chapter's RSTN (default: rstn)"
    claiming.add_argument("--rstn", choices=[name for name in METHODS if name.startswith("rstn")], help=told)
    claiming.add_argument("--folder", type=Path, help="for claims.md (default: <output>/tables)")
    claiming.set_defaults(run=run_claims)
    for module in (pictures, tissues, views, volumes):
        module.add_parser(kinds)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, see :func:`c2f_monai.apps.cli.run_command`."""
    return run_command(build_parser(), argv)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", choices=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--fold", type=int, required=True, help="fold that is tested")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--data", type=Path, required=True, help="folder made by prepare slices")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")


def run_train(args: argparse.Namespace) -> None:
    """Train, or take weights over.

    Raises:
        FileNotFoundError: when weights do not exist.
        ValueError: when rivals have no budget, or training fails.
    """
    run = _run_of(args)
    for path in (args.start, args.weights):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"there is no file {path}.")
    if args.weights is not None:
        run = replace(run, options=dict(parse_option(text) for text in args.option))
        return _take_over(run, args.weights, args.seconds)
    options = run.kept_options() or _begin(run, args)
    if changed := [text for text in args.option if not _is_among(text, options)]:
        raise ValueError(f"{run.folder} was begun without {changed[0]}: choose another --output.")
    run = replace(run, options=options)
    run.keep_options()
    training, _ = parts_of_method(run)
    end_on_signals()  # else the part's process would go on alone
    run_part(training)
    print(f"{run.weights}: {json.loads(training.result.read_text(encoding='utf-8'))['seconds']:.0f} s")


def _is_among(text: str, options: Mapping[str, object]) -> bool:
    key, value = parse_option(text)
    return key in options and options[key] == value


def run_evaluate(args: argparse.Namespace) -> None:
    """Evaluate and write the rows.

    Raises:
        ValueError: when the training is not there, or an evaluation fails.
    """
    run = _run_of(args)
    run = replace(run, options=run.kept_options() or {})
    training, evaluations = parts_of_method(run)
    if not is_done(training):
        raise ValueError(f"{run.folder} has no finished training: run train first.")
    end_on_signals()
    for part in evaluations:
        run_part(part)
    folders = dict(zip(evaluations_of(run.method), (part.folder for part in evaluations), strict=True))
    print(write_rows(run, training.result, folders))


def run_tables(args: argparse.Namespace) -> None:
    """Write ``table.md`` and ``rows.csv``, and print the former.

    Raises:
        ValueError: when there are no rows.
    """
    folder = args.folder or args.output / "tables"
    rows = read_rows(args.output)
    made = f"`{_command()}`; source {json.dumps(describe_source(ROOT))}, versions {json.dumps(describe_versions())}."
    text = "\n".join([*table_lines(rows), "", made, ""])
    with atomic_write(folder / "rows.csv") as part:
        rows.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")
    with atomic_write(folder / "table.md") as part:
        part.write_text(text, encoding="utf-8")
    print(text)


def run_claims(args: argparse.Namespace) -> None:
    """Write and print ``claims.md``.

    Raises:
        OSError: when the record does not exist.
        ValueError: when there are no rows, or rows of one fold and seed, or none of the method of ``--rstn``.
    """
    folder = args.folder or args.output / "tables"
    rows = read_rows(args.output)
    rows = rows if args.rstn is None else with_rstn(rows, args.rstn)
    text = "\n".join([*claim_lines(rows, args.phantom, args.seeds), "", f"`{_command()}`", ""])
    with atomic_write(folder / "claims.md") as part:
        part.write_text(text, encoding="utf-8")
    print(text)


def _run_of(args: argparse.Namespace) -> MethodRun:
    return MethodRun(METHODS[args.method], args.data.absolute(), args.output.absolute(), args.fold, args.seed)


def _begin(run: MethodRun, args: argparse.Namespace) -> dict[str, object]:
    """Options of a training that has not begun; the epochs of rivals follow from the time that RSTN took."""
    options = dict(parse_option(text) for text in args.option)
    if run.method.pretrained and args.start is not None:
        options["init_weights"] = str(args.start.absolute())
    seconds = args.seconds
    if run.method.name == "rstn" and seconds is not None:
        raise ValueError("rstn sets the seconds of the others: --seconds is theirs, or for --weights.")
    if seconds is None and run.method.name != "rstn" and "epochs" not in {**run.method.options, **options}:
        result = replace(run, method=METHODS["rstn"]).folder / "result.json"
        if not result.is_file():
            raise ValueError(f"{run.method.name} gets the seconds of rstn: train that first, or give --seconds.")
        seconds = json.loads(result.read_text(encoding="utf-8"))["seconds"]
    if seconds is not None:
        laps = iteration_seconds(replace(run, options=options), args.measure)
        files = [str(ROOT / file) for file in training_files(run.method)]
        parser = read_training_config(files, str(ROOT / "bundle"), None, args.option)
        items, batch = (parser.get_parsed_content(key) for key in ("items_per_epoch", "batch_size"))
        options["epochs"] = epochs_within(seconds, laps, items, batch)
        print(f"{sum(laps) / len(laps):.3f} s an iteration: {options['epochs']} epochs in {seconds:.0f} s")
    return options


def _take_over(run: MethodRun, weights: Path, seconds: float | None) -> None:
    """Put weights where training would leave them, with a note of where they come from."""
    if seconds is None:
        raise ValueError("--weights needs --seconds: what the training took.")
    if run.weights.exists():
        raise ValueError(f"{run.weights} is there already: choose another --output or --seed.")
    with atomic_write(run.weights) as part:
        shutil.copyfile(weights, part)
    made = {
        "part": f"training/{run.method.name}/{run.folder.name}",
        "seconds": seconds,
        "command": _command(),
        "sha256": sha256_of(weights),
        "source": describe_source(ROOT),
        "versions": describe_versions(),
        "machine": describe_machine(),
    }
    run.keep_options()
    with atomic_write(run.folder / "result.json") as part:
        part.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(run.weights)


def _command() -> str:
    """The command as it was typed, so that it can be typed again."""
    return shlex.join(["python", "-m", "benchmarks.real", *sys.argv[1:]])

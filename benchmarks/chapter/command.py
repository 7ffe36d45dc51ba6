# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m benchmarks.chapter``."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from c2f_monai.apps.cli import run_command
from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.training_config import parse_option
from c2f_monai.data.datalist import label_names, load_datalist, resolve_dataset
from c2f_monai.data.phantom import COHORTS, DEFAULT_NAME
from c2f_monai.data.phantom.versions import phantom_version

from . import archive, difficulty, figures, hours, release, where
from .data import derive_dataset
from .parts import ROOT, ExperimentPart, ExperimentSettings, parts_of
from .plan import Table
from .published import as_published
from .report import write_report
from .results import write_record
from .run import estimates, is_done
from .tables import DEFAULT_ORGANS, build_tables
from .targets import organs_of
from .verdicts import HOURS, write_verdicts
from .workflow import run_workflow, write_plan

__all__ = ["build_parser", "main", "parse_organ"]

DESCRIPTION = """Trains and evaluates what a table needs with monai.bundle run, in parts that Snakemake runs by
benchmarks/chapter/Snakefile. A part whose result is there is not run again, so that a command that was stopped or that
ended at --minutes goes on when it is given again. What stands behind -- is for Snakemake, such as -- --retries 2, or
-- --executor slurm."""
#: Commands that run parts.
_RUNNING = ("run", "figures")
#: Settings that are paths, which plans keep as text.
_PATHS = ("dataset_dir", "output", "init_weights")
#: What tables do not depend on.
_OF_A_RUN = ("run", "tables", "jobs", "minutes", "further")

#: The data set that is made where none is given.
EMBEDDED = ROOT / "bundle" / "data" / DEFAULT_NAME


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chapter", description="The chapter's experiments.")
    kinds = parser.add_subparsers(required=True, metavar="command")
    listing = kinds.add_parser("list", help="tables, their parts and the estimated time")
    listing.add_argument("tables", nargs="*", metavar="TABLE", help="also list the parts of these tables")
    listing.set_defaults(run=run_list)
    running = kinds.add_parser("run", help="run the parts of tables and write the tables", description=DESCRIPTION)
    running.add_argument("tables", nargs="+", metavar="TABLE", help="names of tables, or all")
    running.set_defaults(run=run_tables)
    writing = kinds.add_parser("tables", help="write tables again from results that are there")
    writing.add_argument("tables", nargs="+", metavar="TABLE", help="names of tables, or all")
    writing.set_defaults(run=write_tables)
    counting = kinds.add_parser("hours", help="GPU hours and memory to expect, without running anything")
    counting.add_argument("tables", nargs="+", metavar="TABLE", help="names of tables, or all")
    counting.set_defaults(run=run_hours)
    hours.add_arguments(counting)
    claims = kinds.add_parser("claims", help="say of each claim of the chapter whether the results show it")
    claims.add_argument("tables", nargs="*", metavar="TABLE", help="only of the rows of these tables (default: all)")
    claims.set_defaults(run=run_claims)
    spent = f"that may be spent on one claim; what needs more cannot be told (default: {HOURS:g})"
    claims.add_argument("--hours", type=float, default=HOURS, help=spent)
    claims.add_argument(
        "--longer", type=float, default=1.0, help="tell the hours for so much longer refining trainings"
    )
    recording = kinds.add_parser("record", help="keep the results of all parts in a few files")
    recording.add_argument("folder", type=Path, help="where rows.csv, saliency.csv, parts.json and figures are written")
    recording.set_defaults(run=run_record)
    drawing = kinds.add_parser("figures", help="run what Figures 3.2 and 3.4 need and draw them")
    drawing.add_argument("names", nargs="+", choices=figures.FIGURES, help=", ".join(figures.FIGURES))
    drawing.add_argument("--cases", type=int, default=3, help="the first cases are drawn (default: 3)")
    drawing.set_defaults(run=run_figures)
    for kind in (listing, running, counting, writing, claims, recording, drawing):
        _add_settings(kind)
    for kind in (running, drawing):
        at_once = "parts at once, sharing the cores (default: 1), or jobs of another executor"
        kind.add_argument("--jobs", type=int, default=1, help=at_once)
        kind.add_argument("--minutes", type=float, help="start no part after so long (default: no limit)")
    for kind in (writing, claims):
        kind.add_argument("--rows", type=Path, help="rows.csv of a record to read (default: the parts of --output)")
    for module in (archive, release, difficulty, where):
        module.add_parser(kinds)
    return parser


class _Once(logging.Filter):
    """Says once what every training of a plan is warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self.said
        self.said.add(text)
        return new


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, see :func:`c2f_monai.apps.cli.run_command`; words behind ``--`` are arguments of Snakemake."""
    words, further, parser = list(sys.argv[1:] if argv is None else argv), [], build_parser()
    if words and words[0] in _RUNNING and "--" in words:
        words, further = words[: words.index("--")], words[words.index("--") + 1 :]
    parser.set_defaults(further=further)
    logger, once = logging.getLogger("c2f_monai.config.rules"), _Once()
    logger.addFilter(once)
    try:
        return run_command(parser, words)
    finally:
        logger.removeFilter(once)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset_dir", type=Path, help="data set (default: the embedded phantom)")
    parser.add_argument("--output", type=Path, help="folder of parts and tables (default: runs/experiments[-small])")
    parser.add_argument("--small", action="store_true", help="a few cases and iterations, to try a table")
    parser.add_argument("--folds", type=int, help="k-fold cross-validation over the training cases (default: none)")
    parser.add_argument("--fold-seed", type=int, help="random folds (default: consecutive cases)")
    parser.add_argument("--only-folds", type=int, nargs="+", help="folds to run, from 0 (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds (default: 0)")
    parser.add_argument("--published", action="store_true", help="with the constants of the publication")
    start = "what --published trainings start from, a file of c2f import-weights fcn8s or vgg16 (default: random)"
    parser.add_argument("--init_weights", type=Path, help=start)
    parser.add_argument(
        "--overlay", nargs="*", default=[], help="configs of trainings and evaluations, such as a data set's"
    )
    add_option(parser, "an id of every run")
    own = "an id of one training and its evaluations, such as unet3d epochs=40"
    parser.add_argument("--option-of", action="append", nargs=2, default=[], metavar=("NAME", "ID=VALUE"), help=own)
    distance = "t of the cyst's tables, mm (default: 10, or 15 voxels of the file's own grid)"
    parser.add_argument("--organ_distance_mm", type=float, help=distance)
    organs = "organs, such as liver=6 pancreas=1,2 (default: the chapter's that the data set names)"
    parser.add_argument("--organs", nargs="+", metavar="NAME=VALUES", help=organs)


def run_list(args: argparse.Namespace) -> None:
    """Print tables, parts and estimated minutes.

    Raises:
        ValueError: for unknown tables or settings that do not fit.
    """
    made = args.dataset_dir is not None or EMBEDDED.is_dir()
    if not made:  # by what trains, in minutes: a list reads at most
        print("the embedded data set is not made yet: the times are without those of evaluations", file=sys.stderr)
    settings, tables = _settings(args, with_data=made), _tables(args)
    for table in tables.values():
        print(_time_line(table.name, parts_of([table], settings), table.title))
    print(_time_line("all", parts_of(tables.values(), settings), "each part once"))
    for table in _chosen(args.tables, tables):
        parts = parts_of([table], settings)
        minutes = estimates(parts)
        for part in parts:
            print(f"  {'done' if is_done(part) else 'to do':5} {minutes[part.name] / 60:6.1f} min  {part.name}")


def run_tables(args: argparse.Namespace) -> None:
    """Run what is missing, write and print the tables; of some folds alone no table is written.

    Raises:
        ValueError: for unknown tables or settings that do not fit, or when a part fails.
    """
    settings, began = _settings(args), time.time()
    chosen = _chosen(args.tables, _tables(args))
    tables = {table.name: [part.name for part in parts_of([table], settings)] for table in chosen}
    if not _run(args, parts_of(chosen, settings), settings, {} if args.only_folds else tables):
        return
    if args.only_folds:
        print("Parts of these folds are done; without --only-folds the command writes the tables.")
        return
    paths = [settings.output / "tables" / name / "table.md" for name in tables]
    for path in paths:
        if path.is_file() and path.stat().st_mtime >= began:  # some arguments of Snakemake run nothing
            print(_printed(path))


def _run(
    args: argparse.Namespace,
    parts: Sequence[ExperimentPart],
    settings: ExperimentSettings,
    tables: Mapping[str, Sequence[str]] | None = None,
) -> bool:
    """Run what is missing of some parts and tables; whether the time sufficed, which is told where it did not."""
    if args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {args.jobs}.")
    threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or max(1, (os.cpu_count() or 1) // args.jobs)
    own = {key: value for key, value in vars(args).items() if key not in _OF_A_RUN} | {"output": settings.output}
    own |= {key: str(own[key].absolute()) for key in _PATHS if own[key] is not None}
    plan = write_plan(parts, settings.output, tables, own, _command(), threads)
    ended = run_workflow(plan, args.jobs * threads, args.minutes, args.further)
    if not ended:
        print(f"{args.minutes:g} minutes are over: give the same command again to go on.")
    return ended


def write_planned_table(plan: Mapping[str, Any], name: str) -> None:
    """Write a table of a plan, see :func:`benchmarks.chapter.workflow.write_plan`.

    Raises:
        ValueError: when a result is missing.
    """
    own = plan["settings"] | {key: Path(text) for key in _PATHS if (text := plan["settings"][key])}
    args = argparse.Namespace(**own)
    settings, table = _settings(args), _tables(args)[name]
    write_report(table, settings, parts_of([table], settings), plan["command"])


def run_hours(args: argparse.Namespace) -> None:
    """Print GPU hours of the tables' parts, and the memory of RSTN's training by its rounds; no data is read.

    Raises:
        OSError: When there is no measurement.
        ValueError: for unknown tables or settings that do not fit.
    """
    settings = _settings(args, with_data=args.dataset_dir is not None)
    one = replace(settings, folds=settings.folds[:1], seeds=settings.seeds[:1])
    sizes = hours.Sizes(tuple(args.size), tuple(args.box), args.cases or settings.cases or 21)
    parts = parts_of(_chosen(args.tables, _tables(args)), one)
    runs = len(settings.folds) * len(settings.seeds)
    measured = hours.read_throughput(args.measured)
    print("\n".join(hours.lines_of_hours(parts, runs, sizes, measured, range(1, 6))))


def write_tables(args: argparse.Namespace) -> None:
    """Write and print the tables from results that are there.

    Raises:
        ValueError: for unknown tables or settings that do not fit, or when a result is missing.
    """
    _report(_chosen(args.tables, _tables(args)), _settings(args))


def run_claims(args: argparse.Namespace) -> None:
    """Write and print the verdict on each claim, from the results that are there.

    Raises:
        ValueError: for unknown tables or settings that do not fit.
    """
    tables = _tables(args)
    chosen = None if args.tables in ([], ["all"]) else _chosen(args.tables, tables)
    path = write_verdicts(tables, _settings(args), _command(), chosen, args.hours, args.longer)
    print(path.read_text(encoding="utf-8"))


def run_figures(args: argparse.Namespace) -> None:
    """Run what is missing and draw the figures.

    Raises:
        ValueError: for settings that do not fit, less than one case, or when a part fails.
    """
    if args.cases < 1:
        raise ValueError(f"--cases must be at least 1, got {args.cases}.")
    settings, known = _settings(args), figures.regions_of(args.organ_distance_mm)
    for name in args.names:
        parts = figures.figure_parts(known[name], settings, args.cases)
        if not _run(args, parts, settings):
            return
        if not all(map(is_done, parts)):  # some arguments of Snakemake run nothing
            continue
        print(f"{known[name].title}: {figures.write_figure(name, known[name], settings, args.cases)}")


def run_record(args: argparse.Namespace) -> None:
    """Record the parts that are done, whatever table they are of.

    Raises:
        ValueError: for settings that do not fit, or when no evaluation is done.
    """
    evaluations = {e.name: e for table in _tables(args).values() for e in table.evaluations}
    print(write_record(list(evaluations.values()), _settings(args), args.folder))


def _command() -> str:
    """The command as it was typed, so that it can be typed again."""
    return shlex.join(["python", "-m", "benchmarks.chapter", *sys.argv[1:]])


def _report(tables: Sequence[Table], settings: ExperimentSettings) -> None:
    for table in tables:
        print(_printed(write_report(table, settings, parts_of([table], settings), _command())))


def _printed(path: Path) -> str:
    return f"\n{path.read_text(encoding='utf-8')}\n{path.parent}: table, cases and figures"


def _settings(args: argparse.Namespace, with_data: bool = True) -> ExperimentSettings:
    dataset, cases = args.dataset_dir or EMBEDDED, 0
    output = (args.output or Path("runs") / ("experiments-small" if args.small else "experiments")).absolute()
    known: Sequence[int | None] = [None] if args.folds is None else range(args.folds)
    folds = known if args.only_folds is None else args.only_folds
    if unknown := [fold for fold in folds if fold not in known]:
        raise ValueError(f"--only-folds must be of the {len(known)} folds from 0, with --folds, got {unknown}.")
    for option, what, given in (("--only-folds", "fold", folds), ("--seeds", "seed", args.seeds)):
        if len(set(given)) < len(given):
            raise ValueError(f"{option} names a {what} twice: {given}.")
    if args.init_weights is not None and not args.published:
        raise ValueError(f"--init_weights {args.init_weights} is the start of --published trainings: give both.")
    if args.init_weights is not None and not args.init_weights.is_file():
        raise ValueError(f"--init_weights {args.init_weights} does not exist: make it with c2f import-weights.")
    options = dict(parse_option(text) for text in args.option)
    own = _own_options(args)
    rows = getattr(args, "rows", None)
    if rows is None and with_data:  # a record is read without the data
        dataset = Path(resolve_dataset(dataset, EMBEDDED))
        dataset = derive_dataset(dataset, output, args.folds, args.fold_seed, args.small)
        cases = len(load_datalist(dataset, "test", fold=folds[0], check_files=False))
    return ExperimentSettings(
        dataset.absolute(),
        output,
        folds,
        args.seeds,
        args.overlay,
        args.published,
        options,
        own,
        args.small,
        cases,
        rows and rows.absolute(),
        init_weights=args.init_weights and args.init_weights.absolute(),
    )


def _own_options(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Options of single weights by their names, which must be those of some table."""
    needed = [w for table in _tables(args).values() for w in (*table.trainings, *table.merges)]
    known = {weights.name for weights in needed}
    own: dict[str, dict[str, Any]] = {}
    for name, text in args.option_of:
        if name not in known:
            raise ValueError(f"--option-of takes one of {', '.join(sorted(known))}, got {name!r}.")
        own.setdefault(name, {}).update([parse_option(text)])
    return own


def parse_organ(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and label values of ``NAME=VALUE,VALUE``.

    Raises:
        ValueError: for another form.
    """
    name, _, values = text.partition("=")
    try:
        return name, tuple(int(value) for value in values.split(","))
    except ValueError as error:
        raise ValueError(f"--organs takes NAME=VALUE or NAME=VALUE,VALUE, got {text!r}.") from error


def _tables(args: argparse.Namespace) -> dict[str, Table]:
    tables = build_tables(_organs(args), args.organ_distance_mm)
    return as_published(tables) if args.published else tables


def _organs(args: argparse.Namespace) -> Mapping[str, Sequence[int]]:
    """The organs asked for, those of the chapter that the data set names, or the pancreas and its cyst."""
    if args.organs:
        return dict(parse_organ(text) for text in args.organs)
    folder: Path | None = args.dataset_dir
    if folder is None:
        return DEFAULT_ORGANS
    made_later = {cohort.name: phantom_version(cohort.version).label_names for cohort in COHORTS.values()}
    names = label_names(folder) if (folder / "dataset.json").is_file() else made_later.get(folder.name, {})
    organs = organs_of(names)
    return organs if len(organs) > 1 else DEFAULT_ORGANS


def _chosen(names: Sequence[str], tables: Mapping[str, Table]) -> list[Table]:
    if list(names) == ["all"]:
        return list(tables.values())
    if unknown := [name for name in names if name not in tables]:
        raise ValueError(f"there is no table {unknown[0]}: the tables are {', '.join(tables)}, or all.")
    return [tables[name] for name in names]


def _time_line(name: str, parts: Sequence[ExperimentPart], title: str) -> str:
    seconds = estimates(parts)
    left = sum(seconds[part.name] for part in parts if not is_done(part))
    total = sum(seconds.values())
    return f"{name:12} {len(parts):3} parts, {left / 60:6.0f} min left of {total / 60:6.0f}  {title}"

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``release-score``: score weights on the test split, once, and append the numbers to a committed log."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from c2f_monai.apps.cli.command import add_option
from c2f_monai.apps.evaluation import evaluate
from c2f_monai.apps.training_config import parse_option
from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import atomic_write, sha256_of
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

from .release_numbers import release_numbers

__all__ = ["add_parser", "append_record", "find_record", "read_log"]

DESCRIPTION = """Evaluates weights on the test split with the bundle's evaluate configuration and appends the numbers,
with command, commit, versions and machine, to a log that belongs under version control. Thresholds, rounds, margins
and checkpoints are chosen on validation: weights that are in the log already are refused."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    summary = "score weights on the test split, once"
    parser = subparsers.add_parser("release-score", help=summary, description=DESCRIPTION)
    parser.add_argument("--name", required=True, help="name of the method in the log, such as rstn")
    parser.add_argument("--weights", required=True, type=Path, help="state_dict to score")
    parser.add_argument("--bundle_root", type=Path, default=Path("bundle"), help="the bundle (default: bundle)")
    parser.add_argument("--overlay", type=Path, nargs="*", default=[], help="configs after evaluate.json")
    parser.add_argument("--dataset_dir", type=Path, help="data set (default: the configuration's, the phantom)")
    parser.add_argument("--log", type=Path, default=Path("docs/results/test_log.jsonl"), help="log to append to")
    parser.add_argument("--again", metavar="REASON", help="score weights a second time; the reason is recorded")
    add_option(parser, "override of a config id")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate, copy the per-case CSV beside the log, append the record and print it.

    Raises:
        ValueError: When a file is missing, the weights are in the log already, or the evaluation fails. The log is
            not touched then.
    """
    files = [
        args.bundle_root / "configs" / name for name in ("train.json", "three_views.json", "evaluate.json")
    ] + args.overlay
    for path in (args.weights, *files):
        if not path.is_file():
            raise ValueError(f"there is no file {path}.")
    digest = sha256_of(args.weights)
    earlier = find_record(args.log, digest)
    if earlier and not args.again:
        raise ValueError(
            f"{args.weights} was scored on the test split before ({earlier['name']}, {earlier['date']}): "
            f"choose on validation, or state a reason with --again."
        )
    options = _options(args)
    with tempfile.TemporaryDirectory(prefix="release-score-") as folder:
        table = evaluate(files, options, Path(folder))
        record = _record(args, digest, table)
        name = f"{args.name}-{digest[:8]}-{record['date'][:10]}.csv"
        _copy(table, args.log.parent / name)
    record["table"] = name
    append_record(args.log, record)
    print(json.dumps(record["numbers"], indent=1))
    print(f"Appended to {args.log}; the cases are in {args.log.parent / name}")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records of a log, oldest first; none when there is no log yet.

    Raises:
        ValueError: When a line is not a record.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            record["sha256"], record["name"], record["date"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"line {number} of {path} is not a record of a release: {line[:60]!r}.") from error
        records.append(record)
    return records


def find_record(path: Path, digest: str) -> dict[str, Any] | None:
    """Latest record of the weights with this SHA-256, None when they were not scored."""
    return next((record for record in reversed(read_log(path)) if record["sha256"] == digest), None)


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one line; earlier lines are never rewritten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _options(args: argparse.Namespace) -> dict[str, Any]:
    fixed = {"bundle_root": str(args.bundle_root), "ckpt_path": str(args.weights)}
    if args.dataset_dir is not None:
        fixed["dataset_dir"] = str(args.dataset_dir)
    options = dict(parse_option(text) for text in args.option)
    if taken := sorted(options.keys() & {*fixed, "output_dir"}):
        raise ValueError(f"--option must not set {taken[0]}: it has an option of its own or is fixed.")
    return fixed | options


def _record(args: argparse.Namespace, digest: str, table: Path) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "name": args.name,
        "weights": str(args.weights),
        "sha256": digest,
        "again": args.again,
        # As it was typed, so that it can be typed again: the parser has the words after the program's name.
        "command": shlex.join(["python", "-m", "benchmarks.chapter", *sys.argv[1:]]),
        "source": describe_source(),
        "versions": describe_versions(),
        "machine": describe_machine(),
        "numbers": release_numbers(list(read_cases(table, ["dsc"]).values())),
    }


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as part:
        shutil.copyfile(source, part)

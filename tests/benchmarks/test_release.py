# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import hashlib
import json
from types import SimpleNamespace

import pytest

from benchmarks.chapter import release
from c2f_monai.apps import evaluation
from tests.processes import run_python

TABLE = """case,group,dsc,dsc_round_0,d_1,d_2,d_3,rounds
a,plain,0.9,0.8,0.8,0.9,0.96,3
b,shifted,0.7,0.4,0.7,0.97,,2
"""


def _args(*arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    release.add_parser(parser.add_subparsers())
    return parser.parse_args(["release-score", *map(str, arguments)])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A bundle whose evaluation writes a fixed table for the weights it is given, the working directory."""
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    write = f"$pathlib.Path(@output_dir, 'cases.csv').write_text({TABLE!r})"
    ids = {"imports": ["$import pathlib"], "ckpt_path": "", "output_dir": "", "fail": "false"}
    (configs / "train.json").write_text(json.dumps(ids), encoding="utf-8")
    (configs / "three_views.json").write_text("{}", encoding="utf-8")
    (configs / "evaluate.json").write_text(
        json.dumps({"run": ["$int('failed') if @fail == 'true' else None", "$open(@ckpt_path).close()", write]}),
        encoding="utf-8",
    )
    (tmp_path / "model.pt").write_bytes(b"weights")
    monkeypatch.setattr(evaluation, "subprocess", SimpleNamespace(run=lambda command, check: run_python(command[1:])))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_release_is_evaluated_recorded_and_refused_the_second_time(project, capfd):
    args = _args("--name", "rstn", "--weights", "model.pt", "--log", "results/log.jsonl")
    args.run(args)
    (record,) = release.read_log(project / "results" / "log.jsonl")
    assert record["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert (record["name"], record["again"]) == ("rstn", None)
    assert record["numbers"]["all"]["dsc"]["mean"] == pytest.approx(0.8)
    assert record["numbers"]["plain"]["coarse_dsc"]["mean"] == pytest.approx(0.8)
    assert record["numbers"]["all"]["error_ratio"]["mean"] == pytest.approx(0.4 / 0.8)
    assert {"versions", "machine", "source", "command"} <= set(record)
    assert (project / "results" / record["table"]).read_text(encoding="utf-8") == TABLE
    assert sorted(path.name for path in (project / "results").iterdir()) == sorted(["log.jsonl", record["table"]])

    with pytest.raises(ValueError, match="model.pt was scored on the test split before .rstn, .*--again"):
        args.run(args)
    assert len(release.read_log(project / "results" / "log.jsonl")) == 1


def test_a_failed_evaluation_leaves_no_record(project, capfd):
    args = _args("--name", "rstn", "--weights", "model.pt", "--log", "results/log.jsonl", "--option", "fail=true")
    with pytest.raises(ValueError, match="evaluation failed .exit code 1., nothing was recorded"):
        args.run(args)
    assert not (project / "results").exists()


def test_a_second_scoring_is_possible_with_a_reason_that_is_recorded(project, monkeypatch):
    log = project / "log.jsonl"
    record = {"sha256": hashlib.sha256(b"weights").hexdigest(), "name": "rstn", "date": "2020-01-01"}
    release.append_record(log, record)

    def evaluate(files, options, folder):
        (folder / "cases.csv").write_text(TABLE, encoding="utf-8")
        return folder / "cases.csv"

    monkeypatch.setattr(release, "evaluate", evaluate)
    args = _args("--name", "rstn", "--weights", "model.pt", "--log", log, "--again", "the phantom changed")
    args.run(args)
    first, second = release.read_log(log)
    assert first == record and second["again"] == "the phantom changed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "none.pt"], "there is no file none.pt"),
        (["--weights", "model.pt", "--overlay", "none.json"], "there is no file none.json"),
        (["--weights", "model.pt", "--option", "stop"], "takes ID=VALUE, got 'stop'"),
        (["--weights", "model.pt", "--option", "ckpt_path=x"], "must not set ckpt_path"),
    ],
)
def test_bad_arguments_are_named_before_the_evaluation(project, arguments, message):
    args = _args("--name", "rstn", *arguments)
    with pytest.raises(ValueError, match=message):
        args.run(args)


def test_a_damaged_log_is_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"sha256": "a", "name": "b", "date": "c"}\nno record\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 of .*log.jsonl is not a record"):
        release.find_record(log, "a")

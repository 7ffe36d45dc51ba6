# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How parts are run: each by itself, and all of a plan by Snakemake."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.chapter import run, workflow
from benchmarks.chapter.command import main
from benchmarks.chapter.part import ROOT, ExperimentPart
from benchmarks.chapter.run import estimates, is_done, run_part
from benchmarks.chapter.workflow import run_workflow, snakemake_command, write_plan

needs_snakemake = pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="needs Python 3.11")


def code_part(folder: Path, name: str, code: str, resumes: bool = False, product: str = "product") -> ExperimentPart:
    """A part that runs Python code, which knows its folder."""
    path = folder / name
    text = f"import pathlib, sys; folder = pathlib.Path({str(path)!r}); {code}"
    return ExperimentPart(name, path, ("-c", text), path / product, 10.0, resumes)


def test_a_part_runs_once_and_says_how(tmp_path: Path) -> None:
    count = "(folder / 'runs').open('a').write('x'); (folder / 'product').touch()"
    part, other = code_part(tmp_path, "kind/a", count), code_part(tmp_path, "kind/b", count)
    run_part(part)
    run_part(part)
    assert (part.folder / "runs").read_text(encoding="utf-8") == "x"
    result = json.loads(part.result.read_text(encoding="utf-8"))
    assert {"command", "source", "versions", "machine", "seconds", "finished"} <= set(result)
    assert result["command"].startswith("python -c ") and "torch" in result["versions"]
    seconds = estimates([part, other])
    assert seconds["kind/a"] == result["seconds"] == pytest.approx(seconds["kind/b"])
    changed = code_part(tmp_path, "kind/a", count + "; print('changed')")
    for refused in (is_done, run_part, lambda part: write_plan([part], tmp_path)):
        with pytest.raises(ValueError, match="was made with other settings: choose another --output"):
            refused(changed)


def test_a_training_goes_on_until_its_last_epoch(tmp_path: Path) -> None:
    # Each run ends one epoch, the first without and the others with --resume True.
    code = (
        "done = len(list(folder.glob('checkpoint_*.pt'))); "
        "assert sys.argv[1:] == (['--resume', 'True'] if done else []), sys.argv; "
        "(folder / f'checkpoint_{done + 1}.pt').touch()"
    )
    part = code_part(tmp_path, "training", code, resumes=True, product="checkpoint_3.pt")
    run_part(part)
    assert len((part.folder / "seconds.txt").read_text(encoding="utf-8").split()) == 3
    assert json.loads(part.result.read_text(encoding="utf-8"))["seconds"] > 0


def test_a_training_that_was_killed_after_its_last_epoch_is_done(tmp_path: Path) -> None:
    part = code_part(tmp_path, "training", "raise SystemExit('not again')", resumes=True)
    part.folder.mkdir()
    part.product.touch()
    run_part(part)
    assert is_done(part)


@pytest.mark.parametrize("resumes", [True, False])
def test_the_time_of_a_run_that_was_stopped_counts_where_the_next_goes_on_from_it(
    resumes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        (tmp_path / "a" / "checkpoint_1.pt").touch()
        raise SystemExit(143)

    now = iter([10.0, 110.0, 200.0, 230.0])
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(now)))
    part = code_part(tmp_path, "a", "(folder / 'product').touch()", resumes)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(run, "_execute", stop)
        run_part(part)
    run_part(part)
    assert json.loads(part.result.read_text(encoding="utf-8"))["seconds"] == (130.0 if resumes else 30.0)


@pytest.mark.parametrize(
    ("code", "resumes", "message"),
    [
        ("sys.exit('error: no such fold')", False, r"a failed \(exit code 1\): error: no such fold .all of it"),
        ("", False, "a left no .*product"),
        ("", True, "a ended no epoch within its time: lower items_per_epoch"),
    ],
)
def test_a_part_that_fails_leaves_no_result(code: str, resumes: bool, message: str, tmp_path: Path) -> None:
    part = code_part(tmp_path, "a", code, resumes)
    with pytest.raises(ValueError, match=message):
        run_part(part)
    assert not part.result.exists()


def test_the_job_of_a_part_needs_no_torch() -> None:
    code = "import sys; from benchmarks.chapter import job; assert not {'torch', 'monai', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@needs_snakemake
def test_parts_run_at_once_wait_for_what_they_read_and_are_tried_again(tmp_path: Path) -> None:
    # Each of two ends only when the other one has begun. The first then fails with a checkpoint, from which it goes on.
    meet = """
import os, time
(folder / "begun").touch()
end = time.monotonic() + 60
while not all((folder.parents[1] / name / "seed0" / "begun").exists() for name in "ab"):
    assert time.monotonic() < end, "the other one did not begin"
    time.sleep(0.01)
"""
    fail = "(folder / 'checkpoint_1.pt').touch(); assert sys.argv[1:], 'killed'\n"
    note = "(folder / 'product').write_text(' '.join([os.environ['OMP_NUM_THREADS'], *sys.argv[1:]]))"
    read = "[(folder.parents[2] / 'training' / n / 'seed0' / 'product').read_text() for n in 'ab']"
    first = code_part(tmp_path, "training/a/seed0", f"{meet}{fail}{note}", resumes=True)
    second = code_part(tmp_path, "training/b/seed0", meet + note)
    third = code_part(tmp_path, "evaluation/c/seed0", f"(folder / 'product').write_text(str({read}))")
    parts = [first, second, replace(third, needs=(first.name, second.name))]
    plan = write_plan(parts, tmp_path, threads=2)
    assert json.loads(plan.read_text(encoding="utf-8"))["targets"] == ["evaluation/c/seed0/result.json"]
    assert run_workflow(plan, cores=4, further=["--retries", "1"])
    assert third.product.read_text(encoding="utf-8") == "['2 --resume True', '2']"
    assert all(map(is_done, parts))


@needs_snakemake
def test_no_more_parts_run_at_once_than_there_are_cores(tmp_path: Path) -> None:
    """Snakemake before 9.17 counted the core of a part that was the only one ready as free when it ended, twice."""
    alone = f"import time; busy = pathlib.Path({str(tmp_path / 'busy')!r}); busy.mkdir(); time.sleep(1); busy.rmdir(); "
    first = code_part(tmp_path, "training/a/seed0", f"{alone}(folder / 'product').touch()")
    others = [code_part(tmp_path, f"evaluation/{n}/seed0", f"{alone}(folder / 'product').touch()") for n in "bc"]
    parts = [first, *(replace(part, needs=(first.name,)) for part in others)]
    assert run_workflow(write_plan(parts, tmp_path), cores=1)
    assert all(map(is_done, parts))


@needs_snakemake
def test_the_command_plans_what_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "set"
    data.mkdir()
    cases = [{"image": f"{i}.nii.gz", "label": f"{i}.nii.gz"} for i in range(4)]
    (data / "dataset.json").write_text(json.dumps({"training": cases}), encoding="utf-8")
    settings = ["--dataset_dir", str(data), "--output", str(tmp_path / "out"), "--folds", "2", "--seeds", "0", "1"]
    # Results of an earlier run, which Snakemake knows nothing of, count whichever of them is newer.
    for part in ("evaluation/rstn_final", "training/rstn", "training/coarse"):
        done = tmp_path / "out" / part / "fold0_seed1"
        done.mkdir(parents=True)
        (done / "result.json").write_text('{"seconds": 1}', encoding="utf-8")
    assert main(["run", "pixels", *settings, "--small", "--", "--dry-run"]) == 0
    printed = capfd.readouterr().out
    counts = dict(line.split() for line in printed.splitlines() if len(line.split()) == 2)
    # Three coarse trainings and three that go on, an evaluation of each, by two folds and seeds.
    assert [counts[rule] for rule in ("train", "evaluate", "tabulate", "total")] == ["22", "23", "1", "47"]
    assert "training/rstn_min_pixels_40/fold1_seed0/result.json" in printed
    assert not (tmp_path / "out" / "tables").exists()
    (plan,) = (tmp_path / "out" / "plans").iterdir()
    content = json.loads(plan.read_text(encoding="utf-8"))
    assert content["settings"]["dataset_dir"] == str(data) and content["settings"]["seeds"] == [0, 1]
    one = "training/coarse_min_pixels_1/fold0_seed0/result.json"
    assert main(["run", "pixels", *settings, "--small", "--", one, "--dry-run"]) == 0
    printed = capfd.readouterr().out
    assert one in printed and ["total", "1"] in [line.split() for line in printed.splitlines()]
    assert main(["figures", "box", *settings, "--small", "--", "--dry-run"]) == 0
    assert "rstn_slices_3/fold0_seed0" in capfd.readouterr().out and not (tmp_path / "out" / "figures").exists()
    assert main(["run", "pixels", *settings, "--small", "--jobs", "0"]) == 1
    assert "--jobs must be at least 1, got 0" in capfd.readouterr().err


def test_jobs_are_of_this_machine_or_of_another_executor() -> None:
    plan = Path("/out/plans/a.json")
    command = snakemake_command(plan, 2, ["--retries", "3"])
    assert command[command.index("--cores") + 1] == "2" and command[-2:] == ["--retries", "3"]
    assert command[command.index("--directory") + 1] == "/out" and "--jobs" not in command
    command = snakemake_command(plan, 100, ["--executor", "slurm"])
    assert command[command.index("--jobs") + 1] == "100" and "--cores" not in command


CODE = "import os, signal, sys, time\n"


@pytest.mark.parametrize(
    ("code", "minutes", "ended"),
    [
        ("", None, True),
        ("time.sleep(60)", 0.0, False),
        ("sys.exit(3)", None, "Snakemake ended with exit code 3"),
        (f"os.kill(os.getppid(), {int(signal.SIGTERM)}); time.sleep(60)", None, KeyboardInterrupt),
    ],
    ids=["ends", "time is over", "fails", "stopped"],
)
def test_how_a_run_ends(
    code: str, minutes: float | None, ended: bool | str | type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(workflow, "snakemake_command", lambda *_: [sys.executable, "-c", CODE + code])
    before = signal.getsignal(signal.SIGTERM)
    if isinstance(ended, bool):
        assert run_workflow(Path("plan.json"), minutes=minutes) is ended
    elif isinstance(ended, str):
        with pytest.raises(ValueError, match=ended):
            run_workflow(Path("plan.json"), minutes=minutes)
    else:
        with pytest.raises(KeyboardInterrupt):
            run_workflow(Path("plan.json"), minutes=minutes)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_in_the_background_is_stopped_with_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell lets it ignore SIGINT, by which its parts are stopped."""
    went_on = tmp_path / "went on"
    code = f"os.kill(os.getppid(), {int(signal.SIGTERM)}); time.sleep(20); open({str(went_on)!r}, 'w').close()"
    monkeypatch.setattr(workflow, "snakemake_command", lambda *_: [sys.executable, "-c", CODE + code])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_workflow(Path("plan.json"))
    finally:
        ignored = signal.signal(signal.SIGINT, before)
    assert ignored == signal.SIG_IGN and not went_on.exists()


def test_without_snakemake_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'c2f-monai\[experiments\]'"):
        run_workflow(Path("plan.json"))

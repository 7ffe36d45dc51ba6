# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f experiment`` hands its words on in a source tree, and says where the experiments are elsewhere."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.chapter import command
from c2f_monai.apps import experiment
from c2f_monai.apps.cli import main


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(words: list[str]) -> int:
    """Exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["experiment", *words])
    return int(ended.value.code or 0)


def test_the_source_trees_program_gets_the_words_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["list", "--dataset_dir", "no_set"]) == 1
    assert f"dataset_dir {tmp_path / 'no_set'} does not exist" in capsys.readouterr().err
    assert run(["run", "--help"]) == 0
    assert "usage: python -m benchmarks.chapter run" in capsys.readouterr().out
    assert run([]) == 2


def test_a_list_makes_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "EMBEDDED", tmp_path / "phantom")
    assert run(["list", "stepwise"]) == 0
    found = capsys.readouterr()
    assert "training/stepwise" in found.out and "not made yet" in found.err
    assert not list(tmp_path.iterdir())


def test_an_installed_package_takes_the_source_tree_that_it_is_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(experiment, "bundle_root", lambda: tmp_path / "site-packages" / "c2f_monai" / "bundle")
    monkeypatch.setattr(runpy, "run_module", lambda *args, **kwargs: started.append([sys.path[0], *sys.argv]))
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "list"]) == 1
    assert (
        "part of the source tree (benchmarks/chapter), which an installed package does not" in capsys.readouterr().err
    )
    program = tmp_path / "benchmarks" / "chapter" / "__main__.py"
    program.parent.mkdir(parents=True)
    program.touch()
    assert main(["experiment", "list", "--organ_distance_mm", "15"]) == 0
    assert started == [[str(tmp_path), "benchmarks.chapter", "list", "--organ_distance_mm", "15"]]

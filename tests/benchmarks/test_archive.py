# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The archive of raw results."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from benchmarks.chapter.command import main
from c2f_monai import __version__


def test_the_archive_holds_results_without_weights_and_is_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "out" / "training" / "rstn" / "seed0"
    for name in ("result.json", "log.txt", "model.pt", "masks/a.nii.gz"):
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_text(name, encoding="utf-8")
    for other in ("data/dataset.json", ".snakemake/log/a.log"):
        (tmp_path / "out" / other).parent.mkdir(parents=True)
        (tmp_path / "out" / other).touch()
    words = ["archive", str(tmp_path / "out"), "--to", str(tmp_path / "build")]
    assert main(words) == 0
    path = tmp_path / "build" / f"results-{__version__}.tar.gz"
    with tarfile.open(path) as archive:
        names = archive.getnames()
        first = archive.extractfile(names[0])
        assert first is not None and first.read() == b"log.txt"
    prefix = f"results-{__version__}/out/training/rstn/seed0"
    assert names == [f"{prefix}/log.txt", f"{prefix}/result.json"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name(f"{path.name}.sha256").read_text(encoding="utf-8") == f"{digest}  {path.name}\n"
    assert f"2 files, 0.0 MB, SHA-256 {digest}" in capsys.readouterr().out
    os.utime(part / "result.json", (0, 0))
    assert main(words) == 0
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_folders_without_results_or_of_one_place_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/out", "b/out"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "result.json").touch()
    to = ["--to", str(tmp_path)]
    assert main(["archive", str(tmp_path / "a" / "out"), str(tmp_path / "b" / "out"), *to]) == 1
    assert "two folders would be out in the archive" in capsys.readouterr().err
    assert main(["archive", str(tmp_path / "none"), *to]) == 1
    assert "none holds no results: give the --output of an experiment" in capsys.readouterr().err
    assert not list(tmp_path.glob("results-*"))

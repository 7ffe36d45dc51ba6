# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs over a folder that are stopped from outside, and a disk that is full."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from monai.bundle import ConfigWorkflow

from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import root_cause
from tests.bundle.conftest import TINY, inference_files
from tests.bundle.volumes import make_volume, write_nifti
from tests.processes import Command, run_python


def command_of(kind: str, images: Path, out: Path, weights: Path, bundle_root: Path) -> list[str]:
    if kind == "bundle":
        options = {"bundle_root": bundle_root, "ckpt_path": weights, **TINY, "input": images, "output_dir": out}
        words = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        return ["monai.bundle", "run", "--config_file", str(inference_files(bundle_root)), *words]
    overlay = images.parent / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    configs = ["--config", "three_views.json", "--config", str(overlay)]
    return ["c2f_monai", "segment", str(images), str(out), "--model", str(weights), *configs, "--device", "cpu"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("kind", "number"), [("bundle", signal.SIGTERM), ("command", signal.SIGINT)])
def test_a_signal_ends_soon_and_keeps_what_is_done(
    kind: str, number: signal.Signals, tiny_weights: Path, bundle_root: Path, project_root: Path, tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    volume = make_volume((64, 64, 40))
    for index in range(60):
        write_nifti(images / f"{index:02d}.nii.gz", volume)
    words = command_of(kind, images, out, tiny_weights, bundle_root)
    environment = os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    process = Command(["-m", *words], tmp_path, environment, stderr=tmp_path / "stderr")
    table, until = out / "cases.csv", time.monotonic() + 120
    try:
        while time.monotonic() < until and process.poll() is None:
            if table.is_file() and table.read_text(encoding="utf-8").count(",done,") > 1:
                break
            time.sleep(0.02)
        process.send_signal(number)
        status = process.wait(timeout=10)
    finally:
        process.kill()
    stderr = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert status == 128 + number, stderr[-3000:]
    assert f"stopped by {number.name}: what is done stays, and the same command does the rest." in stderr
    assert "Traceback" not in stderr
    done = list(read_cases(table))
    assert 1 < len(done) < 60
    assert sorted(path.name for path in out.glob("*.nii.gz")) == [f"{name}_seg.nii.gz" for name in done]
    assert not list(out.glob(".*"))


DEAF = """
import ctypes, runpy, signal, sys
from c2f_monai.inferers import CoarseToFineInferer

class Noisy:
    def __getattr__(self, name):
        signal.raise_signal(signal.SIGTERM)

def call(self, *args, **kwargs):
    result = own(self, *args, **kwargs)
    calls.append(self)
    if len(calls) == 2:
        assert not ctypes.pythonapi.PyObject_HasAttrString(ctypes.py_object(Noisy()), b"name")
    return result

calls, own, CoarseToFineInferer.__call__ = [], CoarseToFineInferer.__call__, call
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", ["bundle", "command"])
def test_a_signal_that_c_code_drops_ends_the_run_before_the_next_mask(
    kind: str, tiny_weights: Path, bundle_root: Path, project_root: Path, tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in "abc":
        write_nifti(images / f"{name}.nii.gz", make_volume())
    module, *words = command_of(kind, images, out, tiny_weights, bundle_root)
    done = run_python(["-c", DEAF, module, *words], tmp_path, os.environ | {"PYTHONPATH": str(project_root)})
    assert done.returncode == 128 + signal.SIGTERM, done.stderr[-3000:]
    assert list(read_cases(out / "cases.csv")) == ["a"]
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a_seg.nii.gz"]


def test_a_full_disk_ends_the_run_with_the_name_of_the_file(
    inference_workflow: Callable[..., ConfigWorkflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in "abc":
        write_nifti(images / f"{name}.nii.gz", make_volume())
    save = nib.save

    def full(image: Any, path: Path) -> None:
        save(image, path)
        if "b_seg" in Path(path).name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(RuntimeError) as raised:
        inference_workflow(input=str(images), output_dir=str(out)).run()
    assert str(root_cause(raised.value)) == f"[Errno 28] No space left on device: '{out / 'b_seg.nii.gz'}'"
    assert "b_seg.nii.gz" not in {path.name for path in out.iterdir()} and not list(out.glob(".*"))
    assert list(read_cases(out / "cases.csv"))[:1] == ["a"]

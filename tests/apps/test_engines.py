# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An engine that cannot do what is asked for says so before anything is read."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.apps.engines import check_engine, graphs_of
from c2f_monai.networks import CoarseToFineNet, FCN8s
from c2f_monai.utils import MissingPackagesError


@pytest.mark.parametrize(
    ("engine", "device", "fast", "message"),
    [
        ("tensorrt", "cpu", False, "engine must be one of torch, onnx, got 'tensorrt'"),
        ("onnx", "cuda", False, "engine onnx runs on the CPU, and the device is cuda"),
        ("onnx", "cpu", True, "engine onnx computes in float32: leave out fast"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(engine: str, device: str, fast: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_engine(engine, torch.device(device), fast)


def test_an_unknown_engine_is_refused_by_the_segmenter() -> None:
    with pytest.raises(ValueError, match="engine must be one of"):
        Segmenter(device="cpu", engine="openvino")


def test_several_networks_have_no_graphs() -> None:
    with pytest.raises(ValueError, match="engine onnx runs one network, and cyst is a ModuleDict"):
        graphs_of(nn.ModuleDict(), "cyst", "0")


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_without_a_package_the_error_names_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, and before anything is written."""
    monkeypatch.setenv("C2F_MONAI_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f'error: an ONNX graph needs {package}: pip install "c2f-monai[onnx]".\n'
    assert not (tmp_path / "out").exists()
    small = partial(FCN8s, width=2, fc_channels=4, fc_kernel_size=3)
    with pytest.raises(MissingPackagesError, match=rf'{package}: pip install "c2f-monai\[onnx\]"'):
        graphs_of(CoarseToFineNet(small, views=["axial"]), "tiny", "0")
    assert not list(tmp_path.glob("engines/*/*"))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f export``: the shipped model for other programs, in a bundle that gives the same masks."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.data import load_net_with_metadata

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.apps.segmentation import Segmentation
from c2f_monai.handlers import save_weights
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_nifti

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])
OPTIONS = {"pixdim": [4.0, 4.0, 5.0]}


@pytest.fixture(scope="module")
def weights(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model, so eager that it finds a pancreas in noise."""
    state = torch.load(bundle_root / "models" / "model.pt", weights_only=True)
    for part in ("coarse", "fine"):
        state[f"views.axial.{part}.unet.segmentation_head.0.bias"] += 8.0
    path = tmp_path_factory.mktemp("weights") / "eager.pt"
    save_weights(state, path)
    return path


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "pancreas"
    assert main(["export", str(folder), "--model", str(weights)]) == 0
    return folder


@pytest.fixture(scope="module")
def expected(weights: Path) -> Segmentation:
    return Segmenter(weights, device="cpu", options=OPTIONS)(make_volume(), AFFINE, probability=True)


def check_same(result: Segmentation, expected: Segmentation) -> None:
    assert [entry.voxels for entry in result.record.rounds] == [entry.voxels for entry in expected.record.rounds]
    torch.testing.assert_close(result.probability, expected.probability, atol=1e-4, rtol=0)
    assert torch.equal(result.mask, expected.mask)


def test_the_engine_onnx_gives_the_same_mask_and_keeps_its_graphs(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the tiny network: the default one's graphs are those of the export."""
    monkeypatch.setenv("C2F_MONAI_CACHE", str(tmp_path))
    state, weights = torch.load(tiny_weights, weights_only=True), tmp_path / "tiny.pt"
    save_weights({key: value for key, value in state.items() if key.startswith("views.axial.")}, weights)
    options = {**TINY, "views": ["axial"]}
    make = partial(Segmenter, weights, device="cpu", configs=["three_views.json"], options=options)
    expected = make()(make_volume(), AFFINE, probability=True)
    segmenter = make(engine="onnx")
    found = segmenter(make_volume(), AFFINE, probability=True)
    assert torch.equal(found.mask.as_tensor(), expected.mask.as_tensor()) and found.ml > 0
    torch.testing.assert_close(found.probability, expected.probability, atol=1e-4, rtol=0)
    assert segmenter.options["engine"] == "onnx"
    (manifest,) = tmp_path.glob("engines/tiny-*/manifest.json")
    made = manifest.stat().st_mtime_ns
    (graph,) = manifest.parent.glob("axial_fine.onnx")
    make(engine="onnx")
    assert manifest.stat().st_mtime_ns == made
    graph.write_bytes(graph.read_bytes()[:-1])
    make(engine="onnx")
    assert manifest.stat().st_mtime_ns > made


def test_the_graphs_give_the_models_masks(exported: Path, expected: Segmentation) -> None:
    assert len(expected.record.rounds) == 3 and 0 < expected.mask.sum() < expected.mask.numel()
    segmenter = Segmenter(exported, device="cpu", options=OPTIONS)
    assert type(segmenter.network).__name__ == "OnnxNetwork"
    check_same(segmenter(make_volume(), AFFINE, probability=True), expected)
    assert [Path(file).name for file in segmenter.weights] == ["manifest.json"]
    with pytest.raises(ValueError, match="ONNX graphs hold their weights: ckpt_path must be .*manifest.json"):
        Segmenter(exported, device="cpu", options={"ckpt_path": "model.pt"})


def test_the_script_gives_them_in_the_inferer_and_says_what_it_gives_alone(
    exported: Path, weights: Path, expected: Segmentation
) -> None:
    script, values, _ = load_net_with_metadata(str(exported / "model.ts"))
    assert "the coarse answer only" in values["answer"]
    segmenter = Segmenter(weights, device="cpu", options=OPTIONS)
    segmenter.network = script.eval()
    check_same(segmenter(make_volume(), AFFINE, probability=True), expected)


def test_the_manifest_carries_the_settings_of_the_inferer(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    assert Path(manifest["model"]).name == "eager.pt"
    assert manifest["multiples"] == {"coarse": 64, "saliency": 1, "fine": 32}
    settings = manifest["settings"]
    assert (settings["pixdim"], settings["margin"], settings["result"]) == ([0.8, 0.8, -1.0], 20, "mean")


def test_the_folder_is_a_bundle_that_runs(exported: Path, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((24, 20, 3)), AFFINE)
    workflow = ConfigWorkflow(
        config_file=str(exported / "configs" / "inference.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(exported),
        input=str(image),
        output_dir=str(tmp_path / "masks"),
        pixdim=[4.0, 4.0, 5.0],
    )
    workflow.initialize()
    workflow.run()
    assert (tmp_path / "masks" / "ct_seg.nii.gz").is_file()


def test_what_is_no_export_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("five years", encoding="utf-8")
    assert main(["export", str(tmp_path)]) == 1
    assert "exists and is no export" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]

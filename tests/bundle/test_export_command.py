# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f export``: the shipped model for other programs, in a bundle that gives the same masks."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import load_net_with_metadata

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.apps.segmentation import Segmentation
from c2f_monai.handlers import save_weights
from c2f_monai.inferers import QualityModel, quality_path, read_quality
from c2f_monai.utils import sha256_of
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_nifti

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])
OPTIONS = {"pixdim": [4.0, 4.0, 5.0]}
#: Every answer is one to look at, and of an unusual size.
QUALITY = QualityModel({"coarse_dsc": 0.8}, 0.1, 0.2, 1.0, 12, usual={"ml": (-2.0, -1.0)}, about="by hand")


@pytest.fixture(scope="module")
def weights(bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model, so eager that it finds a pancreas in noise."""
    state = torch.load(bundle_root / "models" / "model.pt", weights_only=True)
    for part in ("coarse", "fine"):
        state[f"views.axial.{part}.unet.segmentation_head.0.bias"] += 12.0
    path = tmp_path_factory.mktemp("weights") / "eager.pt"
    save_weights(state, path)
    replace(QUALITY, sha256=sha256_of(path)[:12]).write(quality_path(path))
    return path


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "pancreas"
    assert main(["export", str(folder), "--model", str(weights)]) == 0
    return folder


@pytest.fixture(scope="module")
def expected(weights: Path) -> Segmentation:
    return Segmenter(weights, device="cpu", options=OPTIONS)(make_volume(), AFFINE, probability=True)


def _axial(weights: Path) -> dict[str, torch.Tensor]:
    """The weights of one view, whose graphs are made in a third of the time."""
    state = torch.load(weights, weights_only=True)
    return {key: value for key, value in state.items() if key.startswith("views.axial.")}


def check_same(result: Segmentation, expected: Segmentation) -> None:
    assert [entry.voxels for entry in result.record.rounds] == [entry.voxels for entry in expected.record.rounds]
    torch.testing.assert_close(result.probability, expected.probability, atol=1e-4, rtol=0)
    assert torch.equal(result.mask, expected.mask)
    assert result.record.predicted == pytest.approx(expected.record.predicted, abs=1e-4)
    assert result.record.flags == expected.record.flags


def test_the_engine_onnx_gives_the_same_mask_and_keeps_its_graphs(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the tiny network: the default one's graphs are those of the export."""
    monkeypatch.setenv("C2F_MONAI_CACHE", str(tmp_path))
    weights = tmp_path / "tiny.pt"
    save_weights(_axial(tiny_weights), weights)
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


def test_the_prediction_of_the_dsc_is_exported(
    exported: Path, expected: Segmentation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected.record.predicted is not None
    assert {"look at this one", "unusual size"} <= set(expected.record.flags)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "was fitted for other weights"
        found = read_quality(exported / "manifest.json")
    assert found == replace(QUALITY, sha256=sha256_of(exported / "manifest.json"))
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((24, 20, 3)), AFFINE)
    assert main(["segment", str(image), str(tmp_path / "m.nii.gz"), "--model", str(exported), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "predicted DSC 0." in said and "look at this one" in said and "unusual size" in said


def test_a_bundle_from_before_an_id_existed_is_exported(tiny_weights: Path, bundle_root: Path, tmp_path: Path) -> None:
    """Its inferer has some as arguments, others by default, and predicts no quality."""
    files = [bundle_root / "configs" / f"{name}.json" for name in ("inference", "three_views")]
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update({**TINY, "views": ["axial"]})
    config = parser.get()
    config.pop("_meta_", None)
    for place in (config, config["inferer"], config["options"]):
        del place["bridge"]
    for place in (config, config["inferer"]):
        del place["quality"]
    for name, value in (("fusion", ["vote", "mean"]), ("result", "last")):
        del config[name], config["options"][name]
        config["inferer"][name] = value
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in ("configs", "models"):
        (old / folder).mkdir(parents=True)
    (old / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    save_weights(_axial(tiny_weights), old / "models" / "phantom.pt")  # as three_views.json calls them
    assert main(["export", str(new), "--model", str(old), "--format", "onnx"]) == 0
    settings = json.loads((new / "manifest.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["bridge"], settings["fusion"], settings["result"]) == (0, ["vote", "mean"], "last")
    assert (settings["pixdim"], settings["min_size"], settings["max_rounds"]) == ([6.0, 6.0, 6.0], 16, 1)
    assert not (new / "manifest.quality.json").exists()
    masks = [Segmenter(model, device="cpu")(make_volume(), AFFINE).mask.as_tensor() for model in (old, new)]
    assert torch.equal(*masks) and masks[0].any()


def test_names_that_the_metadata_has_go_along(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For masks as DICOM; graphs take long, and are not what this is about."""
    monkeypatch.setattr("c2f_monai.apps.export.export_onnx", lambda network, folder, about: {"views": {}})
    monkeypatch.setattr("c2f_monai.apps.export._write_quality", lambda *_: None)
    for model, names in (("pancreas", {"1": "pancreas"}), (str(weights), None)):
        folder = tmp_path / Path(model).stem
        assert main(["export", str(folder), "--model", model, "--format", "onnx"]) == 0
        config = json.loads((folder / "configs" / "inference.json").read_text(encoding="utf-8"))
        assert config["output_names"] == names


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


def test_masks_with_their_manifest_are_no_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``c2f segment`` calls its own so, too."""
    content = '{"cases": {"a": {"status": "done"}}}'
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    (tmp_path / "a_seg.nii.gz").write_bytes(b"mask")
    assert main(["export", str(tmp_path)]) == 1
    assert "exists and is no export" in capsys.readouterr().err
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == content


def _fake_graphs(network: object, folder: Path, about: dict) -> dict:
    """Of one view, in no time."""
    (folder / "axial_fine.onnx").write_text(about["model"], encoding="utf-8")
    graph = {"file": "axial_fine.onnx", "max_difference": 0.0}
    manifest = {**about, "views": {"axial": {"parts": {"fine": graph}}}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return manifest


def _earlier(folder: Path, weights: list[str]) -> dict[str, bytes]:
    """A folder as an export leaves it, and a file of somebody's own in it; all by their names."""
    (folder / "configs").mkdir(parents=True)
    parts = {"coarse": {"file": "coronal_coarse.onnx"}, "fine": {"file": "axial_fine.onnx"}}
    manifest = json.dumps({"weights": weights, "views": {"axial": {"parts": parts}}})
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    for name in ("coronal_coarse.onnx", "axial_fine.onnx", "model.ts", "manifest.quality.json", "notes.txt"):
        (folder / name).write_bytes(b"earlier")
    (folder / "configs" / "inference.json").write_bytes(b"earlier")
    return _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("same", "kind", "expected"),
    [
        (False, "onnx", {"axial_fine.onnx", "manifest.json", "configs/inference.json"}),
        (True, "onnx", {"axial_fine.onnx", "manifest.json", "configs/inference.json", "model.ts"}),
        (False, "torchscript", {"model.ts"}),
        (True, "torchscript", {"axial_fine.onnx", "coronal_coarse.onnx", "manifest.json", "manifest.quality.json"}),
    ],
)
def test_nothing_of_another_model_stays_beside_an_export(
    same: bool, kind: str, expected: set[str], tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("c2f_monai.apps.export.export_onnx", _fake_graphs)
    monkeypatch.setattr(
        "c2f_monai.apps.export._write_script", lambda network, path: path.write_text("new", encoding="utf-8")
    )
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps({**TINY, "quality": None}), encoding="utf-8")
    _earlier(tmp_path / "out", [sha256_of(tiny_weights) if same else "0" * 64])
    words = ["export", str(tmp_path / "out"), "--model", str(tiny_weights), "--format", kind]
    assert main([*words, "--config", "three_views.json", "--config", str(overlay)]) == 0
    found = _files(tmp_path / "out")
    if same and kind == "torchscript":
        expected = expected | {"model.ts", "configs/inference.json"}
    assert set(found) == expected | {"notes.txt"} and found["notes.txt"] == b"earlier"
    new = {"onnx": {"axial_fine.onnx", "manifest.json", "configs/inference.json"}, "torchscript": {"model.ts"}}[kind]
    assert all(found[name] != b"earlier" for name in new)


@pytest.mark.parametrize("fails", ["export_onnx", "_write_quality", "_write_script"])
def test_an_export_that_fails_leaves_the_earlier_one(
    fails: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("it differs from the network")

    monkeypatch.setattr("c2f_monai.apps.export.export_onnx", _fake_graphs)
    monkeypatch.setattr(f"c2f_monai.apps.export.{fails}", fail)
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    before = _earlier(tmp_path / "out", [])
    words = ["--model", str(tiny_weights), "--config", "three_views.json", "--config", str(overlay)]
    assert main(["export", str(tmp_path / "out"), *words]) == 1
    assert _files(tmp_path / "out") == before and len(list(tmp_path.iterdir())) == 2

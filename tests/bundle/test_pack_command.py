# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f pack``: a folder that needs nothing of the project but itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, verify_metadata

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.utils import sha256_of
from tests.bundle.conftest import TINY
from tests.bundle.test_train_bundle import TINY as TRAINING
from tests.bundle.test_train_bundle import write_case
from tests.bundle.volumes import make_volume, write_nifti


@pytest.fixture(scope="module")
def packed(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, whose package says where it was imported from."""
    folder = tmp_path_factory.mktemp("packed")
    overlay = folder / "tiny.json"
    overlay.write_text(
        json.dumps({**TRAINING, **TINY, "epochs": 1, "stages": TRAINING["stages"][-1:]}), encoding="utf-8"
    )
    words = ["--config", "three_views.json", "--config", str(overlay)]
    assert main(["pack", str(tiny_weights), str(folder / "tiny"), *words]) == 0
    with (folder / "tiny" / "c2f_monai" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nprint('own package', __file__)\n")
    return folder / "tiny"


def run_bundle(packed: Path, cwd: Path, command: str, *words: str) -> str:
    """A command of MONAI from another directory; what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", command, *words, "--bundle_root", str(packed)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"own package {packed}" in done.stdout
    return done.stdout


def test_it_segments_from_any_directory_as_the_model_does(packed: Path, tiny_weights: Path, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume())
    config = str(packed / "configs" / "inference.json")
    run_bundle(packed, tmp_path, "run", "--config_file", config, "--input", "ct.nii.gz", "--output_dir", "out")
    expected = Segmenter(tiny_weights, "cpu", configs=["three_views.json", packed.with_name("tiny.json")])(image).mask
    assert 0 < expected.sum() < expected.numel()
    assert np.array_equal(np.asarray(nib.load(tmp_path / "out" / "ct_seg.nii.gz").dataobj), expected.numpy())


def test_it_trains_and_evaluates(packed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lists = {"training": [write_case(data, f"train{i}", i) for i in range(2)], "test": [write_case(data, "test", 9)]}
    (data / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    configs = [str(packed / "configs" / name) for name in ("train.json", "evaluate.json")]
    words = ["--dataset_dir", "data", "--holdout", "0.5", "--pixdim", "$None"]
    run_bundle(packed, tmp_path, "run", "--config_file", configs[0], *words, "--output_dir", "trained")
    evaluation = [*words, "--ckpt_path", "trained/model.pt", "--output_dir", "scores"]
    run_bundle(packed, tmp_path, "run", "--config_file", str(configs), *evaluation)
    assert (tmp_path / "scores" / "cases.csv").is_file()


def test_monais_checks_pass(packed: Path, shared_data: Path, tmp_path: Path) -> None:
    meta = str(packed / "configs" / "metadata.json")
    verify_metadata(meta_file=meta, filepath=str(shared_data / "meta_schema_20240725.json"))
    config = str(packed / "configs" / "inference.json")
    run_bundle(packed, tmp_path, "verify_net_in_out", "network_def", "--meta_file", meta, "--config_file", config)


def test_it_holds_what_the_zoo_asks_for(packed: Path, tiny_weights: Path) -> None:
    names = {"LICENSE", "configs/metadata.json", "configs/train.json", "docs/README.md", "models/model.pt"}
    assert all((packed / name).is_file() for name in names)
    assert [file.name for file in (packed / "models").iterdir()] == ["model.pt"]
    metadata = json.loads((packed / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["weights"] == {"model.pt": {"sha256": sha256_of(tiny_weights)}}
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "pancreas"}
    with zipfile.ZipFile(packed.with_suffix(".zip")) as archive:
        assert names <= {name.removeprefix("tiny/") for name in archive.namelist()}
        assert not [name for name in archive.namelist() if "__pycache__" in name or "/apps/" in name]


def test_large_weights_need_an_address(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("c2f_monai.apps.pack.LARGE", 1000)
    words = ["pack", str(tiny_weights), str(tmp_path / "zoo")]
    assert main(words) == 1
    assert "give its --url" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()
    assert main([*words, "--url", "https://example.org/model.pt"]) == 0
    content = yaml.safe_load((tmp_path / "zoo" / "large_files.yml").read_text(encoding="utf-8"))
    (entry,) = content["large_files"]
    assert entry["path"] == "models/model.pt" and entry["url"] == "https://example.org/model.pt"
    assert (entry["hash_type"], entry["hash_val"]) == ("sha256", sha256_of(tiny_weights))
    assert main([*words, "--url", "https://example.org/model.pt"]) == 1
    assert "exists: give a new or empty folder" in capsys.readouterr().err


def test_training_under_monai_label_renews_the_served_weights(tiny_weights: Path, tmp_path: Path) -> None:
    assert main(["pack", str(tiny_weights), str(tmp_path / "app"), "--config", "three_views.json", "--label"]) == 0
    parser = ConfigParser()
    parser.read_config(str(tmp_path / "app" / "configs" / "train.json"))
    parser["bundle_root"] = str(tmp_path / "app")
    served = parser.get_parsed_content("served_path")
    assert served == str(tmp_path / "app" / "models" / "model.pt")
    assert torch.load(served, weights_only=True).keys() == torch.load(tiny_weights, weights_only=True).keys()
    assert parser.get_parsed_content("coarse_stage") is None
    folders = {str(ConfigParser(parser.get()).get_parsed_content("output_dir")) for _ in range(2)}
    assert len(folders) == 2 and all(folder.startswith(str(tmp_path / "app" / "runs")) for folder in folders)

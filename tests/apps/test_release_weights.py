# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights enter the bundle under a version that is never used twice, on demand in half precision."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from c2f_monai.apps.cli import main
from c2f_monai.apps.release_weights import half_precision
from c2f_monai.networks import FCN8s


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    metadata = {"version": "0.2.0", "changelog": {"0.1.0": "first", "0.2.0": "second"}, "task": "segmentation"}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return tmp_path


def write(path: Path, seed: int = 0) -> FCN8s:
    torch.manual_seed(seed)
    network = FCN8s(width=2, fc_channels=4, fc_kernel_size=1, norm="batch").eval()
    torch.save(network.state_dict(), path)
    return network


def test_the_file_is_half_as_large_and_the_network_answers_alike(bundle: Path, tmp_path: Path) -> None:
    network = write(tmp_path / "trained.pt")
    command = ["release-weights", str(tmp_path / "trained.pt"), "--bundle_root", str(bundle), "--version", "0.2.0"]
    assert main([*command, "--half"]) == 0
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert {state[k].dtype for k in state if k.endswith("conv1_1.weight")} == {torch.float16}
    assert {state[k].dtype for k in state if k.endswith(("running_var", "bias"))} == {torch.float32}
    other = FCN8s(width=2, fc_channels=4, fc_kernel_size=1, norm="batch").eval()
    other.load_state_dict(state)
    image = torch.rand(1, 3, 24, 24)
    assert next(other.parameters()).dtype == torch.float32
    assert torch.allclose(other(image), network(image), atol=1e-2)


def test_metadata_names_version_and_hash_and_keeps_the_rest(bundle: Path, tmp_path: Path) -> None:
    write(tmp_path / "trained.pt")
    options = ["--bundle_root", str(bundle), "--version", "0.2.0", "--name", "model_stepwise.pt"]
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options]) == 0
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    state, stored = (
        torch.load(p, weights_only=True) for p in (tmp_path / "trained.pt", bundle / "models" / options[-1])
    )
    assert all(torch.equal(stored[key], value) and stored[key].dtype == value.dtype for key, value in state.items())
    digest = hashlib.sha256((bundle / "models" / "model_stepwise.pt").read_bytes()).hexdigest()
    assert metadata["weights"] == {"model_stepwise.pt": {"version": "0.2.0", "sha256": digest}}
    assert metadata["task"] == "segmentation" and list(metadata["changelog"]) == ["0.1.0", "0.2.0"]


def test_a_released_version_is_never_replaced(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "trained.pt")
    write(tmp_path / "other.pt", seed=1)
    options = ["--bundle_root", str(bundle), "--version", "0.1.0"]
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options]) == 0
    before = (bundle / "models" / "model.pt").read_bytes()
    assert main(["release-weights", str(tmp_path / "other.pt"), *options]) == 1
    assert "was released as 0.1.0 already" in capsys.readouterr().err
    assert (bundle / "models" / "model.pt").read_bytes() == before
    assert main(["release-weights", str(tmp_path / "other.pt"), *options[:-1], "0.2.0"]) == 0


def test_weights_are_replaced_by_those_of_a_later_version(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By number: 0.10.0 is later than 0.2.0."""
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**metadata, "changelog": {**metadata["changelog"], "0.10.0": "third"}}))
    write(tmp_path / "trained.pt")
    write(tmp_path / "other.pt", seed=1)
    options = ["--bundle_root", str(bundle), "--version"]
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options, "0.2.0"]) == 0
    before = (bundle / "models" / "model.pt").read_bytes()
    assert main(["release-weights", str(tmp_path / "other.pt"), *options, "0.1.0"]) == 1
    assert "was released as 0.2.0: its successor needs a later version, not 0.1.0" in capsys.readouterr().err
    assert (bundle / "models" / "model.pt").read_bytes() == before
    assert main(["release-weights", str(tmp_path / "other.pt"), *options, "0.10.0"]) == 0
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options, "0.2.0"]) == 1
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options, "0.1.0", "--name", "other.pt"]) == 0


@pytest.mark.parametrize(
    ("content", "version", "message"),
    [
        ({"network": {}}, "0.2.0", "is not a flat state_dict"),
        ({"a": torch.ones(2)}, "0.9.0", "--version 0.9.0 is not in the changelog"),
        ({"a.weight": torch.full((2, 2), 1e5)}, "0.2.0", "a.weight holds values that float16 cannot"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict, version: str, message: str
) -> None:
    torch.save(content, tmp_path / "bad.pt")
    before = (bundle / "configs" / "metadata.json").read_text(encoding="utf-8")
    options = ["--bundle_root", str(bundle), "--version", version, "--half"]
    assert main(["release-weights", str(tmp_path / "bad.pt"), *options]) == 1
    assert message in capsys.readouterr().err
    assert (
        not (bundle / "models").exists()
        and (bundle / "configs" / "metadata.json").read_text(encoding="utf-8") == before
    )


def test_counters_keep_their_type() -> None:
    assert half_precision({"n": torch.tensor(3)})["n"].dtype == torch.int64


@pytest.mark.parametrize("name", ["../x.pt", "sub/x.pt", "model", "model.txt"])
def test_a_name_is_a_file_in_models(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write(tmp_path / "trained.pt")
    options = ["--bundle_root", str(bundle), "--version", "0.2.0", "--name", name]
    assert main(["release-weights", str(tmp_path / "trained.pt"), *options]) == 1
    assert (
        f"--name must be a file name such as model.pt, in the bundle's models, got {name}." in capsys.readouterr().err
    )
    assert not (bundle / "x.pt").exists() and not (bundle / "models").exists()

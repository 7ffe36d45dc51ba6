# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from c2f_monai.handlers import InitialWeights, StrictCheckpointLoader, load_weights
from c2f_monai.utils import read_state_dict


def test_weights_are_loaded_when_the_engine_starts(tmp_path: Path) -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    engine = Engine(lambda engine, batch: None)
    StrictCheckpointLoader(target, str(tmp_path / "model.pt")).attach(engine)
    engine.run([0])
    assert torch.equal(source.weight, target.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(3, 2)}, r"does not fit the network: 1 missing \(bias\)"),
        (
            {"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "more": torch.zeros(1)},
            r"does not fit the network: 1 unexpected \(more\)",
        ),
        ({"weight": torch.zeros(3, 9), "bias": torch.zeros(3)}, r"1 of another shape \(weight: 3x9, not 3x2\)"),
        ({"model": {"weight": torch.zeros(3, 2)}}, "is not a flat state_dict"),
        ([1, 2], "is not a flat state_dict"),
    ],
)
def test_weights_that_do_not_fit_are_an_error_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path, network = tmp_path / "model.pt", nn.Linear(2, 3)
    before = network.weight.clone()
    torch.save(content, path)
    with pytest.raises(ValueError, match=message) as raised:
        load_weights(network, str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert torch.equal(network.weight, before)


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there are no weights at .*none\.pt"):
        load_weights(nn.Linear(1, 1), str(tmp_path / "none.pt"))
    (tmp_path / "text.pt").write_text("no weights", encoding="utf-8")
    with pytest.raises(ValueError, match=r"text\.pt cannot be read as weights") as raised:
        load_weights(nn.Linear(1, 1), str(tmp_path / "text.pt"))
    assert "\n" not in str(raised.value)


def test_every_network_of_several_gets_its_own_file(tmp_path: Path) -> None:
    sources = {"organ": nn.Linear(2, 3), "neoplasm": nn.Linear(2, 3)}
    paths = {name: str(tmp_path / f"{name}.pt") for name in sources}
    for name, source in sources.items():
        torch.save(source.state_dict(), paths[name])
    networks = nn.ModuleDict({"neoplasm": nn.Linear(2, 3), "organ": nn.Linear(2, 3)})
    engine = Engine(lambda engine, batch: None)
    StrictCheckpointLoader(networks, paths).attach(engine)
    engine.run([0])
    for name, source in sources.items():
        assert torch.equal(networks[name].weight, source.weight)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.ModuleDict({"organ": nn.Linear(1, 1)}), r"weights for \['neoplasm', 'organ'\], but \['organ'\] to fill"),
        (nn.Linear(1, 1), r"weights for \['neoplasm', 'organ'\], but one network to fill"),
    ],
)
def test_files_and_networks_must_have_the_same_names(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StrictCheckpointLoader(network, {"organ": "a.pt", "neoplasm": "b.pt"})


def of_views(*views: str) -> nn.Module:
    """Names as in the coarse-to-fine network."""
    network = nn.Module()
    network.views = nn.ModuleDict({view: nn.ModuleDict({"coarse": nn.Linear(1, 2)}) for view in views})
    return network


def test_a_subset_of_the_views_of_the_weights_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, target = of_views("sagittal", "coronal", "axial"), of_views("axial")
    torch.save(source.state_dict(), tmp_path / "model.pt")
    with caplog.at_level(logging.INFO):
        StrictCheckpointLoader(target, str(tmp_path / "model.pt"))(Engine(lambda engine, batch: None))
    assert torch.equal(source.views["axial"]["coarse"].weight, target.views["axial"]["coarse"].weight)
    assert "model.pt, without the views coronal, sagittal" in caplog.text
    assert load_weights(source, str(tmp_path / "model.pt")) == []


@pytest.mark.parametrize(
    ("views", "more", "message"),
    [
        (["axial", "coronal"], {}, r"2 missing \(views\.coronal\."),
        (["coronal"], {}, r"2 missing \(views\.coronal\."),
        (["axial"], {"views.axial.fine.weight": torch.zeros(1)}, r"1 unexpected \(views\.axial\.fine\.weight"),
        (["axial"], {"views.oblique.coarse.bias": torch.zeros(1)}, r"1 unexpected \(views\.oblique\."),
    ],
)
def test_what_a_view_lacks_or_has_too_much_stays_an_error(
    views: list[str], more: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    torch.save(of_views("axial", "sagittal").state_dict() | more, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        load_weights(of_views(*views), str(tmp_path / "model.pt"))


def test_one_wrong_bit_is_refused_with_the_file(tmp_path: Path) -> None:
    """PyTorch itself loads it as another weight."""
    path, network = tmp_path / "model.pt", nn.Linear(2, 3)
    torch.save(network.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[content.index(network.weight.detach().numpy().tobytes()) + 3] ^= 1 << 5
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["weight"], network.weight)
    with pytest.raises(ValueError, match=r"model.pt cannot be read as weights: it is damaged, the checksum of .*data/"):
        load_weights(network, str(path))


def test_a_wrong_bit_anywhere_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7)}
    path = tmp_path / "model.pt"
    torch.save(state, path)
    content, refused = path.read_bytes(), 0
    for bit in range(0, 8 * len(content), 41):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_state_dict(path)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    assert refused > 100


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path, network = tmp_path / "model.pt", nn.Linear(2, 3)
    torch.save(network.state_dict() | {"weight": torch.full((3, 2), value)}, path)
    with pytest.raises(ValueError, match=r"model.pt holds values that are NaN or infinite in weight: its training"):
        load_weights(network, str(path))
    with pytest.raises(ValueError, match="model.pt holds values that are NaN or infinite"):
        InitialWeights(network, str(path))(Engine(lambda engine, batch: None))

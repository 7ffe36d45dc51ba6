# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs answer what the network answers, at any size, and in the inferer."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, FCN8s, OnnxNetwork, SaliencyTransform, onnx_network
from c2f_monai.networks.efficientnet_lite import _SameConv2d
from c2f_monai.networks.layers import MatrixConv2d
from c2f_monai.networks.onnx_export import export_onnx, prepare_for_export

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def network() -> CoarseToFineNet:
    """Two classes in slices of an orientation of their own; fc6 that is a matrix product on small maps."""
    torch.manual_seed(0)
    part = partial(FCN8s, width=2, fc_channels=64, fc_kernel_size=3, norm="batch", score_init="xavier", out_channels=6)
    saliency = partial(SaliencyTransform, in_channels=6)
    axcodes = {"axial": "SPL"}
    network = CoarseToFineNet(part, part, saliency, ["axial"], 2, size_divisor=32, slice_axcodes=axcodes).eval()
    with torch.no_grad():
        for view in network.views.values():
            view.saliency.layers[-1].weight.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def folder(network: CoarseToFineNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    export_onnx(network, folder, {"model": "tiny"})
    return folder


def test_the_manifest_says_what_the_graphs_are(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"] == "tiny"
    assert (manifest["out_channels"], manifest["in_slices"], manifest["out_slices"]) == (2, 3, 3)
    assert manifest["multiples"] == {"coarse": 32, "saliency": 1, "fine": 32}
    assert manifest["views"]["axial"]["slice_axes"] == [3, -2, -1]
    parts = manifest["views"]["axial"]["parts"]
    assert {name: part["file"] for name, part in parts.items()} == {
        name: f"axial_{name}.onnx" for name in ("coarse", "saliency", "fine")
    }
    assert max(part["max_difference"] for part in parts.values()) < 1e-4


@pytest.mark.parametrize(
    ("part", "shape"), [("coarse", (1, 3, 32, 160)), ("fine", (5, 3, 96, 32)), ("saliency", (2, 6, 7, 45))]
)
def test_a_graph_takes_other_sizes_than_it_was_traced_with(
    network: CoarseToFineNet, folder: Path, part: str, shape: tuple[int, ...]
) -> None:
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(inputs, part, "axial")
    found = OnnxNetwork(folder)(inputs, part, "axial")
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_many_crops_run_a_few_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = torch.rand((5, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    graphs = OnnxNetwork(folder, providers=["CPUExecutionProvider"])
    together = graphs(crops, "fine", "axial")
    monkeypatch.setattr(onnx_network, "CROP_PIXELS", 2 * 32 * 32)
    session, sizes = graphs.sessions["axial", "fine"], []

    class Counted:
        get_providers = session.get_providers

        def run(self, names: list[str], inputs: dict) -> list:
            sizes.append(len(inputs["input"]))
            return session.run(names, inputs)

    graphs.sessions["axial", "fine"] = Counted()
    torch.testing.assert_close(graphs(crops, "fine", "axial"), together, atol=1e-5, rtol=1e-5)
    assert sizes == [2, 2, 1]


def test_the_inferer_finds_the_same_masks_with_them(network: CoarseToFineNet, folder: Path) -> None:
    volume = torch.rand(1, 1, 40, 50, 36, generator=torch.Generator().manual_seed(2))
    found = []
    for one in (network, OnnxNetwork(folder)):
        inferer = CoarseToFineInferer(crop_multiple=32, stopping=StopRule(dice=None, max_rounds=2), threshold=0.5)
        found.append((inferer(volume, one), [entry.voxels for entry in inferer.records[0].rounds]))
    (expected, voxels), (probability, own) = found
    assert len(voxels) == 3 and 0 < voxels[-1] < expected.numel()
    assert own == voxels
    torch.testing.assert_close(probability, expected, atol=1e-4, rtol=0)


def test_slabs_that_are_no_multiple_are_padded_at_their_end(network: CoarseToFineNet, folder: Path) -> None:
    inputs = torch.rand(1, 3, 33, 20, generator=torch.Generator().manual_seed(3))
    padded = torch.zeros(1, 3, 64, 32)
    padded[..., :33, :20] = inputs
    with torch.no_grad():
        expected = network(padded, "coarse", "axial")[..., :33, :20]
    torch.testing.assert_close(OnnxNetwork(folder)(inputs, "coarse", "axial"), expected, atol=1e-4, rtol=1e-4)


def test_providers_may_have_options(folder: Path) -> None:
    graphs = OnnxNetwork(folder, providers=[["CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"}]])
    assert graphs.sessions["axial", "fine"].get_providers() == ["CPUExecutionProvider"]


def test_a_volume_and_an_unknown_view_are_refused(folder: Path) -> None:
    graphs = OnnxNetwork(folder)
    for arguments in ((torch.rand(1, 1, 8, 8, 8),), (torch.rand(1, 3, 32, 32), "coarse", "sagittal")):
        with pytest.raises(ValueError, match="there is no graph of part"):
            graphs(*arguments)


def test_another_file_than_the_manifest_knows_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give a folder that c2f export wrote"):
        OnnxNetwork(tmp_path)
    (tmp_path / "manifest.json").write_text((folder / "manifest.json").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="axial_coarse.onnx"):
        OnnxNetwork(tmp_path)
    for file in folder.glob("*.onnx"):
        (tmp_path / file.name).write_bytes(b"no graph")
    with pytest.raises(ValueError, match="is not the graph that manifest.json was written for"):
        OnnxNetwork(tmp_path)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_layers_that_look_at_sizes_have_a_form_that_does_not(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(_SameConv2d(2, 4, kernel, stride, bias=False), MatrixConv2d(4, 64, 3, padding=1))
    plain = prepare_for_export(layers)
    assert not any(hasattr(module, "for_export") for module in plain.modules())
    inputs = torch.rand(1, 2, 8, 6)
    with torch.no_grad():
        torch.testing.assert_close(plain(inputs), layers(inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("kernel", "padding", "bias"), [(3, 1, True), ((1, 5), (0, 2), False), (3, 0, True)])
def test_a_convolution_to_a_few_channels_becomes_a_matrix_product(
    kernel: int | tuple[int, int], padding: int | tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(8, 1, kernel, padding=padding, bias=bias))
    plain = prepare_for_export(layers)
    assert isinstance(plain[0], nn.ConvTranspose2d) and isinstance(layers[0], nn.Conv2d)
    inputs = torch.rand(2, 8, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(plain(inputs), layers(inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": 3}, {"padding": "same"}]
)
def test_other_convolutions_stay_as_they_are(options: dict) -> None:
    layers = nn.Sequential(nn.Conv2d(8, 2, 3, **options), nn.Conv2d(2, 8, 3), nn.Conv2d(8, 2, 1))
    assert all(type(layer) is nn.Conv2d for layer in prepare_for_export(layers))

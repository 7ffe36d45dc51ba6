# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks as configurations build them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from c2f_monai.handlers import copy_to_fine, load_weights, parameter_groups, save_weights
from c2f_monai.networks import CoarseToFineNet, FCN8s, LiteUNet, SaliencyTransform, build_network, fcn8s_compact, unet
from c2f_monai.networks.onnx_export import prepare_for_export
from c2f_monai.networks.shared_encoder import share_encoder
from c2f_monai.utils import SlabSpec

TINY = partial(fcn8s_compact, width=2, fc_channels=4)


@pytest.mark.parametrize(("classes", "slab"), [(1, SlabSpec()), (2, SlabSpec(5, 3)), (2, SlabSpec(1, 1))])
def test_the_channels_follow_from_classes_and_slab(classes: int, slab: SlabSpec) -> None:
    network = build_network(TINY, TINY, SaliencyTransform, classes, slab, views=["axial"]).eval()
    image = torch.zeros(1, slab.in_slices, 16, 16)
    prior = torch.zeros(1, classes * slab.out_slices, 16, 16)
    assert network(image, "coarse", "axial").shape == network(image, "fine", "axial").shape == prior.shape
    assert network(prior, "saliency", "axial").shape == image.shape


def test_parts_can_be_left_out_and_options_arrive() -> None:
    network = build_network(TINY, views=["axial"], size_divisor=8, slice_axcodes={"axial": "SPL"})
    assert (network.has_fine, network.has_saliency, network.size_divisor) == (False, False, 8)
    assert network.views["axial"].slice_axes.tolist() == [3, -2, -1]


def test_the_compact_backbone_is_fcn8s_with_its_own_defaults() -> None:
    expected = FCN8s(width=16, fc_channels=64, fc_kernel_size=3, norm="batch", freeze_upsampling=False)
    found = fcn8s_compact()
    assert {k: v.shape for k, v in found.state_dict().items()} == {k: v.shape for k, v in expected.state_dict().items()}
    assert all(parameter.requires_grad for parameter in found.parameters())
    assert fcn8s_compact(out_channels=6, width=4).block1[0].out_channels == 4


def test_a_unet_starts_at_the_share_of_the_target() -> None:
    options = {"spatial_dims": 2, "channels": [4, 8], "strides": [2], "num_res_units": 2, "norm": "batch"}
    means = {}
    for prior in (None, 0.02):
        torch.manual_seed(0)
        network = unet(1, 1, prior=prior, **options)
        means[prior] = network(torch.rand(2, 1, 32, 32)).mean().item()
    assert means[0.02] - means[None] == pytest.approx(-3.89, abs=0.01)  # log(0.02 / 0.98)


class Tiny(nn.Module):
    """An encoder of 9 * 2 + 2 + 2 * 2 weights and a decoder of 2 + 1."""

    def __init__(self, in_channels: int, out_channels: int, width: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width))
        self.decoder = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


def shared(seed: int = 0, views: tuple[str, ...] = ("axial",), shared_encoder: bool = True) -> CoarseToFineNet:
    torch.manual_seed(seed)
    return build_network(Tiny, Tiny, slab=SlabSpec(1, 1), views=views, shared_encoder=shared_encoder).eval()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_a_shared_encoder_is_there_once() -> None:
    assert (count(shared(shared_encoder=False)), count(shared()), count(shared(views=("axial", "coronal")))) == (
        *(2 * (24 + 3), 24 + 2 * 3),
        2 * (24 + 2 * 3),
    )
    with torch.device("meta"):
        lite = [
            count(build_network(LiteUNet, LiteUNet, slab=SlabSpec(1, 1), views=["axial"], shared_encoder=one))
            for one in (False, True)
        ]
    assert lite == [6857618, 3898770]  # 2,958,848 in the encoder of Lite0
    network = shared()
    groups = parameter_groups(network, 0.1, lr_factors={"encoder": 0.3, "fine": 2.0})
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert sum(p.numel() for group in groups for p in group["params"]) == 30
    parts = network.views["axial"]
    assert rates[id(parts.fine.encoder[0].weight)] == pytest.approx(0.03)  # as the coarse network's
    assert rates[id(parts.fine.decoder.weight)] == pytest.approx(0.2)


def test_the_outermost_encoder_is_shared_and_lies_at_the_same_place() -> None:
    def nested() -> nn.Module:
        inner = nn.ModuleDict({"encoder": nn.Linear(2, 2)})
        return nn.ModuleDict({"unet": nn.ModuleDict({"encoder": nn.ModuleDict({"a": inner, "b": nn.Linear(3, 3)})})})

    first, second = nested(), nested()
    assert share_encoder(first, second) == "unet.encoder"
    assert second.unet.encoder is first.unet.encoder
    elsewhere = nn.ModuleDict({"encoder": nested().unet.encoder})
    with pytest.raises(ValueError, match=r"coarse network \(unet.encoder\) and of the fine one \(encoder\) differ"):
        share_encoder(first, elsewhere)


def test_both_networks_move_the_statistics_of_a_shared_encoder() -> None:
    network = shared().train()
    for part in ("coarse", "fine"):
        network(torch.rand(2, 1, 8, 8), part, "axial")
    assert network.views["axial"].coarse.encoder[1].num_batches_tracked == 2


def test_weights_with_a_shared_encoder_go_through_a_file(tmp_path: Path) -> None:
    network, other, x = shared(1), shared(2), torch.rand(1, 1, 8, 8)
    copy_to_fine(network)
    assert network.views["axial"].fine.encoder is network.views["axial"].coarse.encoder
    nn.init.normal_(network.views["axial"].fine.decoder.weight)
    save_weights(network.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert sorted(key for key in state if ".fine." in key) == [
        f"views.axial.fine.decoder.{k}" for k in ("bias", "weight")
    ]
    assert load_weights(other, str(tmp_path / "model.pt")) == []
    with torch.no_grad():
        for part in ("coarse", "fine"):
            expected = network(x, part, "axial")
            assert torch.equal(other(x, part, "axial"), expected)
            for prepared in (network.for_inference(), prepare_for_export(network), torch.jit.script(network)):
                torch.testing.assert_close(prepared(x, part, "axial"), expected)
        assert not torch.equal(network(x, "coarse", "axial"), network(x, "fine", "axial"))
    with pytest.raises(ValueError, match=r"does not fit the network: 7 missing \(views.axial.fine.encoder"):
        load_weights(shared(shared_encoder=False), str(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    ("coarse", "fine", "message"),
    [
        (TINY, TINY, "shared_encoder: FCN8s has no module named encoder, as LiteUNet and MONAI's FlexibleUNet have"),
        (Tiny, partial(Tiny, width=4), "of the fine one .encoder. differ: 6 of another shape .*; take one backbone"),
        (Tiny, LiteUNet, "coarse network .encoder. and of the fine one .unet.encoder. differ"),
        (Tiny, None, "shared_encoder is for a coarse and a fine network, and one of them is None"),
    ],
)
def test_networks_without_one_encoder_are_refused(coarse: object, fine: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(coarse, fine, slab=SlabSpec(1, 1), views=["axial"], shared_encoder=True)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn as nn

from c2f_monai.inferers import CoarseToFineInferer
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.networks.inference import prepare_for_inference
from c2f_monai.networks.layers import MatrixConv2d
from c2f_monai.utils import SlabSpec


def with_statistics(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return network.eval()


def test_by_hand():
    # y = 2 (3 x + 1 - 4) / sqrt(0.25) + 5 = 12 x - 7
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0)).eval()
    for tensor, value in ((network[0].weight, 3), (network[0].bias, 1), (network[1].weight, 2), (network[1].bias, 5)):
        nn.init.constant_(tensor, value)
    network[1].running_mean.fill_(4)
    network[1].running_var.fill_(0.25)
    folded = prepare_for_inference(network)
    assert isinstance(folded[1], nn.Identity) and isinstance(network[1], nn.BatchNorm2d)
    assert (folded[0].weight.item(), folded[0].bias.item()) == pytest.approx((12, -7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_computes_the_same(dtype):
    torch.manual_seed(0)
    network = with_statistics(FCN8s(width=4, fc_channels=8, fc_kernel_size=3, norm="batch", score_init="xavier"))
    network = network.to(dtype)
    folded = prepare_for_inference(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.rand(2, 3, 33, 40, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), atol=1e-4 if dtype == torch.float32 else 1e-10, rtol=1e-5)


def test_what_cannot_be_folded_stays_as_it_is():
    without = FCN8s(width=4, fc_channels=8, fc_kernel_size=3).eval()
    assert prepare_for_inference(without) is without
    training = FCN8s(width=4, fc_channels=8, fc_kernel_size=3, norm="batch")
    assert prepare_for_inference(training) is training
    scripted = torch.jit.script(training.eval())
    assert prepare_for_inference(scripted) is scripted


def test_what_stays_is_shared():
    network = with_statistics(FCN8s(width=4, fc_channels=64, fc_kernel_size=3, norm="batch"))
    own = {id(tensor) for tensor in network.parameters()}
    prepared = prepare_for_inference(network)
    assert id(prepared.fc.fc6.weight) in own and id(prepared.block1.conv1_1.weight) not in own


def test_matrices_are_brought_to_the_dtype_of_autocast():
    torch.manual_seed(0)
    network = FCN8s(width=4, fc_channels=64, fc_kernel_size=3, score_init="xavier").eval()
    prepared = prepare_for_inference(network, torch.bfloat16)
    assert {p.dtype for p in prepared.fc.fc6.parameters()} == {torch.bfloat16}
    assert prepared.block1.conv1_1.weight is network.block1.conv1_1.weight
    x = torch.rand(2, 3, 33, 40)
    assert isinstance(network.fc.fc6, MatrixConv2d) and network.fc.fc6.weight.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prepared(x), network(x))


def test_the_networks_own_hook_prepares_all_its_parts():
    part = partial(FCN8s, width=4, fc_channels=64, fc_kernel_size=3, norm="batch", score_init="xavier")
    torch.manual_seed(0)
    network = with_statistics(CoarseToFineNet(part, part, SaliencyTransform, views=["axial"]))
    prepared = network.for_inference(torch.bfloat16)
    assert prepared is not network and prepared.slab == network.slab
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    assert prepared.views["axial"].fine.fc.fc6.weight.dtype == torch.bfloat16
    assert network.views["axial"].fine.fc.fc6.weight.dtype == torch.float32
    x, folded = torch.rand(2, 3, 33, 40), network.for_inference()
    with torch.no_grad():
        for name in ("coarse", "fine"):
            expected = network(x, name, "axial")
            torch.testing.assert_close(folded(x, name, "axial"), expected, atol=1e-4, rtol=1e-5)


def test_inferers_call_the_hook_and_run_other_networks_as_they_are():
    class Plain(nn.Module):
        view_names, out_channels, slab, has_fine = ["axial"], 1, SlabSpec(1, 1), False

        def __init__(self):
            super().__init__()
            self.asked, self.calls = [], 0
            self.eval()

        def forward(self, x, part, view):
            self.calls += 1
            return x

    class Hooked(Plain):
        def for_inference(self, amp_dtype):
            self.asked.append(amp_dtype)
            return other

    plain, hooked, other = Plain(), Hooked(), Plain()
    for network in (plain, hooked):
        CoarseToFineInferer(amp_dtype="bfloat16")(torch.zeros(1, 1, 4, 4, 4), network)
    assert (plain.calls, hooked.calls, other.calls) == (1, 0, 1)
    assert hooked.asked == [torch.bfloat16]

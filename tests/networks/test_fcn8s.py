# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from c2f_monai.networks import FCN8s
from c2f_monai.networks.fcn8s import bilinear_kernel

SMALL = {"width": 2, "fc_channels": 4, "dropout": 0.0, "score_init": "xavier"}
SIZES = [(1, 1), (1, 33), (2, 3), (7, 8), (15, 16), (17, 31), (32, 32), (33, 64), (37, 41), (65, 5)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["same", 100])
def test_every_size_is_kept(padding, size):
    network = FCN8s(**SMALL, padding=padding).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("padding", ["same", 100])
def test_answer_is_aligned_with_the_image(padding):
    """A score that only copies pool3's brightness is centered on the bright square, without a shift."""
    network = FCN8s(1, 1, width=1, fc_channels=1, dropout=0.0, padding=padding).eval()
    for module in [*network.block1, *network.block2, *network.block3]:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.weight)
            module.weight.data[0, 0, 1, 1] = 1.0
            torch.nn.init.zeros_(module.bias)
    network.score_pool3.weight.data[0, 0] = 1.0
    image = torch.zeros(1, 1, 96, 96)
    image[..., 40:56, 48:64] = 1.0
    with torch.no_grad():
        weight = network(image)[0, 0]
    rows = (weight.sum(1) * (torch.arange(96) + 0.5)).sum() / weight.sum()
    columns = (weight.sum(0) * (torch.arange(96) + 0.5)).sum() / weight.sum()
    # The published offsets for 100 pixels of padding align cells of 8 pixels only to within half a cell.
    tolerance = 1e-3 if padding == "same" else 4.0
    assert abs(rows - 48) <= tolerance and abs(columns - 56) <= tolerance


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (1, [1.0]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1.0, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_kernel_by_hand(size, line):
    expected = torch.tensor(line)[:, None] * torch.tensor(line)[None, :]
    torch.testing.assert_close(bilinear_kernel(size), expected)


@pytest.mark.parametrize("stride", [2, 8])
def test_upsampling_keeps_a_constant_map(stride):
    layer = {2: "upscore2", 8: "upscore8"}[stride]
    network = FCN8s(**SMALL)
    with torch.no_grad():
        up = getattr(network, layer)(torch.full((1, 3, 5, 5), 2.0))
    inner = up[..., stride:-stride, stride:-stride]
    torch.testing.assert_close(inner, torch.full_like(inner, 2.0))


@pytest.mark.parametrize("frozen", [True, False])
def test_upsampling_is_frozen_on_request(frozen):
    network = FCN8s(**SMALL, freeze_upsampling=frozen)
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert [name for name in trained if name.startswith("upscore")] == (
        [] if frozen else ["upscore2.weight", "upscore_pool4.weight", "upscore8.weight"]
    )
    network(torch.rand(1, 3, 20, 20)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("count", [1, 2])  # of one image all is run, of a batch what is not blank
def test_the_first_convolution_pads_by_100(count):
    torch.manual_seed(0)
    network, x = FCN8s(**SMALL, padding=100).eval(), torch.rand(count, 3, 21, 30)
    found = network._padded_pool3(x)
    network.block1.conv1_1.padding = (100, 100)
    torch.testing.assert_close(found, network._pool3(x), atol=1e-5, rtol=1e-4)


def test_random_upsampling_is_trained_and_keeps_the_variance_of_a_map():
    torch.manual_seed(0)
    network = FCN8s(**SMALL, upsampling_init="random", freeze_upsampling=False)
    for name, stride in (("upscore2", 2), ("upscore_pool4", 2), ("upscore8", 8)):
        layer = getattr(network, name)
        assert layer.weight.requires_grad and (layer.weight != 0).all()  # off the diagonal, too
        with torch.no_grad():
            up = layer(torch.randn(8, 3, 40, 40))[..., stride:-stride, stride:-stride]
        assert 0.8 < float(up.std()) < 1.25


def test_score_layers_start_at_zero_or_xavier():
    x = torch.rand(1, 3, 20, 20)
    assert FCN8s(width=2, fc_channels=4)(x).abs().max() == 0
    assert FCN8s(**SMALL)(x).std() > 0


def test_full_size_is_the_published_network():
    with torch.device("meta"):
        count = sum(p.numel() for p in FCN8s().parameters())
    vgg = 14_714_688  # the 13 convolutions of VGG-16
    fc = 512 * 4096 * 49 + 4096 + 4096 * 4096 + 4096
    scores = 3 * (4096 + 512 + 256) + 9
    assert count == vgg + fc + scores + 9 * (16 + 16 + 256)


def test_batch_norm_replaces_biases():
    network = FCN8s(**SMALL, norm="batch")
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 13
    assert network.block3.conv3_2.bias is None and network.fc.fc6.bias is not None


@pytest.mark.parametrize(("by_channel", "kind"), [(True, torch.nn.Dropout2d), (False, torch.nn.Dropout)])
def test_dropout_by_channel_or_element(by_channel, kind):
    network = FCN8s(width=2, fc_channels=4, dropout=0.3, dropout_by_channel=by_channel)
    assert [(type(m), m.p) for m in network.modules() if isinstance(m, (torch.nn.Dropout, torch.nn.Dropout2d))] == [
        (kind, 0.3)
    ] * 2


def test_three_views_fit_the_compact_size():
    """Three views of coarse + fine in one file of at most 25 MB."""
    with torch.device("meta"):
        count = sum(p.numel() for p in FCN8s(width=12, fc_channels=128, fc_kernel_size=3, norm="batch").parameters())
    assert 6 * 4 * count < 25e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"fc_channels": 0}, "fc_channels must be positive .* got 0"),
        ({"fc_kernel_size": 4}, "fc_kernel_size odd, got .* 4"),
        ({"padding": 50}, "padding must be 'same' or 100, got 50"),
        ({"padding": "valid"}, "padding must be 'same' or 100, got 'valid'"),
        ({"padding": 100, "fc_kernel_size": 3}, "fc_kernel_size must be 7 .* got 3"),
        ({"score_init": "ones"}, "score_init must be 'zero' or 'xavier', got 'ones'"),
        ({"upsampling_init": "xavier"}, "upsampling_init must be 'bilinear' or 'random', got 'xavier'"),
        ({"upsampling_init": "random"}, "random up-sampling kernels must be trained: set freeze_upsampling to False"),
        (
            {"upsampling_init": "random", "freeze_upsampling": False, "prior": 0.02},
            "prior needs kernels that sum to 1, .* got prior 0.02",
        ),
        ({"dropout": 1.5}, "dropout .* 1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FCN8s(**{"width": 2, "fc_channels": 4, **arguments})


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 64), (70, 31)])
def test_far_from_the_image_the_original_padding_is_run_once_for_a_batch(size):
    torch.manual_seed(0)
    network = FCN8s(width=2, fc_channels=4, padding=100, score_init="xavier").double().eval()
    for parameter in network.parameters():
        if parameter.dim() == 1:  # biases, so that a blank image is not 0
            torch.nn.init.normal_(parameter)
    x = torch.rand(3, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.cat([network(image[None]) for image in x])
        torch.testing.assert_close(network(x), expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(torch.jit.script(network)(x), expected, atol=1e-12, rtol=0)
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(network(x).square().sum(), parameters)
    wanted = torch.autograd.grad(sum(network(image[None]).square().sum() for image in x), parameters)
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)


def test_a_normalisation_sees_all_of_the_original_padding():
    torch.manual_seed(0)
    network = FCN8s(width=2, fc_channels=4, padding=100, score_init="xavier", norm="instance").double().eval()
    x = torch.rand(2, 3, 20, 30, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.cat([network(image[None]) for image in x])
        torch.testing.assert_close(network(x), expected, atol=1e-12, rtol=0)


def test_probabilities_start_at_the_targets_share():
    network = FCN8s(3, 2, width=2, fc_channels=4, fc_kernel_size=3, dropout=0.0, prior=0.018).eval()
    with torch.no_grad():
        found = torch.sigmoid(network(torch.rand(1, 3, 48, 56)))
    torch.testing.assert_close(found[..., 4:-4, 4:-4], torch.full((1, 2, 40, 48), 0.018))
    with pytest.raises(ValueError, match=r"prior must be a share in \(0, 1\), got 0.0"):
        FCN8s(width=2, fc_channels=4, prior=0.0)

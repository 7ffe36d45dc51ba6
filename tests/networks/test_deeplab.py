# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from c2f_monai.networks import DeepLab

SMALL = {"width": 2, "aspp_channels": 3, "dropout": 0.0, "score_init": "xavier"}
SIZES = [(1, 1), (1, 33), (2, 3), (7, 8), (15, 16), (17, 31), (32, 32), (37, 41), (65, 5)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["batch", ("group", {"num_groups": 1}), ["group", {"num_groups": 1}], None])
def test_every_size_is_kept(norm, size):
    network = DeepLab(**SMALL, norm=norm).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [96, 91])
def test_answer_is_aligned_with_the_image(size):
    """A network that only copies brightness is centered on the bright square, without a shift or a stretch."""
    network = DeepLab(1, 1, 1, 1, kernel_sizes=[1], dilations=[1], norm=None, dropout=0.0).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.weight)
            module.weight.data[0, 0, module.kernel_size[0] // 2, module.kernel_size[1] // 2] = 1.0
    image = torch.zeros(1, 1, size, size)
    image[..., 40:56, 48:64] = 1.0
    with torch.no_grad():
        weight = network(image)[0, 0]
    rows = (weight.sum(1) * (torch.arange(size) + 0.5)).sum() / weight.sum()
    columns = (weight.sum(0) * (torch.arange(size) + 0.5)).sum() / weight.sum()
    assert abs(rows - 48) <= 1e-3 and abs(columns - 56) <= 1e-3


def test_features_lose_a_factor_of_eight_and_no_more():
    network = DeepLab(**SMALL).eval()
    with torch.no_grad():
        assert network.features(torch.rand(1, 3, 64, 41)).shape == (1, 16, 8, 6)


def test_the_pyramid_sees_beyond_the_features():
    """How far the pixels lie from each other that one pixel's answer depends on."""

    def reach(dilations):
        network = DeepLab(**SMALL, dilations=dilations, norm=None).eval()
        for parameter in network.parameters():  # all positive: no ReLU hides what a pixel depends on
            torch.nn.init.constant_(parameter, 0.1)
        image = torch.ones(1, 3, 8, 512, requires_grad=True)  # poolings choose the first of equals
        network(image)[0, 0, 4, 256].backward()
        moved = torch.nonzero(image.grad.abs().sum(dim=(0, 1, 2)) > 0).flatten()
        return int(moved[-1] - moved[0])

    # The branch's outermost cells lie 6 - 1 = 5 cells of 8 pixels further out, on both sides.
    assert reach((1, 1, 1, 6)) - reach((1, 1, 1, 1)) == 2 * 5 * 8


def test_full_size_is_vgg16_with_a_pyramid():
    with torch.device("meta"):
        count = sum(p.numel() for p in DeepLab(norm=None).parameters())
    vgg = 14_714_688  # the 13 convolutions of VGG-16
    pyramid = 512 * 256 * (1 + 9 + 9 + 9) + 4 * 256 + 1024 * 1024 + 1024
    assert count == vgg + pyramid + 3 * 1024 + 3


def test_batch_norm_replaces_biases_and_every_parameter_learns():
    network = DeepLab(**SMALL)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 14
    network(torch.rand(2, 3, 20, 20)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_score_layer_starts_at_zero_or_xavier():
    x = torch.rand(2, 3, 20, 20)
    assert DeepLab(width=2, aspp_channels=3)(x).abs().max() == 0
    assert DeepLab(**SMALL)(x).std() > 0


def test_scripted_network_gives_the_same():
    network = DeepLab(**SMALL).eval()
    x = torch.rand(1, 3, 21, 30)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(x), network(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"width": -1}, "width must be at least 1, got -1"),
        ({"aspp_channels": 0}, "aspp_channels must be at least 1, got 0"),
        ({"kernel_sizes": (1, 2, 3, 3)}, r"kernel_sizes must be odd numbers, at least one, got \[1, 2, 3, 3\]"),
        ({"kernel_sizes": ()}, r"at least one, got \[\]"),
        ({"dilations": (1, 2)}, r"one for each of the 4 kernels, got \[1, 2\]"),
        ({"dilations": (1, 2, 4, 0)}, r"dilations must be positive, .* got \[1, 2, 4, 0\]"),
        ({"score_init": "ones"}, "score_init must be 'zero' or 'xavier', got 'ones'"),
        ({"dropout": 1.5}, "dropout .* 1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepLab(**{**SMALL, **arguments})

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The encoder is the published one, number by number; the U-Net on it keeps sizes and starts at the target's share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from monai.networks.nets import FlexibleUNet

from c2f_monai.networks import CoarseToFineNet, EfficientNetLiteEncoder, LiteUNet, SaliencyTransform
from c2f_monai.networks.efficientnet_lite import IMAGENET_MEAN, IMAGENET_STD
from c2f_monai.networks.weights import import_lite0

#: Mean, standard deviation and maximum of the maps at strides 2 to 32 of the published weights.
PUBLISHED = [
    (0.27308, 13.02015, 49.9336),
    (-2.99032, 14.11286, 40.8695),
    (-1.93669, 12.10799, 33.8812),
    (0.31167, 7.24177, 29.5388),
    (-0.00078, 2.95157, 9.1821),
]


def check_image() -> torch.Tensor:
    """(1, 3, 64, 64) normalized: ((4096c + 64i + j) mod 97) / 96."""
    image = (torch.arange(3 * 64 * 64) % 97).view(1, 3, 64, 64) / 96
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def published(shared_data: Path) -> dict[str, torch.Tensor]:
    return torch.load(shared_data / "pretrained" / "efficientnet_lite0_imagenet.fp16.pt", weights_only=True)


def test_published_weights_give_the_published_maps(shared_data: Path) -> None:
    encoder = EfficientNetLiteEncoder().eval()
    state = import_lite0(published(shared_data), ["axial"])
    prefix = "views.axial.fine.unet.encoder."
    encoder.load_state_dict({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})
    with torch.no_grad():
        maps = encoder(check_image())
    found = [(m.mean().item(), m.std().item(), m.max().item()) for m in maps]
    for one, expected in zip(found, PUBLISHED, strict=True):
        assert one == pytest.approx(expected, abs=2e-4)


def test_every_tensor_of_the_published_file_is_used_or_known(shared_data: Path) -> None:
    source = published(shared_data)
    network = CoarseToFineNet(LiteUNet, LiteUNet, SaliencyTransform, views=["axial"])
    state = import_lite0(source, ["axial"])
    assert len(state) == 2 * (len(source) - 8)  # _conv_head, _bn1 (5), _fc (2)
    own = network.state_dict()
    assert {key for key in own if ".unet.encoder." in key} == set(state)
    assert all(own[key].shape == value.shape and own[key].dtype == value.dtype for key, value in state.items())
    with pytest.raises(ValueError, match=r"is not EfficientNet-Lite0 of 1000 classes: 1 missing \(_bn0.bias\)"):
        import_lite0({key: value for key, value in source.items() if key != "_bn0.bias"})


def test_the_backbone_is_one_of_flexible_unet() -> None:
    network = FlexibleUNet(3, 2, "efficientnet-lite0", decoder_channels=(16, 8, 8, 8, 8)).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 64, 32)).shape == (1, 2, 64, 32)
    with pytest.raises(ValueError, match="2 spatial dimensions, got spatial_dims 3"):
        EfficientNetLiteEncoder(spatial_dims=3)
    with pytest.raises(ValueError, match="no weights are downloaded"):
        EfficientNetLiteEncoder(pretrained=True)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (37, 41), (64, 96)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_every_size_is_kept_and_scripts(size: tuple[int, int], in_channels: int) -> None:
    network = LiteUNet(in_channels, 2).eval()
    image = torch.rand(2, in_channels, *size)
    with torch.no_grad():
        found = network(image)
        assert found.shape == (2, 2, *size)
        torch.testing.assert_close(torch.jit.script(network)(image), found, atol=1e-5, rtol=1e-5)
        # What an image's answer is must not depend on the others of its batch.
        torch.testing.assert_close(network(image[:1]), found[:1], atol=1e-5, rtol=1e-5)


def test_a_single_slice_is_three_equal_ones() -> None:
    one = LiteUNet(1, 1).eval()
    three = LiteUNet(3, 1).eval()
    three.load_state_dict(one.state_dict())
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(three(image.expand(1, 3, 32, 32)), one(image))


def test_probabilities_start_at_the_targets_share() -> None:
    torch.manual_seed(0)
    network = LiteUNet(1, 3, prior=0.018)
    assert network.unet.segmentation_head[0].bias.tolist() == pytest.approx([math.log(0.018 / 0.982)] * 3)
    assert torch.sigmoid(network(torch.rand(2, 1, 64, 64))).mean().item() == pytest.approx(0.018, abs=0.01)


def test_every_parameter_is_trained() -> None:
    """What a wrapper for several processes asks for."""
    network = LiteUNet(1, 1)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_only_the_encoders_statistics_are_slow() -> None:
    network = LiteUNet(momentum=0.01)
    momenta = {
        name.split(".")[1]: module.momentum
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert momenta == {"encoder": 0.01, "decoder": 0.1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 5}, "in_channels must be 1 or 3, the slices of a slab, got 5"),
        ({"decoder_channels": (8, 8, 8, 8)}, r"decoder_channels must be five numbers above 1, got \[8, 8, 8, 8\]"),
        ({"prior": 1.0}, r"prior must be a share in \(0, 1\), got 1.0"),
    ],
)
def test_bad_arguments_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LiteUNet(**options)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks as configurations build them."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from c2f_monai.networks import FCN8s, SaliencyTransform, build_network, fcn8s_compact, unet
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

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from c2f_monai.networks import SaliencyTransform


def randomized(network):
    """The same network with every weight away from its start, and hidden units above zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = (
            torch.randn(parameter.shape, generator=generator) * 0.3 if parameter.dim() > 1 else parameter + 1.0
        )
    return network


@pytest.mark.parametrize("kernel_sizes", [(3, 3), (3,), (1,), (5,), (7,), (3, 5), (3, 3, 3)])
@pytest.mark.parametrize(("bias", "values"), [(1.0, [1, 1, 1]), ([1.0, 1.5, 2.0], [1, 1.5, 2])])
def test_starts_as_a_constant(kernel_sizes, bias, values):
    network = SaliencyTransform(6, 3, kernel_sizes, bias)
    weights = network(torch.rand(2, 6, 9, 7))
    assert torch.equal(weights, torch.tensor(values).float()[None, :, None, None].expand(2, 3, 9, 7))


@pytest.mark.parametrize(("kernel_sizes", "radius"), [((1,), 0), ((3,), 1), ((3, 3), 2), ((3, 5), 3), ((7,), 3)])
def test_a_pixel_reaches_its_receptive_radius_and_no_further(kernel_sizes, radius):
    network = randomized(SaliencyTransform(3, 3, kernel_sizes))
    x = torch.full((1, 3, 15, 15), 0.5)
    changed = x.clone()
    changed[..., 7, 7] = 1.0
    with torch.no_grad():
        touched = (network(x) != network(changed)).any(dim=1)[0]
    rows = torch.nonzero(touched.any(dim=1)).flatten()
    columns = torch.nonzero(touched.any(dim=0)).flatten()
    reach = [7 - radius, 7 + radius]
    assert [int(rows.min()), int(rows.max())] == reach and [int(columns.min()), int(columns.max())] == reach


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (16, 5)])
def test_every_size_is_kept(size):
    assert SaliencyTransform(3, 3, (3, 5))(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_cropping_before_the_transformation_is_something_else():
    """Equal well inside the crop, different at its border: the reason why whole slabs pass through g."""
    network = randomized(SaliencyTransform())
    prior = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        whole = network(prior)[..., 5:15, 4:14]
        cropped = network(prior[..., 5:15, 4:14])
    torch.testing.assert_close(whole[..., 2:-2, 2:-2], cropped[..., 2:-2, 2:-2])
    assert (whole - cropped).abs()[..., 0, :].max() > 0.01


def test_weights_are_not_bounded():
    network = SaliencyTransform(1, 1, (1,))
    network.layers[0].weight.data.fill_(-3.0)
    network.layers[0].bias.data.fill_(1.0)
    assert network(torch.tensor([[[[0.0, 1.0]]]])).tolist() == [[[[1.0, -2.0]]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": (3, 4)}, r"kernel_sizes must be odd .* got \[3, 4\]"),
        ({"kernel_sizes": ()}, r"kernel_sizes must be odd numbers, at least one, got \[\]"),
        ({"kernel_sizes": (-1,)}, r"kernel_sizes .* got \[-1\]"),
        ({"in_channels": 0}, "channels must be at least 1, got 0 and 3"),
        ({"out_channels": 0}, "channels must be at least 1, got 3 and 0"),
        ({"bias": 0.0}, "bias must be positive, one number or 3, got 0.0"),
        ({"bias": [1.0, 2.0]}, r"bias must be positive, one number or 3, got \[1.0, 2.0\]"),
        ({"bias": [1.0, -1.0, 2.0]}, "bias must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SaliencyTransform(**arguments)

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer

from c2f_monai.inferers.autocast import AutocastInferer


@pytest.mark.parametrize(("dtype", "inside"), [("bfloat16", torch.bfloat16), (None, torch.float32)])
@pytest.mark.parametrize("inferer", [SimpleInferer(), SlidingWindowInferer((4, 4, 4), overlap=0.5, mode="gaussian")])
def test_network_runs_in_the_type_and_its_output_is_float32(inferer, dtype, inside):
    layer = torch.nn.Conv3d(1, 1, 1)
    seen = []

    def network(x):
        seen.append(layer(x).dtype)
        return layer(x)

    x = torch.rand(1, 1, 6, 6, 6)
    out = AutocastInferer(inferer, dtype)(x, network)
    assert set(seen) == {inside}
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, layer(x), atol=1e-2 if dtype else 1e-5, rtol=0)


def test_gradients_pass():
    layer = torch.nn.Conv3d(1, 1, 1)
    AutocastInferer(SimpleInferer())(torch.ones(1, 1, 2, 2, 2), layer).sum().backward()
    assert layer.weight.grad.item() == 8


def test_something_else_than_an_inferer_is_refused():
    with pytest.raises(TypeError, match="got Conv3d"):
        AutocastInferer(torch.nn.Conv3d(1, 1, 1))

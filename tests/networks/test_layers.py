# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The convolution that is a matrix product on small maps, and that of the scores."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from c2f_monai.networks.layers import MatrixConv2d, ScoreConv2d


@settings(max_examples=60, deadline=None)
@given(
    side=st.integers(1, 7),
    padding=st.integers(0, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scripted=st.booleans(),
    channels_last=st.booleans(),
)
def test_it_is_a_convolution(side, padding, size, scripted, channels_last):
    torch.manual_seed(0)
    layer = MatrixConv2d(3, 400, side, padding).double()
    if channels_last:
        layer = layer.to(memory_format=torch.channels_last)
    run = torch.jit.script(layer) if scripted else layer
    x = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    if min(size) + 2 * padding < side:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            run(x)
        return
    y, expected = run(x), F.conv2d(x, layer.weight, layer.bias, padding=padding)
    torch.testing.assert_close(y, expected)
    found = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, *layer.parameters()])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("size", "positions", "taps"),
    [
        ((9, 9), 81, 49),  # every row and column of the kernel meets the map
        ((3, 2), 6, 5 * 3),  # offsets of -2..2 rows and -1..1 columns
        ((1, 1), 1, 1),
    ],
)
def test_padding_is_not_multiplied(size, positions, taps):
    layer = MatrixConv2d(2, 100, 7, padding=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.rand(1, 2, *size))
    assert counter.get_total_flops() == 2 * positions * taps * 2 * 100


def test_large_maps_are_convolved():
    layer = MatrixConv2d(2, 16, 3, padding=1)
    names = []
    for size in (3, 4):
        with torch.profiler.profile() as profile, torch.no_grad():
            layer(torch.rand(1, 2, size, size))
        names.append({event.key for event in profile.key_averages()})
    assert "aten::linear" in names[0] and "aten::conv2d" not in names[0] and "aten::convolution" not in names[0]
    assert "aten::convolution" in names[1] or "aten::conv2d" in names[1]


@pytest.mark.parametrize(
    ("channels", "trained", "dtype"),
    [(4096, True, torch.float32), (4096, False, torch.bfloat16), (2048, True, torch.bfloat16)],
)
def test_scores_of_many_channels_are_learned_in_float32(channels, trained, dtype):
    layer = ScoreConv2d(channels, 3)
    with torch.set_grad_enabled(trained), torch.autocast("cpu", torch.bfloat16):
        scores = layer(torch.rand(2, channels, 2, 3, dtype=torch.bfloat16))
    assert scores.dtype == dtype and scores.shape == (2, 3, 2, 3)


def test_scores_are_a_convolution():
    layer, x = ScoreConv2d(4096, 3), torch.rand(2, 4096, 2, 3)
    wanted = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.jit.script(layer)(x), wanted, rtol=1e-4, atol=1e-5)


#: On processors with AMX it ended by a signal where the layer was a plain convolution.
TRAINING = """
import torch
from c2f_monai.networks.layers import ScoreConv2d
torch.set_num_threads(2)
layer = ScoreConv2d(4096, 3).to(memory_format=torch.channels_last)
for _ in range(6):
    x = torch.rand(8, 4096, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        scores = layer(x)
    scores.float().sum().backward()
    rest = [torch.rand(n) for n in range(1, 3000, 7)]
"""


def test_training_in_bfloat16_does_not_overwrite_memory():
    ended = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")

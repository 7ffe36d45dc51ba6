# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Precision: names, and what a device is fastest in."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from c2f_monai.inferers import CoarseToFineInferer
from c2f_monai.utils import amp_dtype_on, check_amp_dtype, precision


@pytest.fixture(autouse=True)
def said_nothing_yet() -> Iterator[None]:
    """What was found out and said before this test is forgotten, and what it is made to believe after it."""
    for cached in (precision._native, precision._warn_of_emulation):
        cached.cache_clear()
    yield
    for cached in (precision._native, precision._warn_of_emulation):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
        ("auto", "auto"),
        (None, None),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_precisions(value: str | None, expected: torch.dtype | str | None) -> None:
    assert check_amp_dtype(value) == expected


@pytest.mark.parametrize("value", ["float8", torch.float64, ""])
def test_other_precisions_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="amp_dtype must be one of .*auto.*bfloat16.*float16"):
        check_amp_dtype(value)


@pytest.mark.parametrize(
    ("device", "native", "testing", "training"),
    [
        ("cpu", True, torch.bfloat16, torch.bfloat16),
        ("cpu", False, None, None),
        ("cuda", True, torch.bfloat16, torch.bfloat16),
        ("cuda", False, torch.float16, None),
        ("mps", False, None, None),
    ],
)
def test_auto_is_what_the_device_multiplies(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    native: bool,
    testing: torch.dtype | None,
    training: torch.dtype | None,
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: native)
    assert amp_dtype_on("auto", device) == testing
    assert amp_dtype_on("auto", device, training=True) == training


def test_auto_says_once_what_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: False)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            amp_dtype_on("auto", "cpu", training=True)
    assert caplog.messages == ["precision auto: float32 on cpu"]


@pytest.mark.parametrize(("native", "warnings"), [(False, 1), (True, 0)])
def test_a_slow_choice_is_kept_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, native: bool, warnings: int
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: native)
    for _ in range(3):
        assert amp_dtype_on(torch.bfloat16, "cpu") == torch.bfloat16
    assert len(caplog.messages) == warnings
    assert all("set the precision to auto" in message for message in caplog.messages)


@pytest.mark.parametrize("native", [True, False])
def test_an_inferer_runs_its_network_in_what_auto_is(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    class Network(torch.nn.Module):
        view_names, in_slices, out_slices, out_channels = ("axial",), 1, 1, 1
        has_coarse, has_fine, has_saliency = True, False, False
        size_divisor, slice_axcodes = 1, None

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.seen: list[bool] = []

        def forward(self, x: torch.Tensor, part: str, view: str) -> torch.Tensor:
            self.seen.append(torch.is_autocast_enabled(x.device.type))
            return x

    monkeypatch.setattr(precision, "has_bfloat16", lambda _: native)
    network = Network().eval()
    CoarseToFineInferer(amp_dtype="auto", views=["axial"])(torch.zeros(1, 1, 4, 4, 4), network)
    assert set(network.seen) == {native}

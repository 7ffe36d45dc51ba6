# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The coarse-to-fine loop: it ends whatever the network says, and its answer hangs on the volume alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.utils import SlabSpec, View, dice_coefficient
from tests.inferers.test_coarse_to_fine import random_network, volume_of
from tests.properties.strategies import examples, margins, masks, noise, shapes

VIEWS = list(View)


class Moody(torch.nn.Module):
    """A network of three views that finds what is brighter than a level, another one at every call, and noise."""

    def __init__(self, classes: int, slab: SlabSpec, levels: list[float], noisy: float, saliency: bool) -> None:
        super().__init__()
        self.view_names, self.out_channels, self.slab = VIEWS, classes, slab
        self.has_fine, self.has_saliency = True, saliency
        self.levels, self.noisy, self.calls = levels, noisy, 0
        self.eval()

    def forward(self, x: torch.Tensor, part: str, view: str) -> torch.Tensor:
        """Weights of one for g; logits of the slab's predicted slices."""
        if part == "saliency":
            return torch.ones(len(x), self.slab.in_slices, *x.shape[2:])
        self.calls += 1
        beyond = self.slab.in_reach - self.slab.out_reach
        seen = x[:, beyond : beyond + self.slab.out_slices].repeat(1, self.out_channels, 1, 1)
        logits = 20 * (seen - self.levels[self.calls % len(self.levels)])
        return logits + self.noisy * (noise(tuple(logits.shape), self.calls) - 0.5)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of the inferer in every combination that it takes."""
    result = draw(st.sampled_from(["last", "mean"]))
    one = st.sampled_from(["mean", "vote"])
    return {
        "views": draw(st.lists(st.sampled_from(VIEWS), min_size=1, unique=True)),
        "fusion": "mean" if result == "mean" else draw(st.one_of(one, st.tuples(one, one))),
        "prior": draw(st.sampled_from(["probability", "mask"])),
        "margin": draw(margins()),
        "crop_multiple": draw(st.sampled_from([1, 8, 16])),
        "min_size": draw(st.sampled_from([0, 9, 40])),
        "bridge": draw(st.integers(0, 2)),
        "threshold": draw(st.sampled_from([0.5, 0.2, 0.9])),
        "component_fraction": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "air_threshold": draw(st.sampled_from([None, 0.3])),
        "exclusive": draw(st.booleans()),
        "result": result,
    }


rules = st.builds(
    StopRule, dice=st.one_of(st.none(), st.floats(0.0, 1.1)), max_rounds=st.integers(0, 5), stop_on_cycle=st.booleans()
)
slabs = st.sampled_from([(1, 1), (3, 3), (5, 3)])


@examples(40)
@given(
    st.data(),
    shapes(voxels=3000),
    options(),
    rules,
    st.lists(st.sampled_from([-1.0, 0.2, 0.4, 0.45, 0.7, 2.0]), min_size=1, max_size=5),
    st.sampled_from([0.0, 4.0, 40.0]),
    st.integers(1, 2),
    slabs,
    st.booleans(),
)
def test_it_ends_and_its_record_is_true_whatever_the_network_says(
    data: st.DataObject,
    shape: tuple[int, ...],
    arguments: dict[str, Any],
    rule: StopRule,
    levels: list[float],
    noisy: float,
    classes: int,
    slab: tuple[int, int],
    saliency: bool,
) -> None:
    """Also from an empty or a full mask of another model."""
    network = Moody(classes, SlabSpec(*slab), levels, noisy, saliency)
    start = data.draw(st.one_of(st.none(), masks((classes, *shape))))
    inferer = CoarseToFineInferer(**arguments, stopping=rule, keep_rounds=True)
    volume = noise((1, 1, *shape), 0)
    answer = inferer(volume, network, initial=None if start is None else start[None])
    (record,) = inferer.records
    assert answer.shape == (1, classes, *shape) and 0 <= answer.min() and answer.max() <= 1
    assert record.fine_rounds <= rule.max_rounds and len(record.masks) == len(record.rounds)
    if start is not None:
        assert torch.equal(record.masks[0], start)

    # d(t) is that of the masks, and the loop ends where its rule says, not before and not behind.
    changes = [entry.dsc for entry in record.rounds[1:]]
    pairs = list(zip(record.masks, record.masks[1:], strict=False))
    assert all(0 <= change <= 1 for change in changes)
    assert changes == pytest.approx([min(map(dice_coefficient, before, after)) for before, after in pairs], abs=1e-6)
    cycles = [
        t > 1 and torch.equal(mask, record.masks[t - 2]) and not torch.equal(mask, record.masks[t - 1])
        for t, mask in enumerate(record.masks)
    ]
    reasons = [
        rule.reason(changes[:t], cycle, not mask.any())
        for t, (cycle, mask) in enumerate(zip(cycles, record.masks, strict=True))
    ]
    assert reasons[:-1] == [None] * record.fine_rounds and reasons[-1] == record.stop_reason
    assert [entry.voxels for entry in record.rounds] == [int(mask.sum()) for mask in record.masks]
    if arguments["result"] == "last" and not arguments["exclusive"]:
        assert torch.equal(answer[0] >= arguments["threshold"], record.masks[-1])
    assert record.voxels is not None and (record.stop_reason == "empty") <= (record.voxels == 0)


CONVOLUTION = partial(torch.nn.Conv2d, kernel_size=3, padding=1)


def answer_of(arguments: dict[str, Any], volumes: torch.Tensor, slab: tuple[int, int], **other: Any) -> tuple:
    """Probabilities and d(t) of a network that sees the surroundings of a voxel."""
    network = random_network(base=CONVOLUTION, slab=slab).double()
    inferer = CoarseToFineInferer(**(arguments | other), stopping=StopRule(0.999, max_rounds=2))
    answer = inferer(volumes, network)
    return answer, [[entry.dsc for entry in record.rounds] for record in inferer.records]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_same(one: tuple, other: tuple) -> None:
    """In float64, where sums in another order flip no voxel."""
    torch.testing.assert_close(other[0], one[0], atol=1e-12, rtol=0)
    assert torch.equal(other[0] >= 0.5, one[0] >= 0.5) and other[1] == one[1]


@examples(15)
@given(
    shapes(voxels=3000),
    options(),
    slabs,
    st.integers(0, 9),
    st.one_of(st.integers(1, 10_000), st.just(10**9)),
    st.integers(2, 4),
    st.randoms(use_true_random=False),
)
def test_the_answer_hangs_on_the_volume_alone(
    shape: tuple[int, ...],
    arguments: dict[str, Any],
    slab: tuple[int, int],
    seed: int,
    pixels: int,
    count: int,
    draw: Any,
) -> None:
    """Not on the size of batches, the number of threads, the order of the views, or the cases beside it."""
    arguments = arguments | {"threshold": 0.5}
    cases = [volume_of(shape, seed).double(), volume_of(shape, seed + 1).double(), torch.zeros(1, 1, *shape).double()]
    alone = [answer_of(arguments, case, slab) for case in cases]
    check_same(alone[0], answer_of(arguments, cases[0], slab, pixels_per_batch=pixels))
    with threads(count):
        check_same(alone[0], answer_of(arguments, cases[0], slab))
    views = arguments["views"]
    check_same(alone[0], answer_of(arguments, cases[0], slab, views=draw.sample(views, len(views))))
    order = draw.sample(range(3), 3)
    answers, changes = answer_of(arguments, torch.cat([cases[i] for i in order]), slab)
    for place, i in enumerate(order):
        check_same(alone[i], (answers[place : place + 1], changes[place : place + 1]))

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures over rounds, saliency maps and charts, by their contents."""

from __future__ import annotations

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.metrics.rounds import RoundCurve
from c2f_monai.networks import CoarseToFineNet, SaliencyTransform
from c2f_monai.utils import SlabSpec, View
from c2f_monai.visualize import (
    COLORS,
    RoundsSaver,
    SaliencySaver,
    SaliencyTable,
    rounds_figure,
    saliency_figure,
    saliency_maps,
)
from c2f_monai.visualize.charts import box_figure, convergence_figure, mean_over_rounds, scatter_figure
from c2f_monai.visualize.saliency_table import channel_means


def test_the_slice_with_most_truth_is_shown_after_each_round_and_zoomed() -> None:
    truth = np.zeros((30, 30, 6), bool)
    truth[10:14, 12:15, 3] = truth[10, 12, 1] = True
    coarse, fine = np.zeros_like(truth), truth.copy()
    coarse[13:17, 12:15, 3] = True
    black, masks = np.full(truth.shape, -100.0), {"coarse": coarse, "round 1": fine}
    figure = rounds_figure(black, masks, truth, (1, 1, 1), margin=2)
    first, second = figure.axes
    # Of 12 voxels each (and one more of the truth in another slice) three are shared.
    assert first.get_title() == f"coarse: DSC {2 * 3 / (12 + 13):.3f}"
    assert second.get_title() == "round 1: DSC 1.000"
    pixels = first.get_images()[0].get_array()
    assert pixels.shape == (3 + 4, 7 + 4, 3)  # rows are columns of the volume, with the frame of 2
    colored = {name: int((np.abs(pixels - 0.45 * np.array(c)) < 1e-5).all(-1).sum()) for name, c in COLORS.items()}
    assert colored == {"prediction": 9, "truth": 9, "overlap": 3}


class FirstChannel(torch.nn.Module):
    """Logits that are the input: what comes out tells where it came from."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def network(**options) -> CoarseToFineNet:
    saliency = lambda: SaliencyTransform(3, 3, kernel_sizes=[1])  # noqa: E731
    net = CoarseToFineNet(FirstChannel, FirstChannel, saliency, views=["axial"], size_divisor=4, **options).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.eye(3)[..., None, None] * 2 if parameter.dim() == 4 else torch.ones(3))
    return net


@pytest.mark.parametrize("codes", [None, {"axial": "IPL"}], ids=["RAS", "turned weights"])
def test_saliency_maps_are_g_of_the_coarse_probability(codes) -> None:
    image = torch.rand(5, 6, 4, generator=torch.Generator().manual_seed(0))
    maps = saliency_maps(network(slice_axcodes=codes), image, View.AXIAL, 2)
    slab = image.movedim(2, 0)[1:4]
    torch.testing.assert_close(maps["image"], slab)
    torch.testing.assert_close(maps["probability"], torch.sigmoid(slab))
    torch.testing.assert_close(maps["weights"], 2 * torch.sigmoid(slab) + 1)
    figure = saliency_figure(maps, View.AXIAL, (1, 1, 1))
    assert [axes.get_title() for axes in figure.axes if "weights" in axes.get_title()] == [
        f"channel {i}: weights g(P)" for i in (1, 2, 3)
    ]


def test_g_is_shown_of_the_map_that_it_sees_in_testing() -> None:
    image, seen = torch.rand(5, 6, 4), torch.rand(1, 5, 6, 4)
    maps = saliency_maps(network(), image, View.AXIAL, 2, seen)
    slab = seen[0].movedim(2, 0)[1:4]
    torch.testing.assert_close(maps["probability"], slab)
    torch.testing.assert_close(maps["weights"], 2 * slab + 1)
    # At the end of the volume the last slice is repeated, as in testing.
    last = saliency_maps(network(), image, View.AXIAL, 3, seen)["probability"]
    torch.testing.assert_close(last, seen[0].movedim(2, 0)[[2, 3, 3]])


def test_the_record_keeps_the_fused_map_that_g_sees() -> None:
    """Two views whose coarse logits are x and 3 x: g sees the mean of their probabilities in each of them."""

    class Times(torch.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * x

    factors = iter((1.0, 3.0))
    net = CoarseToFineNet(
        lambda: Times(next(factors)),
        FirstChannel,
        lambda: SaliencyTransform(1, 1, kernel_sizes=[1]),
        views=["coronal", "axial"],
        slab=SlabSpec(1, 1),
    ).eval()
    image = torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    inferer = CoarseToFineInferer(crop_multiple=1, stopping=StopRule(None, 2), keep_seen=True)
    inferer(image, net)
    expected = (torch.sigmoid(image[0]) + torch.sigmoid(3 * image[0])) / 2
    assert inferer.records[0].seen is not None
    torch.testing.assert_close(inferer.records[0].seen, expected)
    plain = CoarseToFineInferer(crop_multiple=1, stopping=StopRule(None, 2))
    plain(image, net)
    assert plain.records[0].seen is None


def test_slabs_of_one_slice_are_one_row_of_saliency() -> None:
    maps = {name: torch.full((1, 12, 10), 0.5) for name in ("image", "probability", "weights")}
    titles = [axes.get_title() for axes in saliency_figure(maps, View.AXIAL, (1, 1, 1)).axes if axes.get_title()]
    shown = ("image", "coarse probability", "weights g(P)", "weighted image")
    assert titles == [f"channel 1: {name}" for name in shown]


def test_the_first_cases_of_each_run_are_drawn(tmp_path) -> None:
    truth = torch.zeros(1, 8, 8, 8)
    truth[0, 2:5, 2:5, 2:5] = 1
    record = SimpleNamespace(name="a", masks=[truth > 0, truth > 0], seen=None)
    inferer = SimpleNamespace(records=[record])
    net = network()
    savers = [RoundsSaver(inferer, str(tmp_path), cases=1), SaliencySaver(net, inferer, str(tmp_path), cases=1)]
    engine = SimpleNamespace(state=SimpleNamespace())
    for name in ("a", "b"):
        record.name = name
        engine.state.batch = [{"image": MetaTensor(truth * 100), "label_grid": MetaTensor(truth)}]
        for saver in savers:
            saver(engine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_rounds.png", "a_saliency.png"]


def test_weights_on_and_around_the_target_by_hand() -> None:
    truth = torch.zeros(6, 6, dtype=torch.bool)
    truth[2:4, 2:4] = True
    near = torch.zeros(6, 6)
    near[1:5, 1:5] = 6.0  # 12 of 16 pixels around the target in a frame of 1
    near[2:4, 2:4] = 2.0
    beyond = near.clone()
    beyond[0] = 100.0
    assert channel_means(torch.stack([near, beyond, -near]), truth, 1) == [(2.0, 6.0), (2.0, 6.0), (-2.0, -6.0)]


def test_every_case_with_target_has_rows_for_each_view_and_channel(tmp_path) -> None:
    truth = torch.zeros(1, 8, 8, 8)
    truth[0, 2:5, 2:5] = 1
    record = SimpleNamespace(name="a", seen=None)
    table = SaliencyTable(network(), SimpleNamespace(records=[record]), str(tmp_path), frame=1)
    engine = SimpleNamespace(state=SimpleNamespace())
    for name, label in (("a", truth), ("empty", torch.zeros_like(truth)), ("b", truth)):
        record.name = name
        engine.state.batch = [{"image": MetaTensor(truth * 240), "label_grid": MetaTensor(label)}]
        table(engine)
    table.write(engine)
    with (tmp_path / "saliency.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    views = list(network().view_names)
    assert [(r["case"], r["view"], r["channel"]) for r in rows] == [
        (case, view, str(channel)) for case in ("a", "b") for view in views for channel in (1, 2, 3)
    ]
    # g(P) = 2 P + 1 with P = sigmoid(image): 1 on the target and 100 / 340 beside it.
    for row in rows:
        assert float(row["target"]) == pytest.approx(1 + 2 / (1 + math.exp(-1)))
        assert float(row["around"]) == pytest.approx(1 + 2 / (1 + math.exp(-100 / 340)))


CURVES = [RoundCurve("a", (0.5, 0.7, 0.9), (0.8, 0.9)), RoundCurve("b", (0.1, 0.0), (0.2,), empty=True)]


def test_means_over_rounds_by_hand() -> None:
    dsc, changes = mean_over_rounds(CURVES)
    assert dsc == pytest.approx([0.3, 0.35, 0.45])
    assert changes == pytest.approx([0.5, 0.9])
    left, right = convergence_figure({"RSTN": CURVES}).axes
    assert left.get_lines()[0].get_ydata() == pytest.approx([30, 35, 45])
    assert right.get_lines()[0].get_xdata().tolist() == [1, 2]


def test_scatter_counts_wins_and_boxes_keep_their_order() -> None:
    pair = ([0.9, 0.5, 0.7], [0.8, 0.6, 0.7])
    axes, *others = scatter_figure({("RSTN", "step-wise"): pair, **{("RSTN", str(n)): pair for n in range(3)}}).axes
    assert len(others) == 3  # of two rows of three
    assert axes.get_title() == "1 wins, 1 losses of 3 cases"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step-wise: DSC [%]", "RSTN: DSC [%]")
    (axes,) = box_figure({"first": [0.5, 0.6], "second": [0.7]}).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["first", "second"]

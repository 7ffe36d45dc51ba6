# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The unrolled training pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from c2f_monai.inferers import CoarseToFineInferer, StopRule, UnrolledInferer
from c2f_monai.losses import RoundsLoss
from c2f_monai.networks import CoarseToFineNet, SaliencyTransform
from c2f_monai.utils import SlabSpec


class Pixelwise(nn.Module):
    """logit = 10 * (x - 0.5): foreground where the image is at least 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return self.scale * (x - 0.5)


class Halve(nn.Module):
    """g = 0.5 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * torch.ones_like(x)


def make_net(saliency: bool = True, fine: bool = True) -> CoarseToFineNet:
    return CoarseToFineNet(Pixelwise, Pixelwise if fine else None, Halve if saliency else None, views=["axial"])


def draws(sizes: list[tuple[int, int]], rounds: int = 1, margin: int = 1) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "axial": {
            "size": torch.tensor(sizes),
            "margins": torch.full((len(sizes), rounds, 4), margin),
            "fallback": torch.tensor([[0, 0, 2, 2]]).expand(len(sizes), 4),
        }
    }


def square(top: int, left: int, side: int, size: int = 12) -> torch.Tensor:
    x = torch.zeros(1, 3, size, size)
    x[:, :, top : top + side, left : left + side] = 1.0
    return x


def run(stage: str, image: torch.Tensor, target: torch.Tensor, net: nn.Module, **kwargs) -> torch.Tensor:
    rounds = kwargs.pop("rounds", 1)
    margin = kwargs.pop("margin", 1)
    inferer = UnrolledInferer(rounds=rounds, stage=stage, crop_multiple=kwargs.pop("crop_multiple", 1), **kwargs)
    size = [tuple(image.shape[-2:])] * len(image)
    return inferer({"axial": image}, net, {"axial": target}, draws(size, rounds, margin))["axial"]


def sigmoid(x: float) -> float:
    return torch.sigmoid(torch.tensor(x)).item()


@pytest.mark.parametrize(
    ("stage", "inside", "box"),
    [
        # image 1 in rows and columns 2..5, truth in 3..8; margin 1. separate: X itself, box 2..9 around the truth.
        ("separate", sigmoid(5.0), (2, 2, 10, 10)),
        # individual: X * 0.5 = 0.5 -> logit 0, same box; joint: box 1..6 around the prediction 2..5.
        ("individual", 0.5, (2, 2, 10, 10)),
        ("joint", 0.5, (1, 1, 7, 7)),
    ],
)
def test_stages_choose_box_and_image(stage: str, inside: float, box: tuple[int, int, int, int]) -> None:
    pred = run(stage, square(2, 2, 4), square(3, 3, 6), make_net())
    assert pred.shape == (1, 2, 3, 12, 12)
    fine = pred[0, 1, 1]
    assert fine[4, 4].item() == pytest.approx(inside, abs=1e-6)
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[box[0] : box[2], box[1] : box[3]] = True
    assert torch.equal(fine > 0, expected)  # a probability is above 0 in the box and exactly 0 outside


def test_joint_falls_back_to_the_truth_then_to_the_drawn_box() -> None:
    dark = torch.zeros(1, 3, 12, 12)
    found = run("joint", dark, square(4, 4, 2), make_net())[0, 1, 0] > 0
    assert found.nonzero().amin(0).tolist() == [3, 3] and found.nonzero().amax(0).tolist() == [6, 6]
    found = run("joint", dark, dark, make_net())[0, 1, 0] > 0  # box (0, 0, 2, 2) and margin 1
    assert found.nonzero().amax(0).tolist() == [2, 2]
    # A pixel of one half is of the prediction.
    found = run("joint", 0.5 * square(5, 5, 3), square(0, 0, 2), make_net())[0, 1, 0] > 0
    assert found.nonzero().amin(0).tolist() == [4, 4] and found.nonzero().amax(0).tolist() == [8, 8]
    # separate, without truth: the prediction's box
    found = run("separate", square(5, 5, 3), dark, make_net())[0, 1, 0] > 0
    assert found.nonzero().amin(0).tolist() == [4, 4] and found.nonzero().amax(0).tolist() == [8, 8]


@pytest.mark.parametrize("stage", ["separate", "individual", "joint"])
def test_every_parameter_gets_a_gradient_in_every_stage(stage: str) -> None:
    torch.manual_seed(0)
    conv = lambda: nn.Conv2d(3, 3, 3, padding=1)  # noqa: E731
    net = CoarseToFineNet(conv, conv, SaliencyTransform, views=["axial"])
    image = torch.rand(2, 3, 16, 16)
    for target in (torch.zeros(2, 3, 16, 16), (image > 0.7).float()):
        net.zero_grad(set_to_none=True)
        pred = run(stage, image, target, net, rounds=2, crop_multiple=8)
        RoundsLoss()({"axial": pred}, {"axial": target}).backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []
    gradient = net.views["axial"].saliency
    total = sum(p.grad.abs().sum().item() for p in gradient.parameters())
    assert (total == 0.0) == (stage == "separate")


def test_prior_is_not_detached() -> None:
    net = make_net()
    image = square(2, 2, 4)
    prior_gradient = []
    for stage in ("separate", "individual"):
        net.zero_grad(set_to_none=True)

        class Gain(Halve):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.weight * x

        net.views["axial"].saliency = Gain()
        run(stage, image, image, net)[:, 1].sum().backward()
        gradient = net.views["axial"].coarse.scale.grad
        prior_gradient.append(0.0 if gradient is None else abs(gradient.item()))
    assert prior_gradient[0] == 0.0
    assert prior_gradient[1] > 0.0


def test_slabs_of_different_size_do_not_touch_each_other() -> None:
    torch.manual_seed(1)
    net = CoarseToFineNet(
        lambda: nn.Conv2d(3, 3, 3, padding=1), lambda: nn.Conv2d(3, 3, 3, padding=1), SaliencyTransform, views=["axial"]
    )
    for parameter in net.views["axial"].saliency.parameters():  # away from its constant start
        nn.init.normal_(parameter, std=0.3)
    small, large = torch.rand(1, 3, 9, 10), torch.rand(1, 3, 14, 16)
    canvas = torch.zeros(2, 3, 16, 16)
    canvas[0, :, :9, :10], canvas[1, :, :14, :16] = small, large
    target = canvas > 0.8
    inferer = UnrolledInferer(rounds=2, stage="joint", crop_multiple=4)
    together = inferer({"axial": canvas}, net, {"axial": target}, draws([(9, 10), (14, 16)], 2))["axial"]
    for row, size in enumerate([(9, 10), (14, 16)]):
        h, w = size
        alone = inferer(
            {"axial": canvas[row : row + 1, :, :h, :w]},
            net,
            {"axial": target[row : row + 1, :, :h, :w]},
            draws([size], 2),
        )["axial"]
        assert torch.allclose(together[row : row + 1, :, :, :h, :w], alone, atol=1e-6)
        assert together[row, :, :, h:].abs().sum() == 0 and together[row, :, :, :, w:].abs().sum() == 0


def test_gradients_of_slabs_on_a_canvas_are_those_of_each_alone() -> None:
    """Also at the border of a slab, where g's hidden bias must not come in from the canvas beside it."""
    torch.manual_seed(4)
    net = CoarseToFineNet(
        lambda: nn.Conv2d(3, 3, 3, padding=1), lambda: nn.Conv2d(3, 3, 3, padding=1), SaliencyTransform, views=["axial"]
    )
    saliency = net.views["axial"].saliency
    for parameter in saliency.parameters():
        nn.init.normal_(parameter, std=0.3)
    sizes = [(9, 10), (14, 16)]
    canvas = torch.zeros(2, 3, 16, 16)
    for row, (h, w) in enumerate(sizes):
        canvas[row, :, :h, :w] = torch.rand(3, h, w)
    target = canvas > 0.8
    inferer = UnrolledInferer(rounds=2, stage="joint", crop_multiple=4)

    def gradients(slabs: list[tuple[torch.Tensor, torch.Tensor, list[tuple[int, int]]]]) -> list[torch.Tensor]:
        net.zero_grad(set_to_none=True)
        for image, truth, of in slabs:
            inferer({"axial": image}, net, {"axial": truth}, draws(of, 2))["axial"].square().sum().backward()
        return [parameter.grad.clone() for parameter in saliency.parameters()]

    alone = [
        (canvas[row : row + 1, :, :h, :w], target[row : row + 1, :, :h, :w], [(h, w)])
        for row, (h, w) in enumerate(sizes)
    ]
    for found, expected in zip(gradients([(canvas, target, sizes)]), gradients(alone), strict=True):
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("slab_multiple", "side"), [(None, 16), (32, 32), (1, 12)])
def test_whole_slabs_have_a_multiple_of_their_own(slab_multiple: int | None, side: int) -> None:
    net = make_net()
    run("separate", square(2, 2, 4), square(3, 3, 6), net, crop_multiple=8, slab_multiple=slab_multiple)
    assert net.views["axial"].coarse.shapes == [(1, 3, side, side)]
    assert net.views["axial"].fine.shapes == [(1, 3, 8, 8)]


def test_crops_of_equal_shape_share_a_call() -> None:
    net = make_net(saliency=False)
    image = torch.cat([square(2, 2, 3), square(5, 4, 4), square(1, 1, 9)])
    run("separate", image, image, net, crop_multiple=6)
    # grown sides: 5 -> 6, 6 -> 6, 11 -> 12
    assert sorted(net.views["axial"].fine.shapes) == [(1, 3, 12, 12), (2, 3, 6, 6)]
    assert net.views["axial"].coarse.shapes == [(3, 3, 12, 12)]


def test_with_a_common_shape_all_crops_share_a_call_and_stay_in_their_boxes() -> None:
    net = make_net(saliency=False)
    image = torch.cat([square(2, 2, 3), square(5, 4, 4), square(1, 1, 9)])
    pred = run("separate", image, image, net, crop_multiple=6, common_shape=True)
    assert net.views["axial"].fine.shapes == [(3, 3, 12, 12)]
    # A network of single pixels does not see how much more its crop holds.
    assert torch.equal(pred, run("separate", image, image, make_net(saliency=False), crop_multiple=6))


@pytest.mark.parametrize("wrapped", [False, True])
def test_stage_coarse_trains_the_coarse_network_alone(wrapped: bool) -> None:
    net = make_net()
    image = square(2, 2, 4)
    caller: nn.Module = net
    if wrapped:  # as DistributedDataParallel does
        caller = nn.Module()
        caller.module, caller.forward = net, net.forward
    pred = run("coarse", image, image, caller, rounds=2)
    assert pred.shape == (1, 1, 3, 12, 12)
    RoundsLoss()({"axial": pred}, {"axial": image}).backward()
    parts = net.views["axial"]
    assert parts.coarse.scale.grad.abs() > 0
    # None leaves optimizers alone; distributed training waits for a gradient, which is 0.
    others = [parts.fine.scale.grad, parts.saliency.weight.grad]
    assert [None if grad is None else grad.item() for grad in others] == [0.0 if wrapped else None] * 2
    assert parts.fine.shapes == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_stage_fine_trains_the_fine_network_alone_on_the_box_of_the_truth(wrapped: bool) -> None:
    net = make_net()
    image, target = square(2, 2, 4), square(3, 3, 6)
    caller: nn.Module = net
    if wrapped:  # as DistributedDataParallel does
        caller = nn.Module()
        caller.module, caller.forward = net, net.forward
    pred = run("fine", image, target, caller, rounds=2)
    assert pred.shape == (1, 3, 3, 12, 12) and not pred[:, 0].any()
    separate = run("separate", image, target, net, rounds=2)
    assert torch.equal(pred[:, 1:], separate[:, 1:])  # the same image in the same box
    RoundsLoss(reduction="sum")({"axial": pred}, {"axial": target}).backward()
    parts = net.views["axial"]
    assert parts.fine.scale.grad.abs() > 0
    assert (None if parts.coarse.scale.grad is None else parts.coarse.scale.grad.item()) == (0.0 if wrapped else None)
    with pytest.raises(ValueError, match="stage 'fine' trains a fine network, and this network has none"):
        run("fine", image, target, make_net(saliency=False, fine=False))


class Encoded(nn.Module):
    """An encoder with batch norm, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), nn.Conv2d(2, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


@pytest.mark.parametrize(("stage", "learns"), [("fine", False), ("separate", True)])
def test_stage_fine_leaves_an_encoder_that_the_coarse_network_has_too_as_it_is(stage: str, learns: bool) -> None:
    net = CoarseToFineNet(Encoded, Encoded, Halve, views=["axial"], shared_encoder=True).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    image, target = square(2, 2, 4), square(3, 3, 6)
    RoundsLoss(reduction="sum")({"axial": run(stage, image, target, net)}, {"axial": target}).backward()
    parts = net.views["axial"]
    assert all((parameter.grad is not None) == learns for parameter in parts.coarse.encoder.parameters())
    moved = [key for key, value in net.state_dict().items() if not torch.equal(value, before[key])]
    assert any("running_mean" in key for key in moved) == learns and bool(moved) == learns
    assert parts.fine.decoder.weight.grad.abs().sum() > 0
    assert all(each.training for each in net.modules()) and all(each.requires_grad for each in net.parameters())


@pytest.mark.parametrize(("fine", "saliency", "maps"), [(False, False, 1), (True, False, 3)])
def test_parts_may_be_left_out(fine: bool, saliency: bool, maps: int) -> None:
    pred = run("separate", square(2, 2, 4), square(2, 2, 4), make_net(saliency, fine), rounds=2)
    assert pred.shape[1] == maps


def test_agrees_with_inference_on_one_slab() -> None:
    """One slab of one slice is a volume: joint training and the inferer give the same maps."""
    torch.manual_seed(3)
    conv = lambda: nn.Conv2d(3, 1, 5, padding=2)  # noqa: E731
    net = CoarseToFineNet(conv, conv, lambda: SaliencyTransform(1, 3), views=["axial"], slab=SlabSpec(3, 1)).eval()
    volume = torch.rand(1, 1, 20, 24, 1)
    inferer = CoarseToFineInferer(margin=2, crop_multiple=4, stopping=StopRule(None, 2), keep_rounds=True)
    expected = inferer(volume, net)[0, :, :, :, 0]
    slab = volume[0, 0, :, :, 0].expand(1, 3, 20, 24)
    unrolled = UnrolledInferer(rounds=2, stage="joint", crop_multiple=4)
    with torch.no_grad():
        found = unrolled({"axial": slab}, net, {"axial": torch.zeros(1, 1, 20, 24)}, draws([(20, 24)], 2, margin=2))
    assert torch.allclose(found["axial"][0, -1], expected, atol=1e-5)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        UnrolledInferer(rounds=0)
    with pytest.raises(ValueError, match="crop_multiple must be at least 1, got 0"):
        UnrolledInferer(crop_multiple=0)
    with pytest.raises(ValueError, match="later"):
        UnrolledInferer(stage="later")


@pytest.mark.parametrize(
    ("given", "rounds", "message"),
    [
        ({"size": {"axial": torch.tensor([[12, 12]])}}, 1, "of axial it lacks size, margins, fallback: .*prepare_slab"),
        ({"axial": {"size": torch.tensor([[12, 12]])}}, 1, "of axial it lacks margins, fallback"),
        (draws([(12, 12)]), 2, "margins of axial are of 1 rounds, and 2 run"),
    ],
    ids=["by name, as a batch", "size alone", "fewer rounds"],
)
def test_draws_of_another_form_are_explained(given: dict, rounds: int, message: str) -> None:
    image = {"axial": square(2, 2, 4)}
    with pytest.raises(ValueError, match=message):
        UnrolledInferer(rounds, "joint")(image, make_net(), image, given)
    # The coarse network alone needs no margins of two rounds.
    found = UnrolledInferer(2, "coarse")(image, make_net(), image, draws([(12, 12)]))
    assert found["axial"].shape == (1, 1, 3, 12, 12)


def test_targets_without_a_view_are_named() -> None:
    with pytest.raises(ValueError, match="targets must hold a tensor for each view, and hold none for axial"):
        UnrolledInferer()({"axial": square(2, 2, 4)}, make_net(), {}, draws([(12, 12)]))


@pytest.mark.parametrize("slices", [1, 3])
def test_networks_of_other_slabs_are_told_which_argument_says_so(slices: int) -> None:
    """A network of one slice with the default slab of three, and the other way round."""
    own = 4 - slices
    net = CoarseToFineNet(lambda: nn.Conv2d(own, own, 1), views=["axial"], slab=SlabSpec(slices, slices)).eval()
    image = {"axial": torch.rand(1, slices, 12, 12)}
    message = rf"coarse network has a layer of {own} input channels that got {slices}, .*slab=SlabSpec\(1, 1\)"
    with pytest.raises(ValueError, match=message):
        UnrolledInferer()(image, net, image, draws([(12, 12)]))
    with pytest.raises(ValueError, match=message):
        CoarseToFineInferer()(torch.rand(1, 1, 12, 12, 4), net)

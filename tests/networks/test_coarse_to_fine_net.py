# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from monai.bundle import verify_net_in_out
from monai.networks.nets import DynUNet, FlexibleUNet, SegResNet, UNet

from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import SlabSpec, add_slabs, extract_slabs

VIEWS = ("sagittal", "coronal", "axial")
PARTS = {
    "FCN8s": partial(FCN8s, width=2, fc_channels=4, dropout=0.0, score_init="xavier"),
    "UNet": partial(UNet, spatial_dims=2, in_channels=3, out_channels=3, channels=(4, 8, 8), strides=(2, 2)),
    "SegResNet": partial(SegResNet, spatial_dims=2, in_channels=3, out_channels=3, init_filters=8),
    "FlexibleUNet": partial(
        FlexibleUNet,
        in_channels=3,
        out_channels=3,
        backbone="resnet10",
        spatial_dims=2,
        decoder_channels=(8, 8, 4, 4, 4),
    ),
    "DynUNet": partial(
        DynUNet,
        spatial_dims=2,
        in_channels=3,
        out_channels=3,
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[4, 8, 8],
    ),
}


def make(part="FCN8s", fine=True, saliency=True, views=VIEWS, seed=0, **kwargs):
    """A network with random weights; g is away from its constant start."""
    torch.manual_seed(seed)
    factory = PARTS[part]
    network = CoarseToFineNet(
        factory, factory if fine else None, SaliencyTransform if saliency else None, views, **kwargs
    )
    for name, parameter in network.named_parameters():
        if ".saliency." in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("part", PARTS)
def test_any_network_of_two_dimensions_is_a_part(part):
    network = make(part, views=("axial",))
    x, prior = torch.rand(2, 3, 64, 32), torch.rand(2, 3, 64, 32)
    with torch.no_grad():
        view = network.views["axial"]
        assert torch.equal(network(x, "coarse", "axial"), view.coarse(x))
        assert torch.equal(network(x, "fine", "axial"), view.fine(x))
        assert torch.equal(network(prior, "saliency", "axial"), view.saliency(prior))
        assert network(x, "fine", "axial").shape == (2, 3, 64, 32)
        assert not torch.equal(network(x, "fine", "axial"), network(x, "coarse", "axial"))


@pytest.mark.parametrize("part", ["FCN8s", "UNet", "SegResNet"])
def test_script_gives_the_same_numbers(part, tmp_path):
    network = make(part)
    torch.jit.script(network).save(str(tmp_path / "model.ts"))
    scripted = torch.jit.load(str(tmp_path / "model.ts"))
    x, volume = torch.rand(2, 3, 32, 16), torch.rand(1, 1, 9, 12, 7)
    with torch.no_grad():
        for view in VIEWS:
            for name in ("coarse", "saliency", "fine"):
                torch.testing.assert_close(scripted(x, name, view), network(x, name, view), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(scripted(volume), network(volume), atol=1e-6, rtol=1e-5)
        with pytest.raises(torch.jit.Error, match="view must be one of"):
            scripted(x, "coarse", "front")


def test_the_coarse_network_may_work_on_larger_pixels(tmp_path):
    plain, half = make(views=["axial"]), make(views=["axial"], coarse_downsample=2)
    assert plain.state_dict().keys() == half.state_dict().keys()
    half.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        logits = plain(torch.nn.functional.avg_pool2d(x, 2), "coarse", "axial")
        expected = torch.nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")
        assert torch.allclose(half(x, "coarse", "axial"), expected, atol=1e-6)
        assert torch.equal(half(x, "fine", "axial"), plain(x, "fine", "axial"))
        odd = x[:, :, :31, :63]
        found = torch.jit.script(half)(odd, "coarse", "axial")
    assert found.shape == odd.shape and torch.allclose(found, half(odd, "coarse", "axial"), atol=1e-6)


@pytest.mark.parametrize(
    ("fine", "saliency", "views", "parts"),
    [
        (True, True, VIEWS, {"coarse", "fine", "saliency"}),
        (True, False, ("axial", "coronal"), {"coarse", "fine"}),
        (False, False, ("sagittal",), {"coarse"}),
    ],
)
def test_state_keys_are_view_then_part(fine, saliency, views, parts):
    network = make(fine=fine, saliency=saliency, views=views)
    keys = [key.split(".") for key in network.state_dict()]
    assert {key[0] for key in keys} == {"views"}
    assert {key[1] for key in keys} == set(views)
    assert {key[2] for key in keys} == parts
    assert network.view_names == list(views)
    assert (network.has_fine, network.has_saliency) == (fine, saliency)
    if fine:
        assert "views.axial.fine.block5.conv5_3.weight" in network.state_dict()


def test_views_do_not_share_weights():
    network = make()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        answers = [network(x, "coarse", view) for view in VIEWS]
    assert not torch.equal(answers[0], answers[1]) and not torch.equal(answers[1], answers[2])


def test_volume_gives_the_coarse_probability_by_hand():
    """A part that copies its slab: logits are the slices themselves, whatever the view."""
    network = CoarseToFineNet(torch.nn.Identity, views=VIEWS, size_divisor=4, slabs_per_batch=2)
    volume = torch.randn(2, 1, 5, 3, 6)
    torch.testing.assert_close(network(volume), torch.sigmoid(volume))


@pytest.mark.parametrize(
    ("classes", "slab"),
    [(1, SlabSpec()), (2, SlabSpec()), (3, SlabSpec(1, 1)), (2, SlabSpec(5, 3)), (1, SlabSpec(7, 5))],
)
@pytest.mark.parametrize("shape", [(9, 12, 7), (1, 5, 2), (1, 1, 1), (17, 20, 18)])
def test_volume_gives_the_inferers_coarse_result(classes, slab, shape):
    torch.manual_seed(0)
    part = partial(PARTS["FCN8s"], in_channels=slab.in_slices, out_channels=classes * slab.out_slices)
    network = CoarseToFineNet(part, out_channels=classes, slab=slab, size_divisor=8, slabs_per_batch=3).eval()
    volume = torch.rand(2, 1, *shape)
    with torch.no_grad():
        answer = network(volume)
    assert answer.shape == (2, classes, *shape)
    torch.testing.assert_close(
        answer,
        CoarseToFineInferer(stopping=StopRule(max_rounds=0), crop_multiple=8)(volume, network),
        atol=1e-6,
        rtol=0,
    )


def test_slabs_of_the_volume_are_class_major():
    """Class 1 is the negative of class 0 in the part; so are the maps."""

    class Both(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x, -x], dim=1)

    network = CoarseToFineNet(Both, out_channels=2)
    volume = torch.randn(1, 1, 4, 5, 3)
    torch.testing.assert_close(network(volume), torch.sigmoid(torch.cat([volume, -volume], dim=1)))


@pytest.mark.parametrize("part", ["UNet", "SegResNet", "FlexibleUNet"])
def test_parts_with_strides_take_odd_volumes(part):
    network = make(part, size_divisor=32)
    volume = torch.rand(1, 1, 37, 41, 19)
    with torch.no_grad():
        answer = network(volume)
        slices = volume[0, 0].movedim(2, 0)
        padded = torch.nn.functional.pad(extract_slabs(slices, torch.arange(19), 3), (0, 23, 0, 27))
        axial = torch.sigmoid(network(padded, "coarse", "axial")[..., :37, :41])
    assert answer.shape == volume.shape and 0 <= answer.min() and answer.max() <= 1
    alone = make(part, views=VIEWS, size_divisor=32)
    alone.view_names, alone.views = ["axial"], torch.nn.ModuleDict({"axial": network.views["axial"]})
    count = torch.tensor([2.0, *[3.0] * 17, 2.0])[None, :, None, None]
    expected = (add_slabs(torch.zeros(1, 19, 37, 41), axial, torch.arange(19), 3) / count).movedim(1, 3)
    with torch.no_grad():
        torch.testing.assert_close(alone(volume)[0], expected, atol=1e-5, rtol=0)


def test_weights_are_float32_under_autocast():
    network = make(views=("axial",))
    prior = torch.rand(1, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        weights = network(prior.bfloat16().float(), "saliency", "axial")
        assert network(prior, "coarse", "axial").dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(weights, network(prior.bfloat16().float(), "saliency", "axial"))


def test_distributed_training_uses_every_parameter(process_group):
    """Several forward calls in one step, find_unused_parameters=False: gradients equal those of the bare network."""
    network = make().train()
    bare = make().train()
    bare.load_state_dict(network.state_dict())
    wrapped = torch.nn.parallel.DistributedDataParallel(network, find_unused_parameters=False)
    x = torch.rand(2, 3, 24, 20)

    def step(model):
        loss = torch.zeros(())
        for view in VIEWS:
            prior = torch.sigmoid(model(x, "coarse", view))
            weighted = x * model(prior, "saliency", view)
            loss = loss + prior.mean() + torch.sigmoid(model(weighted[..., 4:20, 2:18], "fine", view)).mean()
        model.zero_grad()
        loss.backward()

    for _ in range(2):  # DDP complains in the second step when the first left parameters unused
        step(wrapped)
    step(bare)
    for (name, one), other in zip(network.named_parameters(), bare.parameters(), strict=True):
        if one.requires_grad:
            assert one.grad is not None, name
            torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_bundle_verification_with_three_spatial_entries(tmp_path):
    channels = {"type": "image", "num_channels": 1, "spatial_shape": [16, 16, 16], "dtype": "float32"}
    data_format = {
        "inputs": {"image": {**channels, "value_range": [0, 1]}},
        "outputs": {"pred": {**channels, "value_range": [0, 1]}},
    }
    (tmp_path / "metadata.json").write_text(json.dumps({"network_data_format": data_format}), encoding="utf-8")
    part = {"_target_": "c2f_monai.networks.FCN8s", "_mode_": "callable", "width": 2, "fc_channels": 4}
    config = {
        "network_def": {
            "_target_": "c2f_monai.networks.CoarseToFineNet",
            "coarse": part,
            "fine": part,
            "saliency": {"_target_": "c2f_monai.networks.SaliencyTransform", "_mode_": "callable"},
        }
    }
    (tmp_path / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    verify_net_in_out(
        "network_def",
        meta_file=str(tmp_path / "metadata.json"),
        config_file=str(tmp_path / "inference.json"),
        device="cpu",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": ()}, r"views must be different names .* got \[\]"),
        ({"views": ("axial", "axial")}, "views must be different names"),
        ({"views": ("front",)}, "'front' is not a valid View"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"size_divisor": 0}, "size_divisor must be at least 1, got 0"),
        ({"slabs_per_batch": 0}, "slabs_per_batch must be at least 1, got 0"),
        ({"coarse_downsample": 0}, "coarse_downsample must be at least 1, got 0"),
        ({"saliency": SaliencyTransform}, "saliency needs a fine network"),
        (
            {"slice_axcodes": {"axial": "SPL"}},
            r"name every view, \['sagittal', 'coronal'\] are not in {'axial': 'SPL'}",
        ),
        ({"views": ("axial",), "slice_axcodes": {"axial": "PLS"}}, "the axial view cannot run along P, got 'PLS'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CoarseToFineNet(torch.nn.Identity, **arguments)


@pytest.mark.parametrize(
    ("inputs", "part", "view", "message"),
    [
        (torch.rand(1, 3, 8, 8), "coarse", "sagittal", r"view must be one of \['axial'\], got 'sagittal'"),
        (torch.rand(1, 3, 8, 8), "coarse", "", r"view must be one of \['axial'\], got ''"),
        (torch.rand(1, 3, 8, 8), "refine", "axial", "part must be one .* got 'refine'"),
        (torch.rand(1, 3, 8, 8), "fine", "axial", "part must be one .* got 'fine'"),
        (torch.rand(1, 3, 8, 8), "saliency", "axial", "part must be one .* got 'saliency'"),
        (torch.rand(1, 2, 8, 8), "coarse", "axial", "coarse network must give 3 channels, got 2"),
        (torch.rand(1, 3, 8, 8), "", "", r"a volume must have shape .* got \[1, 3, 8, 8\]"),
        (torch.rand(1, 2, 8, 8, 8), "", "", r"a volume must have shape .* got \[1, 2, 8, 8, 8\]"),
    ],
)
def test_bad_calls(inputs, part, view, message):
    with pytest.raises(ValueError, match=message):
        CoarseToFineNet(torch.nn.Identity, views=("axial",))(inputs, part, view)


@pytest.mark.parametrize(("scale", "size"), [(0.5, "4x4"), (2.0, "16x16")])
def test_maps_of_another_size_are_refused(scale, size):
    """Larger ones were cut to their upper left corner without a word."""
    network = CoarseToFineNet(lambda: torch.nn.Upsample(scale_factor=scale), views=("axial",))
    with pytest.raises(ValueError, match=f"coarse network must give maps of .* got {size} for 8x8 pixels"):
        network(torch.rand(1, 3, 8, 8), "coarse", "axial")


@pytest.mark.parametrize("name", ["coarse", "fine", "saliency"])
def test_a_network_in_the_place_of_what_makes_it_is_refused(name):
    arguments = {"coarse": torch.nn.Identity, "fine": torch.nn.Identity} | {name: torch.nn.Identity()}
    with pytest.raises(TypeError, match=f"{name} must make a network when called, .* got a Identity"):
        CoarseToFineNet(**arguments, views=("axial",))


@pytest.mark.parametrize("wrap", [list, tuple, lambda maps: {"out": maps}])
def test_networks_that_return_no_tensor_are_refused(wrap):
    """Networks with deep supervision return a list of maps, torchvision's a dict."""

    class Several(torch.nn.Module):
        def forward(self, x):
            return wrap([x]) if wrap in (list, tuple) else wrap(x)

    network = CoarseToFineNet(Several, views=("axial",))
    with pytest.raises(TypeError, match="coarse network must return a tensor of logits, got a (list|tuple|dict)"):
        network(torch.rand(1, 3, 8, 8), "coarse", "axial")

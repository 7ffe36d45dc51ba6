# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn as nn

from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.networks.weights import (
    import_fcn8s,
    import_rstn,
    import_vgg16,
    plain_state_dict,
    rstn_view,
    slab_filters,
)
from tests.networks.port import fcn_shapes, random_tensors, rstn_shapes

WIDTH, FC, DIVISOR = 2, 128, 32
VIEW = partial(rstn_view, width=WIDTH, fc_channels=FC)
SMALL = partial(FCN8s, width=WIDTH, fc_channels=FC)


def vgg_shapes():
    """Torchvision's VGG-16, its channels divided."""
    channels = [3, 2, 2, 4, 4, 8, 8, 8, *[16] * 6]
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    shapes = {}
    for i, index in enumerate(indices):
        shapes[f"features.{index}.weight"] = (channels[i + 1], channels[i], 3, 3)
        shapes[f"features.{index}.bias"] = (channels[i + 1],)
    for index, outputs, inputs in ((0, FC, 16 * 49), (3, FC, FC), (6, 1000, FC)):
        shapes |= {f"classifier.{index}.weight": (outputs, inputs), f"classifier.{index}.bias": (outputs,)}
    return shapes


def test_the_full_size_network_has_the_ports_shapes():
    parts = {"coarse": "coarse_model", "fine": "fine_model"}
    found = {}
    for key, value in rstn_view().state_dict().items():
        part, rest = key.split(".", 1)
        if part in parts:
            found[f"{parts[part]}.{'.'.join(rest.split('.')[-2:])}"] = tuple(value.shape)
    expected = {key: shape for key, shape in rstn_shapes().items() if not key.startswith("saliency")}
    assert found == expected


def test_snapshots_fill_the_network_completely():
    snapshots = {plane: random_tensors(rstn_shapes(DIVISOR), seed) for seed, plane in enumerate("XYZ")}
    part = partial(SMALL, padding=100)
    codes = {"sagittal": "RAS", "coronal": "ARS", "axial": "SRA"}
    network = CoarseToFineNet(part, part, partial(SaliencyTransform, kernel_sizes=(3, 5)), slice_axcodes=codes)
    network.load_state_dict(import_rstn(snapshots, view=VIEW))
    sources = {"coronal": "X", "sagittal": "Y", "axial": "Z"}
    for name, plane in sources.items():
        view, snapshot = network.views[name], snapshots[plane]
        assert torch.equal(view.coarse.block3.conv3_2.weight, snapshot["coarse_model.conv3_2.weight"])
        assert torch.equal(view.fine.fc.fc6.bias, snapshot["fine_model.fc6.bias"])
        assert torch.equal(view.fine.upscore_pool4.weight, snapshot["fine_model.upscore_pool4.weight"])
        assert torch.equal(view.saliency.layers[0].weight, snapshot["saliency1.weight"])
        assert torch.equal(view.saliency.layers[2].bias, snapshot["saliency2.bias"])
    # rows to the back, columns to the left, slices to the head: by hand, R = 1, A = 2, S = 3
    assert network.views["coronal"].slice_axes.tolist() == [-2, -1, 3]
    assert network.views["sagittal"].slice_axes.tolist() == [-1, -2, 3]
    assert network.views["axial"].slice_axes.tolist() == [3, -2, -1]


def test_planes_are_views_of_the_arrays_that_the_axis_codes_describe():
    snapshot = random_tensors(rstn_shapes(DIVISOR))
    state = import_rstn({"X": snapshot}, axcodes="RAI", view=VIEW)
    assert {key.split(".")[1] for key in state} == {"sagittal"}
    assert state["views.sagittal.slice_axes"].tolist() == [1, 2, -3]


def test_other_precisions_become_float32():
    snapshot = {key: value.double() for key, value in random_tensors(rstn_shapes(DIVISOR)).items()}
    state = import_rstn({"Z": snapshot}, view=VIEW)
    assert {value.dtype for key, value in state.items() if not key.endswith("slice_axes")} == {torch.float32}


def test_fcn8s_starts_both_stages_of_each_view_without_its_21_classes():
    source = random_tensors(fcn_shapes(21, DIVISOR))
    state = import_fcn8s(source, ["axial", "coronal"], SMALL)
    network = CoarseToFineNet(SMALL, SMALL, SaliencyTransform, views=["coronal", "axial"])
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert unexpected == []
    assert {key.split(".")[2] + "." + key.split(".")[3] for key in missing} == {
        *(f"{part}.{layer}" for part in ("coarse", "fine") for layer in LEFT_OUT),
        "saliency.layers",
    }
    assert torch.equal(network.views["axial"].fine.block1.conv1_1.weight, source["conv1_1.weight"])
    assert torch.equal(network.views["coronal"].coarse.fc.fc7.bias, source["fc7.bias"])


@pytest.mark.parametrize("in_slices", [1, 5])
def test_fcn8s_sees_a_slab_of_equal_slices_as_the_slice_in_all_three_channels(in_slices: int):
    source = random_tensors(fcn_shapes(21, DIVISOR))
    state = import_fcn8s(source, ["axial"], SMALL, in_slices)
    network = SMALL(in_channels=in_slices)
    network.load_state_dict({**network.state_dict(), **_of(state, "views.axial.coarse.")})
    slice_ = torch.rand(1, 1, 9, 12)
    first = nn.functional.conv2d(slice_.repeat(1, 3, 1, 1), source["conv1_1.weight"], source["conv1_1.bias"], padding=1)
    torch.testing.assert_close(network.block1[0](slice_.repeat(1, in_slices, 1, 1)), first)
    assert torch.equal(network.block1.conv1_2.weight, source["conv1_2.weight"])


def _of(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


LEFT_OUT = ("score_fr", "score_pool3", "score_pool4", "upscore2", "upscore8", "upscore_pool4")


def reference_vgg16(source):
    """Features, then the classifier's first two layers, on images of 224 x 224."""
    layers = []
    for outputs in (2, 2, 0, 4, 4, 0, 8, 8, 8, 0, 16, 16, 16, 0, 16, 16, 16, 0):
        if outputs:
            index = len(layers)
            inputs = source[f"features.{index}.weight"].shape[1]
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        else:
            layers.append(nn.MaxPool2d(2))
    network = nn.ModuleDict(
        {
            "features": nn.Sequential(*layers),
            "classifier": nn.Sequential(
                nn.Linear(16 * 49, FC), nn.ReLU(), nn.Identity(), nn.Linear(FC, FC), nn.ReLU(), nn.Identity()
            ),
        }
    )
    network.load_state_dict({key: value for key, value in source.items() if not key.startswith("classifier.6")})
    return network


def test_vgg16_classifier_gives_the_same_as_convolutions():
    source = random_tensors(vgg_shapes())
    state = import_vgg16(source, ["axial"], SMALL)
    network = SMALL(dropout=0.0)
    fine = {key.removeprefix("views.axial.fine."): v for key, v in state.items() if ".fine." in key}
    missing, unexpected = network.load_state_dict(fine, strict=False)
    assert unexpected == [] and {key.split(".")[0] for key in missing} == set(LEFT_OUT)
    # behind the first layer, which is adapted, all is VGG-16
    network.block1.conv1_1.load_state_dict({k: source[f"features.0.{k}"] for k in ("weight", "bias")})
    reference, image = reference_vgg16(source), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        features = image
        for block in (network.block1, network.block2, network.block3, network.block4, network.block5):
            features = network.pool(block(features))
        torch.testing.assert_close(features, reference["features"](image))
        expected = reference["classifier"](features.flatten(1))
        found = network.fc(features)[..., 3, 3]  # its center sees the whole image, without padding
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_slab_of_equal_slices_gives_what_the_grey_image_gave():
    source = random_tensors(vgg_shapes())
    weight, bias = source["features.0.weight"], source["features.0.bias"]
    slice_ = torch.rand(1, 1, 9, 11)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalized = (slice_ - mean[:, None, None]) / std[:, None, None]
    expected = nn.functional.conv2d(normalized, weight, bias)
    found = nn.functional.conv2d(slice_.expand(1, 3, -1, -1), *slab_filters(weight, bias))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    own = import_vgg16(source, ["coronal"], SMALL)["views.coronal.coarse.block1.conv1_1.weight"]
    assert torch.equal(own[:, 0], own[:, 1]) and torch.equal(own[:, 0], own[:, 2])  # no slice is preferred


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


@pytest.mark.parametrize(
    ("convert", "shapes", "change", "message"),
    [
        (
            lambda s: import_rstn({"Y": s}, view=VIEW),
            rstn_shapes(DIVISOR),
            lambda s: without(s, "saliency2.bias") | {"more": torch.zeros(1)},
            r"the snapshot of plane Y is not a snapshot of RSTN's port: 1 missing \(saliency2.bias\), "
            r"1 unexpected \(more\)\.",
        ),
        (
            lambda s: import_rstn({"X": s}, view=VIEW),
            fcn_shapes(21, DIVISOR),
            dict,
            r"82 missing \(coarse_model.conv1_1.bias, .*, \.\.\.\), 39 unexpected \(conv1_1.bias, ",
        ),
        (
            lambda s: import_fcn8s(s, fcn=SMALL),
            fcn_shapes(3, DIVISOR),
            dict,
            r"is not FCN-8s of 21 classes: 9 of another shape \(.*score_fr.bias: 3, not 21",
        ),
        (
            lambda s: import_vgg16(s, fcn=SMALL),
            vgg_shapes(),
            lambda s: without(s, "classifier.6.weight") | {"features.1.running_mean": torch.zeros(2)},
            r"without batch norm: 1 missing \(classifier.6.weight\), 1 unexpected \(features.1.running_mean\)",
        ),
        (
            lambda s: import_vgg16(s, fcn=SMALL),
            vgg_shapes(),
            lambda s: s | {"classifier.0.weight": torch.full((FC, 784), torch.nan)},
            "has values that are NaN or infinite in classifier.0.weight",
        ),
        (lambda s: import_rstn({"Q": s}), {}, dict, r"planes \['X', 'Y', 'Z'\], got \['Q'\]"),
        (lambda s: import_rstn({}), {}, dict, r"planes \['X', 'Y', 'Z'\], got \[\]"),
        (lambda s: import_rstn({"X": s}, "PLX"), {}, dict, "axis codes must be letters .* got 'PLX'"),
        (lambda s: import_rstn({"X": s}, "PAS"), {}, dict, "three different axes, such as 'PLS', got 'PAS'"),
        (plain_state_dict, {}, lambda s: {"state": {"weight": 1}}, r"not a flat state_dict of tensors: state are none"),
        (plain_state_dict, {}, lambda s: [1], "not a flat state_dict"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_what_is_wrong(convert, shapes, change, message):
    with pytest.raises(ValueError, match=message):
        convert(change(random_tensors(shapes)))


def test_the_prefix_of_data_parallel_is_taken_off_when_every_name_has_it():
    weight = torch.zeros(2)
    assert list(plain_state_dict({"module.a": weight, "module.b": weight})) == ["a", "b"]
    assert list(plain_state_dict({"module.a": weight, "b": weight})) == ["module.a", "b"]


#: Mean, standard deviation and maximum of maps of the development data's VGG-16 on the image of its README.
VGG_MAPS = {
    "block2": (0.69202, 1.33897, 10.1664),
    "block3": (0.92905, 2.05890, 22.1204),
    "block4": (0.29117, 0.98937, 17.8066),
    "block5": (0.21679, 1.12336, 14.9849),
    "pool5": (0.37028, 1.50785, 14.9849),
}


def test_vgg16_without_classifier_gives_the_published_maps(shared_data):
    source = torch.load(shared_data / "pretrained" / "vgg16_imagenet_features.fp16.pt", weights_only=True)
    small = partial(FCN8s, fc_channels=8)
    state = import_vgg16(source, ["axial"], small)
    assert len(state) == 2 * len(source) and all(value.dtype == torch.float32 for value in state.values())
    network = small().eval()
    prefix = "views.axial.coarse."
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    missing, unexpected = network.load_state_dict(own, strict=False)
    assert unexpected == [] and {key.split(".")[0] for key in missing} == {*LEFT_OUT, "fc"}
    # behind the first layer, which is adapted, all is VGG-16
    network.block1.conv1_1.load_state_dict({k: source[f"features.0.{k}"].float() for k in ("weight", "bias")})
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((torch.arange(3 * 64 * 64) % 97).view(1, 3, 64, 64) / 96 - mean) / std
    found = {}
    with torch.no_grad():
        for name in ("block1", "block2", "block3", "block4", "block5"):
            found[name] = getattr(network, name)(x)
            x = network.pool(found[name])
    found["pool5"] = x
    for name, expected in VGG_MAPS.items():
        numbers = (found[name].mean().item(), found[name].std().item(), found[name].max().item())
        assert numbers == pytest.approx(expected, abs=2e-4), name


@pytest.mark.parametrize("in_slices", [1, 2])
def test_vgg16_fits_slabs_of_other_numbers_of_slices(in_slices):
    source = {key: value for key, value in random_tensors(vgg_shapes()).items() if key.startswith("features")}
    state = import_vgg16(source, ["axial"], SMALL, in_slices)
    slab, own = torch.rand(1, 1, 9, 11), "views.axial.fine.block1.conv1_1"
    found = nn.functional.conv2d(slab.expand(1, in_slices, -1, -1), state[f"{own}.weight"], state[f"{own}.bias"])
    weight, bias = slab_filters(source["features.0.weight"], source["features.0.bias"])
    expected = nn.functional.conv2d(slab.expand(1, 3, -1, -1), weight, bias)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match=r"1 missing \(features.2.bias\)"):
        import_vgg16(without(source, "features.2.bias"), fcn=SMALL)

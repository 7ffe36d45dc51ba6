# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Published weights under this package's names: every tensor of a file is used or known, or the file is refused.

Four kinds of files: snapshots of RSTN's PyTorch port, which are whole models; the FCN-8s that was converted from Caffe
to PyTorch (PASCAL VOC), torchvision's VGG-16 and EfficientNet-Lite0 (ImageNet), which initialize the coarse and the
fine networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from ..utils import DEFAULT_SLAB, View, describe_mismatch, slice_axcodes_of_array, slice_axes
from .efficientnet_lite import EfficientNetLiteEncoder
from .fcn8s import VGG16_BLOCKS, FCN8s
from .first_layer import shared_out, slab_filters
from .one_view import CoarseToFineView
from .saliency import SaliencyTransform

__all__ = [
    "RSTN_AXCODES",
    "RSTN_PLANES",
    "import_fcn8s",
    "import_lite0",
    "import_rstn",
    "import_vgg16",
    "plain_state_dict",
    "rstn_view",
    "slab_filters",
]

#: Axis codes of the original arrays: (row, column, slice) of the DICOM pixels. Rows run to the back and columns to the
#: patient's left; slices are in the order of their instance numbers, which ascend to the head in NIH Pancreas-CT.
RSTN_AXCODES = "PLS"
#: The port's names of the planes whose slices run along the first, second and third axis of its arrays.
RSTN_PLANES = ("X", "Y", "Z")
VOC_CLASSES = 21
IMAGENET_CLASSES = 1000
#: Channels of the convolution before EfficientNet-Lite0's classifier.
LITE0_HEAD = 1280
LISTED = 10

State = dict[str, torch.Tensor]
Shapes = dict[str, torch.Size]


def rstn_view(width: int = 64, fc_channels: int = 4096) -> CoarseToFineView:
    """The PyTorch port's network of one view, without memory for its weights (on the meta device).

    Args:
        width: channels of the first block; 64 in the port.
        fc_channels: channels of fc6 and fc7; 4096 in the port.
    """
    part = partial(FCN8s, width=width, fc_channels=fc_channels, padding=100)
    with torch.device("meta"):
        return CoarseToFineView(part, part, partial(SaliencyTransform, kernel_sizes=(3, 5)))


def plain_state_dict(content: object) -> State:
    """The tensors of a file's content, without the prefix that ``DataParallel`` puts before every name.

    Args:
        content: what :py:func:`c2f_monai.utils.read_weights_file` gave.

    Raises:
        ValueError: when it is not a flat state_dict.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError("the file is not a flat state_dict of tensors.")
    wrong = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise ValueError(f"the file is not a flat state_dict of tensors: {', '.join(wrong[:LISTED])} are none.")
    prefix = "module."
    wrapped = all(str(key).startswith(prefix) for key in content)
    return {str(key)[len(prefix) if wrapped else 0 :]: value.detach() for key, value in content.items()}


def import_rstn(
    snapshots: Mapping[str, Mapping[str, torch.Tensor]],
    axcodes: str = RSTN_AXCODES,
    view: Callable[[], CoarseToFineView] = rstn_view,
) -> State:
    """Snapshots of RSTN's PyTorch port as the state_dict of a :py:class:`CoarseToFineNet` with ``slice_axcodes``.

    Up-sampling layers are imported as they are: the port left random values off their diagonals and never trained them.

    Args:
        snapshots: state_dict (``coarse_model.*``, ``saliency1.*``, ``saliency2.*``, ``fine_model.*``) by plane: "X" for
            the slices along the first axis of the arrays it was trained on, "Y" the second, "Z" the third.
        axcodes: axis codes of these arrays; together with the planes they give views, rows, columns and the order of a
            slab's channels.
        view: makes the network of one view that the snapshots must fit.

    Returns:
        ``views.<view>.<part>.*`` and ``views.<view>.slice_axes``, float32.

    Raises:
        ValueError: for no or unknown planes, bad axis codes, or a snapshot that does not fit name by name and shape by
            shape, or holds values that are not finite.
    """
    unknown = [plane for plane in snapshots if plane not in RSTN_PLANES]
    if unknown or not snapshots:
        raise ValueError(f"snapshots must be of one or more of the planes {list(RSTN_PLANES)}, got {list(snapshots)}.")
    codes = dict(zip(RSTN_PLANES, slice_axcodes_of_array(axcodes).items(), strict=True))
    names = {key: _rstn_name(key) for key in view().state_dict()}
    shapes = {names[key]: value.shape for key, value in view().state_dict().items()}
    imported: State = {}
    for plane in RSTN_PLANES:
        if plane in snapshots:
            source = _checked(snapshots[plane], shapes, f"the snapshot of plane {plane}", "a snapshot of RSTN's port")
            name, own = codes[plane]
            imported |= {f"views.{name}.{key}": source[theirs] for key, theirs in names.items()}
            imported[f"views.{name}.slice_axes"] = torch.tensor(slice_axes(own, name))
    return imported


def import_fcn8s(
    source: Mapping[str, torch.Tensor],
    views: Sequence[str] = tuple(View),
    fcn: Callable[..., FCN8s] = FCN8s,
    in_slices: int = 3,
) -> State:
    """FCN-8s on PASCAL VOC, in the naming of the PyTorch port of the Caffe model, as a start for every network.

    All but the score and up-sampling layers, which have 21 classes. The values are not changed, as in the original
    code, although they were trained on blue, green and red from 0 to 255 with the mean subtracted. For slabs of other
    than three slices the first layer gives of equal slices what it gives of three: a single slice is seen as if it were
    in all three channels [3.3.1].

    Args:
        source: its state_dict (``conv1_1.weight``, ..., ``fc7.bias``, ``score_fr.weight``, ...).
        views: views to start.
        fcn: makes the network that it must fit.
        in_slices: slices of a slab. Defaults to 3.

    Returns:
        ``views.<view>.coarse.*`` and ``views.<view>.fine.*`` without score and up-sampling layers, float32. One tensor
        under several names.

    Raises:
        ValueError: when it does not fit name by name and shape by shape, or holds values that are not finite, and for
            ``in_slices`` below 1.
    """
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in fcn(out_channels=VOC_CLASSES).state_dict().items()}
    names = {key: _port_name(key) for key in shapes}
    whole = _checked(source, {names[key]: shape for key, shape in shapes.items()}, "the file", "FCN-8s of 21 classes")
    started = {key: whole[theirs] for key, theirs in names.items() if "score" not in key}
    if in_slices != DEFAULT_SLAB.in_slices:
        started["block1.conv1_1.weight"] = shared_out(started["block1.conv1_1.weight"], in_slices)
    return _for_all(started, views)


def import_vgg16(
    source: Mapping[str, torch.Tensor],
    views: Sequence[str] = tuple(View),
    fcn: Callable[..., FCN8s] = FCN8s,
    in_slices: int = 3,
) -> State:
    """VGG-16 on ImageNet, in torchvision's naming, as a start for every network.

    The classifier's first two layers become the convolutions fc6 (7x7) and fc7 (1x1); its last layer is left out. A
    file of the features alone starts the 13 convolutions. The first layer is adapted to a slab by :func:`slab_filters`.
    Layers may be scaled: a network of convolutions and ReLUs gives the same maps but for their scale.

    Args:
        source: its state_dict (``features.0.weight``, ..., ``classifier.6.bias``), without batch norm.
        views: views to start.
        fcn: makes the network that it must fit; kernels of fc6 are 7 where the file has a classifier.
        in_slices: slices of a slab. Defaults to 3.

    Returns:
        ``views.<view>.coarse.*`` and ``views.<view>.fine.*`` without score and up-sampling layers, float32. One tensor
        under several names.

    Raises:
        ValueError: when it does not fit name by name and shape by shape, or holds values that are not finite, and for
            ``in_slices`` below 1.
    """
    with torch.device("meta"):
        own = {key: value.shape for key, value in fcn().state_dict().items() if "score" not in key}
    names = dict(zip(own, _vgg16_names(), strict=True))
    features_alone = bool(source) and all(key.startswith("features.") for key in source)
    if features_alone:
        names = {key: theirs for key, theirs in names.items() if "fc." not in key}
    shapes = {theirs: own[key] if "fc." not in key else _linear(own[key]) for key, theirs in names.items()}
    if not features_alone:
        shapes |= {
            "classifier.6.weight": torch.Size((IMAGENET_CLASSES, own["fc.fc7.weight"][0])),
            "classifier.6.bias": torch.Size((IMAGENET_CLASSES,)),
        }
    whole = _checked(source, shapes, "the file", "VGG-16 of 1000 classes without batch norm")
    started = {key: whole[theirs] for key, theirs in names.items()}
    started |= {key: value.reshape(own[key]) for key, value in started.items() if "fc." in key}
    first = "block1.conv1_1"
    started[f"{first}.weight"], started[f"{first}.bias"] = slab_filters(
        started[f"{first}.weight"], started[f"{first}.bias"], in_slices
    )
    return _for_all(started, views)


def import_lite0(source: Mapping[str, torch.Tensor], views: Sequence[str] = tuple(View)) -> State:
    """EfficientNet-Lite0 on ImageNet, in the naming of its PyTorch conversion, as a start for every ``LiteUNet``.

    The convolution of 1280 channels, its batch norm and the classifier are left out.

    Args:
        source: its state_dict (``_conv_stem.weight``, ..., ``_fc.bias``).
        views: views to start.

    Returns:
        ``views.<view>.coarse.unet.encoder.*`` and ``views.<view>.fine.unet.encoder.*``, float32 but for the counts of
        the batch norms. One tensor under several names.

    Raises:
        ValueError: when it does not fit name by name and shape by shape, or holds values that are not finite.
    """
    with torch.device("meta"):
        own = EfficientNetLiteEncoder().state_dict()
        last = own["_blocks.15._project_conv.weight"].shape[0]
        head = torch.nn.Sequential(torch.nn.Conv2d(last, LITE0_HEAD, 1, bias=False), torch.nn.BatchNorm2d(LITE0_HEAD))
        classifier = torch.nn.Linear(LITE0_HEAD, IMAGENET_CLASSES)
    shapes = {key: value.shape for key, value in own.items()}
    for prefix, module in (("_conv_head", head[0]), ("_bn1", head[1]), ("_fc", classifier)):
        shapes |= {f"{prefix}.{key}": value.shape for key, value in module.state_dict().items()}
    whole = _checked(source, shapes, "the file", "EfficientNet-Lite0 of 1000 classes")
    return _for_all({f"unet.encoder.{key}": whole[key].to(value.dtype) for key, value in own.items()}, views)


def _port_name(key: str) -> str:
    """``block1.conv1_1.weight`` -> ``conv1_1.weight``: the port has no blocks."""
    return ".".join(key.split(".")[-2:])


def _rstn_name(key: str) -> str:
    """Name in the port of a tensor of :py:class:`CoarseToFineView`."""
    part, rest = key.split(".", 1)
    if part == "saliency":
        # layers.0 is a convolution, layers.1 its ReLU, layers.2 a convolution
        _, number, kind = rest.split(".")
        return f"saliency{int(number) // 2 + 1}.{kind}"
    return f"{part}_model.{_port_name(rest)}"


def _vgg16_names() -> list[str]:
    """Names by torchvision of the 13 convolutions, fc6 and fc7, in the order of :py:class:`FCN8s`."""
    layers, index = [], 0
    for _, convolutions in VGG16_BLOCKS:
        for _ in range(convolutions):
            layers.append(f"features.{index}")
            index += 2  # a convolution and its ReLU
        index += 1  # the pooling
    return [f"{layer}.{kind}" for layer in (*layers, "classifier.0", "classifier.3") for kind in ("weight", "bias")]


def _linear(shape: torch.Size) -> torch.Size:
    """Shape of the linear layer that a convolution over its whole input was."""
    return torch.Size((shape[0], shape[1:].numel())) if len(shape) > 1 else shape


def _checked(source: Mapping[str, torch.Tensor], shapes: Shapes, what: str, kind: str) -> State:
    """The tensors of a file as float32, when they are what they should be."""
    problems = describe_mismatch(shapes, source, LISTED)
    if problems:
        raise ValueError(f"{what} is not {kind}: {problems}.")
    broken = [key for key, value in source.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"{what} has values that are NaN or infinite in {', '.join(broken[:LISTED])}.")
    return {key: value.to(torch.float32) for key, value in source.items()}


def _for_all(tensors: Mapping[str, torch.Tensor], views: Sequence[str]) -> State:
    """The tensors under the names of both stages of each view."""
    return {
        f"views.{View(view).value}.{part}.{key}": value
        for view in views
        for part in ("coarse", "fine")
        for key, value in tensors.items()
    }

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks: backbone, saliency transformation, and the coarse-to-fine network that holds them."""

from __future__ import annotations

from .coarse_to_fine import CoarseToFineNet
from .deeplab import DeepLab
from .efficientnet_lite import EfficientNetLiteEncoder, LiteUNet
from .factories import build_network, fcn8s_compact, unet
from .fcn8s import FCN8s
from .one_view import CoarseToFineView
from .onnx_network import OnnxNetwork
from .saliency import SaliencyTransform

__all__ = [
    "CoarseToFineNet",
    "CoarseToFineView",
    "DeepLab",
    "EfficientNetLiteEncoder",
    "FCN8s",
    "LiteUNet",
    "OnnxNetwork",
    "SaliencyTransform",
    "build_network",
    "fcn8s_compact",
    "unet",
]

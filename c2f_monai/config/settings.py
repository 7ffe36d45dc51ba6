# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What others must know of a training: inference, as an overlay for ``inference.json``, and a run that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..utils import config_file
from .run import find_caller
from .tree import ConfigTree, UnresolvedError

__all__ = ["changeable_settings", "inference_settings"]

#: Ids of training and inference that answers depend on.
SETTINGS = (
    *("label_value", "classes", "pixdim", "antialias", "window"),
    *("views", "slice_axcodes", "in_slices", "out_slices", "slab"),
    *("backbone_def", "coarse_def", "fine_def", "saliency_def", "network_def", "coarse_downsample"),
    *("margin", "crop_multiple", "min_size", "bridge", "fusion", "prior", "result"),
    *("stop_dice", "max_rounds", "stopping", "component_fraction"),
    *("rescue", "damping", "damping_decay", "resolve_cycles"),
)
#: Ids of training that a run may go on with at other values, but hardly without anyone noticing.
CHANGEABLE = (
    *("learning_rate", "warmup", "lr_factors", "backbone_lr_factors", "bias_lr_factor", "max_grad_norm", "optimizer"),
    *("conditioning", "loss", "augmentations", "augmentation", "batch_augmentation", "dataset_dir"),
)
#: Ids of training alone that go with the network: those of another one stop a training of its packed bundle.
OF_NETWORK = ("backbone_lr_factors", "lr_factors")
#: By which MONAI tells expressions, references and macros.
_SIGNS = "$@%"
DESCRIPTION = "Where this training differs from the bundle's default. After inference.json; segment takes it by itself."


def changeable_settings(parser: ConfigParser | None = None) -> dict[str, Any]:
    """Settings that :class:`c2f_monai.handlers.TrainingCheckpoint` compares when a run is continued.

    Args:
        parser: of the training's configuration. Defaults to None: the one that this is a component of.

    Returns:
        values by id; of what has to be built, and where an expression needs it, the configuration as it is.
    """
    parser = find_caller().parser if parser is None else parser
    if parser is None:
        return {}
    tree = ConfigTree(parser.get())
    return {name: _plain_value(tree, name) for name in CHANGEABLE if name in tree.content}


def _plain_value(tree: ConfigTree, name: str) -> Any:
    try:
        return tree.value(name)
    except (UnresolvedError, ValueError):
        return tree.content[name]


def inference_settings(parser: ConfigParser | None = None, labels: Mapping[Any, str] | None = None) -> dict[str, Any]:
    """Overlay of ``inference.json`` for the weights of a training: ids with other values, and what they refer to.

    Args:
        parser: of the training's configuration. Defaults to None: the one that this is a component of.
        labels: names of the values of label maps, for ``output_names``. Defaults to None: not known.

    Returns:
        ids with their values, references and expressions as they are; empty where the bundle has no ``inference.json``.
    """
    parser = find_caller().parser if parser is None else parser
    if parser is None:
        return {}
    training = ConfigTree(parser.get())
    path = Path(str(training.value("bundle_root"))) / "configs" / "inference.json"
    if not path.is_file():
        return {}
    inference = ConfigTree(ConfigParser.load_config_file(path)).content
    both = [name for name in SETTINGS if name in inference and name in training.content]
    other = {name for name in both if training.content[name] != inference[name]}
    default = path.with_name("train.json")
    usual = ConfigTree(ConfigParser.load_config_file(default)).content if default.is_file() else {}
    known = set(usual) & set(training.content)
    other |= {name for name in OF_NETWORK if name in known and training.content[name] != usual[name]}
    needed = training.reachable(other, known=inference)
    values = {name: value for name, value in training.content.items() if name in needed}
    if "classes" in other and "output_value" not in training.content:
        values |= _of_several_organs()
    if names := _output_names(training, ConfigTree({**inference, **values}), labels or {}):
        values["output_names"] = names
    return {"description": DESCRIPTION, **values}


def _output_names(training: ConfigTree, inference: ConfigTree, labels: Mapping[Any, str]) -> dict[str, str]:
    """Names of the values of masks: of values that are one target, that of the first which has a name."""
    try:
        outputs, targets = inference.value("output_value"), training.value("label_value")
    except (KeyError, UnresolvedError, ValueError):
        return {}
    outputs = outputs if isinstance(outputs, Sequence) else [outputs]
    nested = isinstance(targets, Sequence) and isinstance(targets[0], Sequence)
    groups = [group if isinstance(group, Sequence) else [group] for group in (targets if nested else [targets])]
    if len(groups) != len(outputs):
        return {}
    # A text of a data set must not become an expression or a reference of the configuration that it is written to.
    known = {int(value): name for value, name in labels.items() if not set(_SIGNS) & set(name)}
    found = [next((known[value] for value in group if value in known), "") for group in groups]
    return {str(output): name for output, name in zip(outputs, found, strict=True) if name}


def _of_several_organs() -> dict[str, Any]:
    """The overlay that makes a label map and a table for each class; nothing where it is not there."""
    try:
        overlay = ConfigParser.load_config_file(config_file("task/several_organs_inference.json"))
    except FileNotFoundError:  # a packed bundle has no overlays
        return {}
    return {name: value for name, value in overlay.items() if name not in ("description", "output_dir")}

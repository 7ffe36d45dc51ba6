# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Merge weights that were trained apart, views or the coarse networks, into one file for the bundle."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..handlers import save_settings, save_weights
from ..utils import (
    View,
    axcodes_of,
    default_slice_axes,
    read_state_dict,
    settings_beside,
    settings_file,
    some_names,
    view_of,
    views_of,
)
from .weights_output import check_output

__all__ = ["average_weights", "merge_weights", "replace_coarse", "run"]

#: Settings by which a voxel, or what is found in it, is something else.
MEANING = ("label_value", "classes", "pixdim", "antialias", "window", "in_slices", "out_slices", "coarse_downsample")
#: Settings that make the networks: tensors of one shape may belong to several.
NETWORKS = ("network_def", "backbone_def", "coarse_def", "fine_def", "saliency_def", "fcn_def")
#: Settings of the fine networks alone.
OF_FINE = ("fine_def", "saliency_def")


def run(args: argparse.Namespace) -> None:
    """Merge, write the file and print its views.

    Raises:
        ValueError: When a file is no flat state_dict, a view comes twice, networks or settings differ, or the output
            would take the place of a file to merge, of its settings, or of a file of another kind. Nothing is written
            then.
    """
    given = [*args.weights, *([] if args.coarse is None else [args.coarse])]
    _check_output(args.output, given)
    known = _settings_of(given)
    _check_settings(known, (*MEANING, *NETWORKS) if args.average else MEANING)
    names = _names_of(known)
    merged = average_weights(args.weights) if args.average else merge_weights(args.weights)
    if args.coarse is not None:
        merged = replace_coarse(merged, args.coarse)
    _write(merged, known, names, args)
    if known and (without := [path for path in given if path not in known]):
        told, taken = some_names([str(path) for path in without]), next(iter(known))
        print(f"no settings lie beside {told}: taken to be those of {taken}, see {settings_file(args.output)}")
    print(f"{args.output}: {len(merged)} tensors of the views {', '.join(views_of(merged))}")


def _settings_of(paths: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Settings by the file of weights that they lie beside, in the order given; not every one has some."""
    return {path: _read_settings(file) for path in paths for file in settings_beside(path)}


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} holds no settings of weights: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no settings of weights, ids with values, but a {type(content).__name__}.")
    return content


def _check_output(output: Path, given: Sequence[Path]) -> None:
    """Refuse places of weights, and of the settings beside them, that are taken by something else."""
    settings = settings_file(output)
    for path in given:
        if settings.resolve() == settings_file(path).resolve() and output.resolve() != path.resolve():
            raise ValueError(f"{settings} lies beside {path}, too, and is about it: give --output another name.")
    check_output(output, given, "merge")


def _write(
    merged: Mapping[str, torch.Tensor],
    known: Mapping[Path, Mapping[str, Any]],
    names: Mapping[str, str],
    args: argparse.Namespace,
) -> None:
    """Weights, with the settings of the first file that has some: they are those of all networks but for the views."""
    save_weights(merged, args.output)
    if known:
        first, settings = next(iter(known.items()))
        of_coarse = first not in args.weights  # trained without fine networks, as a rule
        kept = {key: value for key, value in settings.items() if not (of_coarse and key in OF_FINE)}
        if len(args.weights) > 1 and not args.average:
            kept["views"] = list(views_of(merged))
            if axcodes := _axcodes_of(merged, known, kept["views"]):
                kept["slice_axcodes"] = axcodes
        if names:
            kept["output_names"] = dict(names)
        save_settings(kept, args.output)
    else:
        settings_file(args.output).unlink(missing_ok=True)  # of the weights that were there


def _names_of(known: Mapping[Path, Mapping[str, Any]]) -> dict[str, str]:
    """What the values of masks are called, by whichever settings say so.

    Raises:
        ValueError: When one value has two names.
    """
    names: dict[str, str] = {}
    for path, settings in known.items():
        own = settings.get("output_names")
        for value, name in own.items() if isinstance(own, Mapping) else ():  # an expression stays as it is
            if names.setdefault(str(value), name) != name:
                raise ValueError(
                    f"output_names differs, {value} is {name} beside {path} and {names[str(value)]} before: only "
                    "weights of one meaning go together."
                )
    return names


def _axcodes_of(
    merged: Mapping[str, torch.Tensor], known: Mapping[Path, Mapping[str, Any]], views: Sequence[str]
) -> dict[str, str]:
    """Orientation of the slices of each view: by the settings of the file that has it, else as its weights have it.

    Empty where no settings say one: then all is RAS, or said by an expression that stays.
    """
    said: dict[str, str] = {}
    for path, settings in known.items():
        codes = settings.get("slice_axcodes")
        if isinstance(codes, Mapping):
            said |= {view: codes[view] for view in _read(path) if view in codes}
    if not said:
        return {}
    axes = {view: merged.get(f"views.{view}.slice_axes") for view in views}
    own = {view: default_slice_axes(View(view)) if found is None else found.tolist() for view, found in axes.items()}
    return {view: said.get(view, axcodes_of(own[view])) for view in views}


def _check_settings(known: Mapping[Path, Mapping[str, Any]], keys: Sequence[str]) -> None:
    """Refuse weights whose settings differ in a key; files without settings beside them are not compared."""
    for path, other in list(known.items())[1:]:
        first, own = next(iter(known.items()))
        for key in keys:
            if other.get(key) != own.get(key):
                values = f"{json.dumps(own.get(key))} of {first} and {json.dumps(other.get(key))} of {path}"
                raise ValueError(f"{key} differs, {values}: only weights of one meaning go together.")


def merge_weights(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Weights of several files, whose views must be different and their networks the same.

    Args:
        paths: files of flat state_dicts with keys ``views.<view>.<part>.*``.

    Returns:
        flat state_dict, views in the order of :py:class:`c2f_monai.utils.View`.

    Raises:
        FileNotFoundError: When a file does not exist.
        ValueError: When a file is no such state_dict, a view comes twice, or networks differ.
    """
    owners: dict[str, Path] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for path in paths:
        for view, weights in _read(path).items():
            if view in owners:
                raise ValueError(f"the view {view} is in {owners[view]} and in {path}: give each view once.")
            owners[view], parts[view] = path, weights
    first = next(iter(parts))
    for view, weights in parts.items():
        if _layout(weights) != _layout(parts[first]):
            raise ValueError(
                f"the networks of {first} ({owners[first]}) and {view} ({owners[view]}) differ: "
                "train all views with the same network_def."
            )
    ordered = [view.value for view in View if view.value in parts]
    return {f"views.{view}.{key}": value for view in ordered for key, value in parts[view].items()}


def average_weights(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Mean of weights of one network, such as those before and after a further training.

    Based on: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022.

    Args:
        paths: files of flat state_dicts with keys ``views.<view>.<part>.*``.

    Returns:
        flat state_dict; what is no floating-point tensor is that of the first file.

    Raises:
        FileNotFoundError: When a file does not exist.
        ValueError: When a file is no such state_dict, or the networks or the orientations of their slices differ.
    """
    states = [
        {f"views.{view}.{key}": value for view, part in _read(path).items() for key, value in part.items()}
        for path in paths
    ]
    for path, state in zip(paths, states, strict=True):
        if _layout(state) != _layout(states[0]):
            raise ValueError(f"the networks of {paths[0]} and {path} differ: only weights of one network have a mean.")
        _check_axes(states[0], state, path)
    return {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }


def replace_coarse(weights: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Weights with the coarse networks f_C of another file: a joint fine stage on a separate coarse stage [3.5].

    Args:
        weights: flat state_dict with keys ``views.<view>.<part>.*``.
        path: file of a flat state_dict with the same views and coarse networks; its other parts are not used.

    Raises:
        FileNotFoundError: When the file does not exist.
        ValueError: When the coarse networks or the orientations of their slices differ, or the fine ones share their
            encoder.
    """
    if _shares_encoder(weights):
        raise ValueError(
            "the weights share the encoder of the coarse networks (shared_encoder): these stay as they are."
        )
    own = {key: value for key, value in weights.items() if _is_coarse(key)}
    state = {f"views.{view}.{key}": value for view, part in _read(path).items() for key, value in part.items()}
    coarse = {key: value for key, value in state.items() if _is_coarse(key)}
    if _layout(own) != _layout(coarse):
        raise ValueError(f"{path} has other views or coarse networks than the merged weights: train both alike.")
    _check_axes(weights, state, path)
    return {**weights, **coarse}


def _check_axes(first: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights that expect their slices turned or flipped in another way; shapes do not tell."""
    own, theirs = (
        {key: value.tolist() for key, value in state.items() if key.endswith(".slice_axes")} for state in (first, other)
    )
    if own != theirs:
        raise ValueError(
            f"{path} was trained on slices of another orientation than the other weights ({theirs or 'RAS'}, "
            f"{own or 'RAS'}): only weights of one orientation go together."
        )


def _shares_encoder(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether fine networks are there without the encoder that the coarse ones have."""
    fine, coarse = ([key for key in weights if f".{part}." in key] for part in ("fine", "coarse"))
    with_encoder = [any(".encoder." in key for key in keys) for keys in (fine, coarse)]
    return bool(fine) and with_encoder == [False, True]


def _is_coarse(key: str) -> bool:
    return key.split(".")[2] == "coarse"


def _read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of each view of one file."""
    views: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in read_state_dict(path).items():
        if (view := view_of(key)) is None:
            raise ValueError(f"{path} holds '{key}', which is no weight of a view: give model.pt files of training.")
        views.setdefault(view, {})[key.split(".", 2)[2]] = value
    return views


def _layout(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}
